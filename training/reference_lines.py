"""Known errors that a model's stand beside: how far apart two annotations of the same image are."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError
from training.data_folder import INDEX

ENTRY = "reference_mm"


@dataclass(frozen=True)
class Reference:
    """A mean error in millimetres and what it is of: all landmarks, or one of them."""

    name: str
    error_mm: float
    landmark: str | None = None


def read_references(
    folder: Path, given: Sequence[Sequence[Any]], landmark_names: Sequence[str], in_mm: bool
) -> tuple[Reference, ...]:
    """The references of a data folder and those given beside, each as name, millimetres and maybe a landmark.

    ``dataset.json`` may have a list of them as ``reference_mm``; the shared data have none. One that is given replaces
    the folder's of the same name and landmark. Raises :class:`InputError` for what is no such entry, for a landmark that
    the data set has not, and where images without a known spacing leave nothing to compare with.
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    stated = index.get(ENTRY, [])
    if not isinstance(stated, list):
        raise InputError(
            f"expected a list of [name, mm] or [name, mm, landmark] as {ENTRY} in {folder / INDEX}, got {stated!r}. "
            "Correct it."
        )
    found: dict[tuple[str, str | None], Reference] = {}
    folder_entries: list[tuple[Any, Path | str]] = [(entry, folder / INDEX) for entry in stated]
    for entry, source in [*folder_entries, *((entry, "--reference") for entry in given)]:
        reference = _parse(entry, source, landmark_names)
        found[reference.name, reference.landmark] = reference
    if given and not in_mm:
        raise InputError(
            "expected images with a known spacing for --reference, which is in mm, got a data set without. Omit --reference."
        )
    return tuple(found.values()) if in_mm else ()


def _parse(entry: Any, source: Path | str, landmark_names: Sequence[str]) -> Reference:
    is_row = isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) in (2, 3)
    try:
        reference = Reference(str(entry[0]), float(entry[1]), *map(str, entry[2:])) if is_row else None
    except (TypeError, ValueError):
        reference = None
    if reference is None or not (math.isfinite(reference.error_mm) and reference.error_mm > 0):
        raise InputError(
            f"expected a name, millimetres above 0 and maybe a landmark in {source}, got {entry!r}. "
            'Write it like: "two readers" 2.15.'
        )
    if reference.landmark is not None and reference.landmark not in landmark_names:
        raise InputError(
            f"expected a landmark of the data set in {source}, got {reference.landmark!r}. Correct the name, or omit it "
            "where the reference is of all landmarks."
        )
    return reference
