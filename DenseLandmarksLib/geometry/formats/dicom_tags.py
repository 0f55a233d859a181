"""Tags of a DICOM data set as plain values; a tag that is missing, empty or of the wrong type states nothing."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


def tag_values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of a tag, ``()`` where it states nothing."""
    # Values are parsed on access, and pydicom raises anything on a value that is not of its type.
    try:
        value = dataset.get(keyword)
        if value is None or isinstance(value, (str, bytes)):
            return (value,) if value else ()
        return tuple(value) if hasattr(value, "__iter__") else (value,)
    except Exception:
        return ()


def tag_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of a tag as finite numbers, ``()`` unless every one is."""
    try:
        numbers = tuple(float(value) for value in tag_values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def tag_number(dataset: Dataset, keyword: str, otherwise: float) -> float:
    """The first value of a tag as a finite number."""
    return next(iter(tag_numbers(dataset, keyword)), otherwise)


def tag_codes(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Values of a code string (DICOM PS3.5, 6.2: CS) in capitals; free text, which could name a person, is dropped."""
    codes = tuple(str(value).strip().upper() for value in tag_values(dataset, keyword))
    return codes if all(_CODE.fullmatch(code) for code in codes) else ()


def tag_code(dataset: Dataset, keyword: str) -> str:
    """The first value of a code string, ``""`` where there is none."""
    return next(iter(tag_codes(dataset, keyword)), "")
