"""The case of an image that is in a scene already, from wherever Slicer got it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.volume_node import image_of_volume_node

_NO_FILE_NAME = re.compile(r"[^\w .()+-]|^\.+")
_LONGEST = 80


def case_of_volume(library: Library, volume: Node, who: str = "", name: str = "image") -> LibraryCase:
    """The case of a volume node's pixels; where the library has none, one is made with a copy of the image.

    ``name`` is what people will call the case; the node's own name may be a patient's. Raises :class:`InputError` for a node
    that no image can be made of, and where the library cannot be written.
    """
    image = image_of_volume_node(volume, SpacingSource.GIVEN)
    with tempfile.TemporaryDirectory() as folder:
        # The name may come out of a scene that somebody else made: it names a file here, and no other place.
        path = Path(folder) / f"{_NO_FILE_NAME.sub('_', name)[:_LONGEST]}.nrrd"
        sitk.WriteImage(image.volume, str(path))
        return library.add(path, copy=True, who=who)
