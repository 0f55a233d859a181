"""The versions of each model: the shipped one, which nobody changes, and later ones of the user's; one is active.

::

    <user's data folder>/models/<name>/<version>/     a bundle, see bundle.py
    <user's data folder>/models/<name>/.active.json   names the active one of these; without it the shipped one is active
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import user_data_folder
from DenseLandmarksLib.models.bundle import METADATA, broken, read_description, read_metadata

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parents[2] / "Resources" / "Models"
MODELS = "models"
ACTIVE = ".active.json"

# One folder's name on every system: it leads nowhere else and is no device of Windows.
_PLAIN_NAME = re.compile(
    r"(?!(con|nul|aux|prn|com\d|lpt\d)(\.|$))[a-z0-9]([a-z0-9._+-]{0,62}[a-z0-9_+-])?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model, as a list of them shows it.

    Attributes
    ----------
    name, version : of the model; the version is empty where a shipped bundle cannot be read.
    folder : the bundle.
    shipped : whether it came with the program; otherwise it lies in the user's data folder.
    active : whether it is the one that the model's name stands for.
    metadata : the bundle's metadata, empty where it cannot be read.
    problem : why it cannot be used, one line; empty for one that can.
    """

    name: str
    version: str
    folder: Path
    shipped: bool
    active: bool
    metadata: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def shipped_bundles() -> tuple[Path, ...]:
    """Folders of the shipped bundles, by name."""
    return tuple(sorted(path.parents[1] for path in SHIPPED.glob(f"*/{METADATA}")))


def models_folder(data_folder: Path | None = None) -> Path:
    """Where the user's own versions lie; it need not be there. Raises :class:`InputError` for a user without a home."""
    try:
        return (data_folder or user_data_folder()) / MODELS
    except RuntimeError as error:
        raise InputError(
            f"expected a folder for this user's models, got none ({error}). Name one in XDG_DATA_HOME."
        ) from error


def model_names(data_folder: Path | None = None) -> tuple[str, ...]:
    """Names of all models, shipped or the user's own; those that are for demonstration come last."""
    names = {folder.name for folder in shipped_bundles()}
    for folder in _folders_in(data_folder, "."):
        if _own_folders(folder.name, data_folder):
            names.add(folder.name)
    return tuple(sorted(names, key=lambda name: (is_demonstration(name, data_folder), name)))


def is_demonstration(name: str, data_folder: Path | None = None) -> bool:
    """Whether a model's name stands for one that is for demonstration; not where it cannot be read."""
    folder = active_bundle(name, data_folder)
    try:
        return folder is not None and _demonstrates(folder, (folder / METADATA).stat().st_mtime_ns)
    except OSError:
        return False


@lru_cache(maxsize=64)
def _demonstrates(folder: Path, changed_ns: int) -> bool:
    """``changed_ns``: a bundle that somebody wrote anew is read anew; its metadata is what is written last."""
    try:
        return read_metadata(folder).get("demonstration") is True
    except InputError:
        return False


def is_plain(name: str) -> bool:
    """Whether a name or version can be that of a folder, and of nothing outside of the one that it lies in."""
    return _PLAIN_NAME.fullmatch(name) is not None


def list_versions(name: str, data_folder: Path | None = None) -> tuple[ModelVersion, ...]:
    """All versions of a model, the shipped one first, then the user's, oldest version first; empty for no model."""
    if not is_plain(name):
        return ()
    active = active_bundle(name, data_folder)
    shipped = _shipped_folder(name)
    found = [] if shipped is None else [_shipped_version(name, shipped, shipped == active)]
    taken = {version.version for version in found}
    for folder in _own_folders(name, data_folder):
        found.append(_own_version(name, folder, folder == active, folder.name in taken))
    return tuple(found)


def active_bundle(name: str, data_folder: Path | None = None) -> Path | None:
    """The folder of the version that a model's name stands for; ``None`` where no model has that name.

    That is the one which the user made active. Where it is gone, and says so in the log, it is the shipped one, and of
    a model that is not shipped the latest.
    """
    if not is_plain(name):
        return None
    shipped = _shipped_folder(name)
    wanted = _pointed_to(name, data_folder)
    if wanted is not None:
        if shipped is not None and wanted == _version_in(shipped):
            return shipped
        folder = models_folder(data_folder) / name / wanted
        if (folder / METADATA).is_file():
            return folder
        logger.warning("version %s of the model %s was active and is gone; another one is used", wanted, name)
    if shipped is not None:
        return shipped
    whole = [folder for folder in _own_folders(name, data_folder) if (folder / METADATA).is_file()]
    return whole[-1] if whole else None


def _shipped_folder(name: str) -> Path | None:
    return SHIPPED / name if (SHIPPED / name / METADATA).is_file() else None


def _folders_in(data_folder: Path | None, name: str) -> list[Path]:
    """Folders in a model's folder that are not hidden; none where it is not there or cannot be read."""
    try:
        inside = (models_folder(data_folder) / name).iterdir()
        return [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    except (OSError, InputError):
        return []


def _own_folders(name: str, data_folder: Path | None) -> list[Path]:
    """The user's versions of a model, oldest version first, whatever is in them."""
    folders = _folders_in(data_folder, name) if is_plain(name) else []
    return sorted(folders, key=lambda folder: _in_order(folder.name))


def _in_order(version: str) -> list[tuple[int, str]]:
    """Sorts 1.10 behind 1.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", version)]


def _version_in(folder: Path) -> str | None:
    try:
        return str(read_metadata(folder)["version"])
    except InputError:
        return None


def _pointed_to(name: str, data_folder: Path | None) -> str | None:
    """The version that the user made active; ``None`` where nobody did, or where what is written is no version."""
    path = Path(ACTIVE)
    try:
        path = models_folder(data_folder) / name / ACTIVE
        version = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (FileNotFoundError, InputError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%r): no version of %s was made active", path, error, name)
        return None
    if not isinstance(version, str) or not is_plain(version):
        logger.warning("%s names no version: no version of %s was made active", path, name)
        return None
    return version


def _shipped_version(name: str, folder: Path, active: bool) -> ModelVersion:
    metadata: dict[str, Any] = {}
    try:
        metadata = read_metadata(folder)
        read_description(folder)
    except InputError as error:
        version = str(metadata.get("version", ""))
        return ModelVersion(name, version, folder, True, active, metadata, _in_one_line(error))
    return ModelVersion(name, str(metadata["version"]), folder, True, active, metadata)


def _own_version(name: str, folder: Path, active: bool, taken: bool) -> ModelVersion:
    version = folder.name
    metadata: dict[str, Any] = {}
    try:
        metadata = read_metadata(folder)
        if (metadata["name"], metadata["version"]) != (name, version):
            raise broken(folder, f"it calls itself {metadata['name']} {metadata['version']}")
        if taken:
            raise InputError(
                f"expected a version that is not {version} in {folder}, got that of the shipped model. Delete it, or add "
                "it again under another version."
            )
        read_description(folder)
    except InputError as error:
        return ModelVersion(name, version, folder, False, active, metadata, _in_one_line(error))
    return ModelVersion(name, version, folder, False, active, metadata)


def _in_one_line(error: InputError) -> str:
    return " ".join(str(error).split())
