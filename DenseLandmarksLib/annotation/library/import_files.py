"""Landmark files that people made elsewhere, onto the cases of a library: each becomes a new revision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.exports.result_name import file_stem
from DenseLandmarksLib.annotation.imports.import_edit import import_edit
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.case import LibraryCase, Saved
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.errors import InputError

LANDMARK_SUFFIXES = (".mrk.json", ".fcsv", ".csv", ".json")


@dataclass(frozen=True)
class Target:
    """A case that a landmark file is about, and what the file calls its image; empty where it holds one only."""

    case_id: str
    image_name: str = ""


def is_landmark_file(path: Path) -> bool:
    """Whether a file is called like one of landmarks."""
    return path.name.lower().endswith(LANDMARK_SUFFIXES)


def targets_of(path: Path, entries: Sequence[CaseEntry]) -> tuple[Target, ...]:
    """The cases that a landmark file is about: called like the case, its id, or both as exports are.

    In COCO keypoints the names of the images count, of which the library need not have all.

    Raises :class:`InputError`, in one line, where no case, or more than one, is called so.
    """
    images = _coco_images(path)
    if len(images) > 1:
        found = [Target(entry.id, name) for name in images for entry in _called(file_stem(Path(name)), entries)]
        if found:
            return tuple(found)
    stem = _stem(path)
    called = _called(stem, entries) or [entry for name in images for entry in _called(file_stem(Path(name)), entries)]
    if len(called) != 1:
        raise InputError(
            f"{path}: expected landmarks of one case of the library, got {len(called)} cases called {stem!r}. "
            "Name the image that they belong to with --image."
        )
    return (Target(called[0].id, images[0] if images else ""),)


def import_landmarks(case: LibraryCase, path: Path, who: str, image_name: str = "") -> Saved | None:
    """Take over what a file says about a case, as a new revision on its newest; ``None`` where it says nothing new.

    Raises :class:`InputError`, in one line, for a file that cannot be read or does not belong to the image.
    """
    state, info = case.load()
    imported = read_landmarks(path, state.geometry, image_name or case.name)
    news = import_edit(state, imported)
    if not news.rows:
        return None
    after = apply_edit(state, news)
    return case.save(after, who, 0 if info is None else info.number, "landmarks imported from a file")


def _called(stem: str, entries: Sequence[CaseEntry]) -> list[CaseEntry]:
    return [entry for entry in entries if stem in (entry.name, entry.id, f"{entry.name}-{entry.id}")]


def _stem(path: Path) -> str:
    suffix = next((suffix for suffix in LANDMARK_SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def _coco_images(path: Path) -> list[str]:
    """The names of the images in a file of COCO keypoints; none for any other file, which its reader will judge."""
    try:
        document = json.loads(path.read_bytes())
        images = document["images"] if "annotations" in document else []
        return [PurePath(str(image["file_name"])).name for image in images]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
