"""An image arrives in the worker as it was, and what is none is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.worker.image_arrays import image_from_arrays, image_to_arrays

ANGLE = 0.3


def volume(pixel_type: int = sitk.sitkInt16) -> sitk.Image:
    numbers = np.random.default_rng(0).integers(0, 100, (4, 5, 6))
    made = sitk.Cast(sitk.GetImageFromArray(numbers.astype(np.int16)), pixel_type)
    made.SetSpacing((0.7, 1 / 3, 2.5))
    made.SetOrigin((-150.25, 1e-7, 210.0))
    cosine, sine = float(np.cos(ANGLE)), float(np.sin(ANGLE))
    made.SetDirection((cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0))
    made.SetMetaData("0010|0010", "Name^Of a Patient")
    return made


def as_sent(image: MedicalImage) -> MedicalImage:
    header, arrays = image_to_arrays(image)
    return image_from_arrays(json.loads(json.dumps(header, allow_nan=False)), arrays)


PIXEL_TYPES = (
    *(sitk.sitkUInt8, sitk.sitkUInt16, sitk.sitkUInt32, sitk.sitkUInt64),
    *(sitk.sitkInt8, sitk.sitkInt16, sitk.sitkInt32, sitk.sitkInt64),
    *(sitk.sitkFloat32, sitk.sitkFloat64),
)


@pytest.mark.parametrize("pixel_type", PIXEL_TYPES)
def test_an_image_comes_back_as_it_was_without_what_its_file_said_of_a_patient(pixel_type: int) -> None:
    acquisition = Acquisition("DX", "CHEST", "PA", "R", ("L", "F"))
    image = MedicalImage(volume(pixel_type), SpacingSource.DETECTOR, "film \udc80", acquisition, (-np.inf, 0.1))
    back = as_sent(image)
    assert back.geometry == image.geometry
    assert (back.name, back.acquisition, back.window) == (image.name, acquisition, (-np.inf, 0.1))
    assert back.volume.GetPixelID() == pixel_type
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back.volume), sitk.GetArrayFromImage(image.volume))
    assert back.volume.GetMetaDataKeys() == ()


def test_what_a_file_does_not_state_stays_unstated() -> None:
    back = as_sent(MedicalImage(volume(), SpacingSource.UNKNOWN))
    assert (back.acquisition, back.window, back.unit) == (Acquisition(), None, "px")


def test_pixels_that_are_no_grey_values_are_told() -> None:
    complex_numbers = MedicalImage(sitk.Image((4, 4, 1), sitk.sitkComplexFloat32), SpacingSource.UNKNOWN, "wave")
    with pytest.raises(InputError, match="expected an image of whole or floating numbers, wave has complex"):
        image_to_arrays(complex_numbers)


Spoil = Callable[[dict[str, Any], dict[str, Any]], object]
MALFORMED: dict[str, Spoil] = {
    "no geometry": lambda header, _: header.pop("geometry"),
    "no name": lambda header, _: header.pop("name"),
    "a name that is a number": lambda header, _: header.update(name=3),
    "an unknown spacing source": lambda header, _: header["geometry"].update(spacing_source="guess"),
    "another size": lambda header, _: header["geometry"].update(size=[6, 5, 3]),
    "no spacing": lambda header, _: header["geometry"].update(spacing_mm=[0, 1, 1]),
    "an acquisition with more to say": lambda header, _: header["acquisition"].update(patient="a name"),
    "an acquisition of numbers": lambda header, _: header["acquisition"].update(modality=3),
    "an orientation of three": lambda header, _: header["acquisition"].update(patient_orientation=["L", "F", "P"]),
    "no acquisition": lambda header, _: header.update(acquisition=None),
    "no pixels": lambda _, arrays: arrays.pop("pixels"),
    "a window of three": lambda _, arrays: arrays.update(window=np.zeros(3)),
}


@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_image_is_told_in_one_line(spoil: Spoil) -> None:
    header, arrays = image_to_arrays(MedicalImage(volume(), SpacingSource.GIVEN))
    header, arrays = copy.deepcopy(header), dict(arrays)
    spoil(header, arrays)
    with pytest.raises(ValueError, match=r"^expected an image with geometry and pixels, got another [^\n]+$"):
        image_from_arrays(header, arrays)
    with pytest.raises(ValueError, match="it is no object"):
        image_from_arrays(None, arrays)
