"""Layers of a view that are mostly empty, drawn only where something is in them.

Slicer draws fill and border of each segment as a picture as large as the view. Without a graphics card each of them costs
as much as the image itself, for pixels of which most are nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import vtk_to_numpy

_RGBA = 4


# First and last pixel of x and of y, from the bottom left.
_Box = tuple[int, int, int, int]


class _Part(NamedTuple):
    """The part of a layer in which all is that is not nothing, and the time stamp of the picture that it is a part of."""

    made_at: int
    box: _Box


class Layers:
    """The layers of a view: a renderer's actors that draw a whole picture. What is seen is the same, pixel by pixel."""

    def __init__(self, renderer: Any) -> None:
        """``renderer`` is a vtkRenderer; from now on it draws them so."""
        self._parts: dict[Any, _Part] = {}
        renderer.AddObserver("StartEvent", self._crop)

    def _crop(self, renderer: Any, _event: str) -> None:
        parts: dict[Any, _Part] = {}
        props = renderer.GetViewProps()
        for number in range(props.GetNumberOfItems()):
            actor = props.GetItemAsObject(number)
            mapper = actor.GetMapper() if actor.IsA("vtkActor2D") and actor.GetVisibility() else None
            if mapper is None or not mapper.IsA("vtkImageMapper") or mapper.GetInputAlgorithm() is None:
                continue
            mapper.GetInputAlgorithm().Update()
            part = _part_of(mapper.GetInput(), self._parts.get(actor))
            if part is not None:
                parts[actor] = part
                mapper.SetCustomDisplayExtents(part.box)
                actor.SetPosition(part.box[0], part.box[2])  # who changes a layer puts it back into the corner
            elif mapper.GetUseCustomExtents():
                actor.SetPosition(0, 0)
            mapper.SetUseCustomExtents(part is not None)
        self._parts = parts


def _part_of(picture: Any, before: _Part | None) -> _Part | None:
    """What is to be drawn of a picture; ``None`` for all of it, ``before`` where it has not changed."""
    if picture is None or picture.GetScalarTypeAsString() != "unsigned char":
        return None
    if before is not None and before.made_at == picture.GetMTime():
        return before
    width, height, _ = picture.GetDimensions()
    if picture.GetNumberOfScalarComponents() != _RGBA or picture.GetExtent() != (0, width - 1, 0, height - 1, 0, 0):
        return None
    return _Part(picture.GetMTime(), _box(vtk_to_numpy(picture.GetPointData().GetScalars()), width, height))


def _box(rgba: NDArray[np.uint8], width: int, height: int) -> _Box:
    """Of pixels (height * width, 4)."""
    is_there = rgba.view(np.uint32).reshape(height, width)
    rows = np.flatnonzero(is_there.any(axis=1))
    if not rows.size:
        return 0, 0, 0, 0
    bottom, top = int(rows[0]), int(rows[-1])
    columns = np.flatnonzero(is_there[bottom : top + 1].any(axis=0))
    return int(columns[0]), int(columns[-1]), bottom, top
