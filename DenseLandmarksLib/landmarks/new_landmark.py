"""A point of the template that a person added: an entry of a library's template extension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NewLandmark:
    """A landmark that the model was never trained on.

    Attributes
    ----------
    name, structure : what it is called, and the structure of the template on which it lies.
    uv : its template coordinate on the structure.
    description : what a person wrote about it; may be empty.
    code : coding scheme, code value, code meaning, such as ``("SCT", "80891009", "Heart")``, where it has one.
    template_key : :attr:`~DenseLandmarksLib.landmarks.template.StructureTemplate.key` of the structure on which ``uv``
        was read, where that is known: on another template the same numbers are another place.

    Raises
    ------
    ValueError : for an empty name or structure, and for a coordinate that is not two finite numbers.
    """

    name: str
    structure: str
    uv: tuple[float, float]
    description: str = ""
    code: tuple[str, str, str] | None = None
    template_key: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.structure.strip():
            raise ValueError(f"expected a name and a structure, got {self.name!r} on {self.structure!r}")
        if len(self.uv) != 2 or not all(map(math.isfinite, self.uv)):
            raise ValueError(f"expected two finite numbers for the coordinate of {self.name!r}, got {self.uv}")
        if self.code is not None and len(self.code) != 3:
            raise ValueError(f"expected scheme, value and meaning for the code of {self.name!r}, got {self.code}")

    def __str__(self) -> str:
        return f"{self.name}={self.structure}:{self.uv[0]:g},{self.uv[1]:g}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "name": self.name,
            "structure": self.structure,
            "uv": [float(self.uv[0]), float(self.uv[1])],
            "description": self.description,
            "code": None if self.code is None else list(self.code),
            "template_key": self.template_key,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> NewLandmark:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        u, v = (float(value) for value in raw["uv"])
        code = raw.get("code")
        texts = (raw["name"], raw["structure"], raw.get("description", ""), raw.get("template_key", ""), *(code or ()))
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"expected text, got {next(text for text in texts if not isinstance(text, str))!r}")
        if code is not None:
            scheme, value, meaning = code
            code = (scheme, value, meaning)
        key = raw.get("template_key", "")
        return cls(raw["name"], raw["structure"], (u, v), raw.get("description", ""), code, key)
