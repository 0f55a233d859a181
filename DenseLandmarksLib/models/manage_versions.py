"""Changing the versions of a model: which one is active, one more, one less. The shipped ones stay as they are."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import CARD, LICENSE, METADATA, broken, check_bundle, checked_files
from DenseLandmarksLib.models.versions import (
    ACTIVE,
    ModelVersion,
    active_bundle,
    is_plain,
    list_versions,
    models_folder,
)

# Hidden while they are no bundle yet, or none any more.
ADDING, DELETED = ".adding-", ".deleted-"
ABANDONED_AFTER_S = 86400.0


def set_active(name: str, version: str, data_folder: Path | None = None) -> None:
    """Let a model's name stand for this version from now on; the others stay.

    Raises :class:`InputError` for a version that there is not or that is not whole; then nothing changes.
    """
    versions = list_versions(name, data_folder)
    chosen = next((one for one in versions if one.version == version), None)
    if chosen is None:
        there = ", ".join(one.version for one in versions) or "none"
        raise InputError(f"expected a version of the model {name}, got {version!r}. Choose one of these: {there}.")
    if chosen.problem:
        raise InputError(chosen.problem)
    check_bundle(chosen.folder)
    with _telling_what_fails(models_folder(data_folder)):
        if chosen.shipped:
            # Not its number: the next shipped one is to follow it.
            (models_folder(data_folder) / name / ACTIVE).unlink(missing_ok=True)
        else:
            write_json(models_folder(data_folder) / name / ACTIVE, {"version": version})


def add_version(bundle_folder: Path, data_folder: Path | None = None) -> ModelVersion:
    """Copy a bundle into the user's data folder as a version of its model; it becomes active only where none was.

    What makes a bundle is copied and nothing else; the copy is checked before it gets its name. Raises
    :class:`InputError` for a bundle that is not whole, one whose name or version is no plain name, and a version that
    is there already.
    """
    bundle = check_bundle(bundle_folder)
    metadata = bundle.metadata
    name, version = metadata["name"], metadata["version"]
    for what, text in (("name", name), ("version", version)):
        if not isinstance(text, str) or not is_plain(text):
            raise broken(
                bundle_folder,
                f"its {what} {str(text)[:60]!r} is none that a folder can have (letters, digits, . _ + -)",
            )
    if any(one.version == version for one in list_versions(name, data_folder)):
        raise InputError(
            f"expected a new version of the model {name}, got {version}, which is there already. Give the bundle another "
            "version, or delete the one that is there."
        )
    is_first = active_bundle(name, data_folder) is None
    model = models_folder(data_folder) / name
    beside = model / f"{ADDING}{secrets.token_hex(4)}"
    with _telling_what_fails(model):
        _tidy(model)
        try:
            for part in (*checked_files(bundle.family), CARD, LICENSE, METADATA):
                if (bundle_folder / part).is_file():
                    _copy_to_disk(bundle_folder / part, beside / part)
            check_bundle(beside)
            beside.rename(model / version)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        if is_first:
            write_json(model / ACTIVE, {"version": version})
    return next(one for one in list_versions(name, data_folder) if one.folder == model / version)


def delete_version(name: str, version: str, data_folder: Path | None = None) -> None:
    """Delete one of the user's versions for good; raises :class:`InputError` for the active one and a shipped one."""
    versions = [one for one in list_versions(name, data_folder) if one.version == version]
    own = next((one for one in versions if not one.shipped), None)
    if own is None:
        what = "which came with the program" if versions else "which is not there"
        raise InputError(
            f"expected one of your own versions of the model {name}, got {version!r}, {what}. Choose another."
        )
    if own.active:
        raise InputError(
            f"expected a version of the model {name} that is not active, got {version}. Make another one active first."
        )
    hidden = own.folder.with_name(f"{DELETED}{secrets.token_hex(4)}")
    with _telling_what_fails(own.folder):
        # From here on it is no bundle, however far the removal gets.
        own.folder.rename(hidden)
        _tidy(hidden.parent)


def _copy_to_disk(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb+") as written:
        os.fsync(written.fileno())


def _tidy(model: Path) -> None:
    """Remove what is deleted, and what was begun to be added and never finished."""
    for path in model.glob(f"{DELETED}*"):
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
    for path in model.glob(f"{ADDING}*"):
        if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _telling_what_fails(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"expected to change the models in {folder}, got '{error.strerror or error}'. Make the folder writable, free "
            "space on its disk, or close what uses the model."
        ) from error
