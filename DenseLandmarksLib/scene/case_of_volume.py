"""The case of an image that is in a scene already, from wherever Slicer got it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.pixels_in_file import as_read, either_way_round
from DenseLandmarksLib.scene.stated_by_files import as_files_state
from DenseLandmarksLib.scene.volume_node import image_of_volume_node


def find_case(library: Library, volume: Node) -> LibraryCase | None:
    """The case that a library has of a volume node's pixels, also where it was made from the file; nothing is made.

    A film whose padding only its file states is not found: :func:`case_of_volume` finds it, by the file.

    Raises :class:`InputError` for a node that no image can be made of.
    """
    found = _known(library, image_of_volume_node(volume, SpacingSource.UNKNOWN))
    return None if found is None else found[0]


def case_of_volume(
    library: Library, volume: Node, who: str = "", name: str = "image", files: Sequence[Path] = ()
) -> LibraryCase:
    """The case of a volume node's pixels; where the library has none, one is made with a copy of them.

    ``name`` is what people will call the case; the node's own name may be a patient's. ``files`` are those that the node may
    have come from, see :func:`~.files_of_volume.files_of_volume`: what they state is taken over. Raises
    :class:`InputError` for a node that no image can be made of, and where the library cannot be written.
    """
    image = image_of_volume_node(volume, SpacingSource.GIVEN)
    known = _known(library, image)
    if known is not None:
        case, image = known
        return case if case.image_path.exists() else library.add_pixels(image, name, who)
    if image.is_radiograph and np.allclose(image.geometry.spacing_mm[:2], 1, atol=1e-6):
        image = _unmeasured(image)
    stated, path = as_files_state(image, files)
    # A copy of the pixels and no reference: what Slicer loads lies in its DICOM database, in the folder of a bundle that
    # was unpacked, or in a download, and all of these are cleaned up. No copy of the file: its tags name the patient.
    origin = path or next((file for file in files if file.is_file()), None)
    return library.add_pixels(stated, name, who, origin)


def _known(library: Library, image: MedicalImage) -> tuple[LibraryCase, MedicalImage] | None:
    """The case, and the image as it is there."""
    for way in either_way_round(image):
        for one in as_read(way):
            case = library.find(one)
            if case is not None:
                return case, one
    return None


def _unmeasured(image: MedicalImage) -> MedicalImage:
    """1 x 1 is what programs write where nothing is known."""
    image.volume.SetSpacing((1.0, 1.0, image.volume.GetSpacing()[2]))
    return replace(image, spacing_source=SpacingSource.UNKNOWN)
