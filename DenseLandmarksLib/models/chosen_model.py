"""The model that is chosen in a front end: found on disk, and its description read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import METADATA, BundleDescription, read_description
from DenseLandmarksLib.models.registry import find_bundle


@dataclass(frozen=True)
class ChosenModel:
    """What a model's name, or a bundle's folder, stands for on this computer now.

    Attributes
    ----------
    name : as the front end keeps it.
    description : of the version that would predict; ``None`` where there is none that could.
    problem : why not, one line; empty for a model that can be used.
    """

    name: str
    description: BundleDescription | None = None
    problem: str = ""


def chosen_model(name: str, data_folder: Path | None = None) -> ChosenModel:
    """Find a model by its name or folder; cheap enough for every change that is shown."""
    try:
        folder = find_bundle(name, data_folder)
        return ChosenModel(name, _read(folder, (folder / METADATA).stat().st_mtime_ns))
    except InputError as error:
        return ChosenModel(name, problem=str(error))
    except OSError as error:
        line = f"expected the model {name}, but its folder cannot be read ({error.strerror}). Choose another model."
        return ChosenModel(name, problem=line)


@lru_cache(maxsize=16)
def _read(folder: Path, changed_ns: int) -> BundleDescription:
    """``changed_ns``: a bundle that somebody wrote anew is read anew; its metadata is what is written last."""
    return read_description(folder)
