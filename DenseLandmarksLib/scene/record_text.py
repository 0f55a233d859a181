"""How a case lies in the two text nodes of a scene: what refers to what, and a text that shows when it was changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

FORMAT = 1
NODE_CLASS = "vtkMRMLTextNode"
ANCHOR = "DenseLandmarks.Anchor"
"""The attribute of the node that says which case it is."""
NAMES = "DenseLandmarks.Names"
"""The attribute of a list that names its landmarks, row by row."""
VOLUME, LIST, SEGMENTATION, UV, RECORD = (
    f"DenseLandmarks.{role}" for role in ("volume", "list", "segmentation", "uv", "record")
)
"""The roles by which the anchor refers to the nodes of its case."""
PIXELS, FIELD = "pixels", "uv_field."
"""The kind of the arrays that lie on a model's pixels, and how the names of those of the uv field begin."""


def identity(library_id: str, case_id: str, revision: int, unsaved: bool) -> list[Any]:
    """What the record and the provenance of one case agree on."""
    return [library_id, case_id, revision, unsaved]


def seal(content: dict[str, Any]) -> str:
    """ASCII, whatever is in it; with a hash, as hardly a digit of a JSON can be seen to be wrong."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return f'{{"format":{FORMAT},"sha256":"{hashlib.sha256(text.encode()).hexdigest()}","content":{text}}}'


def unseal(text: str) -> dict[str, Any]:
    """The content of :func:`seal`; raises ``ValueError`` and others for anything else."""
    content: dict[str, Any] = json.loads(text)["content"]
    if seal(content) != text.strip():
        raise ValueError("changed, or of another format")
    return content
