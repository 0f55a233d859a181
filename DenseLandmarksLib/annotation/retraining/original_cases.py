"""Where the cases are that a model was trained on, said once: a retraining replays them, so that nothing is forgotten.

::

    <user's data folder>/original-cases.json    the names of models, each with a data folder or packed file
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from DenseLandmarksLib.annotation.library.json_file import read_json
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json

_NOTE = "original-cases.json"
# What the training half reads: the files of a data folder, and the arrays that every packed file has.
_OF_FOLDER = ("dataset.json", "landmarks.csv")
_OF_PACKED = {"names.npy", "splits.npy", "landmark_names.npy"}


def remembered(model: str, data_folder: Path) -> Path | None:
    """The data folder or packed file that was said for a model, whether it is there or not; ``None`` for none."""
    said = _noted(data_folder).get(model)
    return None if said is None else Path(said)


def to_replay(model: str, data_folder: Path) -> Path | None:
    """What a retraining of a model replays, ``None`` for nothing; raises :class:`InputError` where that is gone by now."""
    said = remembered(model, data_folder)
    if said is not None and not are_original_cases(said):
        raise InputError(
            f"expected the cases that {model} was trained on in {said}, found none there. Say where they are now, or forget "
            "them."
        )
    return said


def remember(model: str, folder: Path, data_folder: Path) -> None:
    """Note where the cases of a model are; raises :class:`InputError` for what holds none, and where nothing can be written."""
    if not are_original_cases(folder):
        raise InputError(
            f"expected a data folder with {' and '.join(_OF_FOLDER)}, or a packed .npz, got {folder}. Name the one that "
            f"{model} was trained on."
        )
    _note({**_noted(data_folder), model: str(folder.resolve())}, data_folder)


def forget(model: str, data_folder: Path) -> None:
    """Note nothing for a model any more; raises :class:`InputError` where that cannot be written."""
    noted = _noted(data_folder)
    if noted.pop(model, None) is not None:
        _note(noted, data_folder)


def are_original_cases(folder: Path) -> bool:
    """Whether there is a data folder or packed file, as far as is seen without reading it."""
    try:
        if folder.is_dir():
            return all((folder / name).is_file() for name in _OF_FOLDER)
        with zipfile.ZipFile(folder) as packed:
            return set(packed.namelist()) >= _OF_PACKED
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _noted(data_folder: Path) -> dict[str, str]:
    """By the names of models; of a damaged note nothing, and it is said anew."""
    try:
        noted = read_json(data_folder / _NOTE, "where original cases are", "Say it again.")
    except InputError:
        return {}
    return {model: said for model, said in noted.items() if isinstance(said, str)}


def _note(noted: dict[str, str], data_folder: Path) -> None:
    with telling_disk_errors(data_folder):
        write_json(data_folder / _NOTE, noted)
