"""How a model for radiographs looks at an image, and what it refuses."""

from __future__ import annotations

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.expectation import Expectation, choose_view


def view_of_radiograph(image: MedicalImage, view: View | None, expectation: Expectation, model: str) -> View:
    """The view asked for, by default that which the image's file asks for; raises :class:`InputError` for a volume."""
    if not image.is_radiograph:
        raise InputError(
            f"expected a radiograph (one slice) for model {model}; {image.name} has "
            f"{image.volume.GetSize()[2]} slices. Choose a model for volumes, or give one image."
        )
    return choose_view(expectation, image.acquisition)[0] if view is None else view
