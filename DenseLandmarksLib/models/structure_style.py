"""How a structure is shown and what it is called in standard terminology; a part of every bundle's metadata."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Code = tuple[str, str, str]
"""Coding scheme, code value, code meaning, such as ``("SCT", "80891009", "Heart")``."""

# What Slicer calls a segment that nobody has named yet.
_TISSUE: Code = ("SCT", "85756007", "Tissue")


def _code(raw: Any) -> Code:
    scheme, value, meaning = raw
    return str(scheme), str(value), str(meaning)


@dataclass(frozen=True)
class Terminology:
    """What a structure is, in the coded terms that DICOM and Slicer share.

    Raises
    ------
    ValueError : when a term holds one of the characters that separate terms in Slicer's files.
    """

    category: Code
    type: Code
    modifier: Code | None = None

    def __post_init__(self) -> None:
        for code in (self.category, self.type, self.modifier or ("", "", "")):
            if any(separator in term for term in code for separator in "~^|"):
                raise ValueError(f"a code may not hold '~', '^' or '|', got {code}")


@dataclass(frozen=True)
class StructureStyle:
    """Name, display colour (red, green, blue in 0..1) and terminology of one structure."""

    name: str
    colour: tuple[float, float, float]
    terminology: Terminology

    def __post_init__(self) -> None:
        if len(self.colour) != 3 or not all(0 <= channel <= 1 for channel in self.colour):
            raise ValueError(f"the colour of {self.name!r} must be three numbers in 0..1, got {self.colour}")

    @classmethod
    def by_name(cls, name: str) -> StructureStyle:
        """For a structure that no model describes: a colour that follows from its name, and Slicer's general term."""
        hue = zlib.crc32(name.encode("utf-8", "replace")) / 2**32
        return cls(name, colorsys.hsv_to_rgb(hue, 0.6, 0.9), Terminology(_TISSUE, _TISSUE))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, for a bundle's metadata."""
        codes = {"category": list(self.terminology.category), "type": list(self.terminology.type)}
        if self.terminology.modifier is not None:
            codes["modifier"] = list(self.terminology.modifier)
        return {"name": self.name, "colour": list(self.colour), "terminology": codes}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> StructureStyle:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        red, green, blue = (float(channel) for channel in raw["colour"])
        codes = raw["terminology"]
        modifier = _code(codes["modifier"]) if codes.get("modifier") else None
        terminology = Terminology(_code(codes["category"]), _code(codes["type"]), modifier)
        return cls(str(raw["name"]), (red, green, blue), terminology)
