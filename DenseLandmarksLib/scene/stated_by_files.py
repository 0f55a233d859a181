"""What the files state that a volume node came from, which the node itself does not.

Slicer takes the wrong tag for the pixel size of most radiographs or none at all, and the resolution for printing of
pictures. A file counts only where its pixels are those of the node: nodes are filtered, cropped and copied, and keep the
name of a file all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.unweighed_spacing import unweighed_spacings_mm
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.scene.pixels_in_file import as_read, differ_in_padding_only, either_way_round

# A radiograph is in one file or two; of a series, hundreds of files say the same.
_ENOUGH = 8
# Of a spacing, what is lost on the way through a file or a matrix.
_SAME = 1e-4
# The correlation that grey values keep which were inverted, scaled, or rounded to 256 steps; no other change leaves so much.
_SAME_PICTURE = 0.9999
_ENOUGH_SEEN = 0.1


def as_files_state(image: MedicalImage, files: Sequence[Path]) -> tuple[MedicalImage, Path | None]:
    """An image out of a scene with what its file states, and that file; ``None`` where none of them is the image's.

    From the file come the spacing and its source, the place in space, and how the picture was taken; of one slice of
    a series only the latter and the source. A spacing that no reader finds in the file was given by a person, and stays.
    Files that are gone or cannot be read say nothing.
    """
    for path in files[:_ENOUGH]:
        try:
            stated = read_image(path)
        except InputError:
            continue
        for way in either_way_round(image):
            if stated.geometry.size == image.geometry.size and _is_same(way, stated):
                return _of_file(way, stated, path), path
        if stated.is_radiograph and not image.is_radiograph and _has_slice(image, stated):
            return _of_slice(image, stated), path
    return image, None


def _is_same(image: MedicalImage, stated: MedicalImage) -> bool:
    ours, theirs = (sitk.GetArrayViewFromImage(one.volume) for one in (image, stated))
    return differ_in_padding_only(ours, theirs) or (image.is_radiograph and _is_same_picture(ours, theirs))


def _is_same_picture(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Whether two radiographs differ in how grey values are written only; the lowest ones may be padding, and do not count."""
    seen = theirs > theirs.min()
    if seen.mean() < _ENOUGH_SEEN:
        return False
    x, y = ours[seen].astype(np.float64), theirs[seen].astype(np.float64)
    if x.std() == 0 or y.std() == 0:
        return False
    return abs(float(np.corrcoef(x, y)[0, 1])) > _SAME_PICTURE


def _has_slice(image: MedicalImage, stated: MedicalImage) -> bool:
    if stated.geometry.size[:2] != image.geometry.size[:2]:
        return False
    (theirs,) = sitk.GetArrayViewFromImage(stated.volume)
    return any(
        np.array_equal(ours, theirs) for one in as_read(image) for ours in sitk.GetArrayViewFromImage(one.volume)
    )


def _of_file(image: MedicalImage, stated: MedicalImage, path: Path) -> MedicalImage:
    """Everything of the file, so that it is the same case as for whoever adds the file; other grey values stay the scene's."""
    found = replace(stated, name=image.name)
    ours, theirs = (sitk.GetArrayViewFromImage(one.volume) for one in (image, stated))
    if not differ_in_padding_only(ours, theirs):
        volume = sitk.Image(image.volume)
        volume.CopyInformation(stated.volume)
        found = replace(found, volume=volume, window=None)
    shown_mm = image.volume.GetSpacing()
    if image.is_radiograph:
        was_loaded = any(np.allclose(shown_mm[:2], pair, rtol=_SAME) for pair in unweighed_spacings_mm(path))
        was_loaded = was_loaded or np.allclose(shown_mm[:2], stated.geometry.spacing_mm[:2], rtol=_SAME)
    else:
        was_loaded = np.allclose(shown_mm, stated.geometry.spacing_mm, rtol=_SAME)
    if was_loaded:
        return found
    volume = sitk.Image(found.volume)
    volume.SetSpacing(shown_mm)
    return replace(found, volume=volume, spacing_source=SpacingSource.GIVEN)


def _of_slice(image: MedicalImage, stated: MedicalImage) -> MedicalImage:
    agrees = np.allclose(image.volume.GetSpacing()[:2], stated.geometry.spacing_mm[:2], rtol=_SAME)
    source = stated.spacing_source if agrees else image.spacing_source
    return replace(image, acquisition=stated.acquisition, spacing_source=source)
