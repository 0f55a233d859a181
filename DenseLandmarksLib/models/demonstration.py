"""Models that only show how things work: what they say about an image that is none of our phantoms is doubted."""

from __future__ import annotations

import re
from typing import Protocol

from DenseLandmarksLib.geometry.medical_image import MedicalImage

SYNTHETIC = "the model was trained on synthetic images"

# As our own phantoms are called, wherever they are drawn: phantom-7, neck-phantom-12.nrrd, chest-phantom.
_PHANTOM = re.compile(r"([a-z]+-)?phantom(-[a-z0-9-]+)?(\.[a-z0-9]+){0,2}", re.IGNORECASE)


class MayBeDemonstration(Protocol):
    """A bundle's description, or a predictor of it."""

    @property
    def is_demonstration(self) -> bool:
        """Whether the model was trained on synthetic images only."""
        ...


def demonstration_doubts(model: MayBeDemonstration, image: MedicalImage) -> tuple[str, ...]:
    """What speaks against a demonstration's prediction of an image, a clause each: nothing for our own phantoms."""
    return (SYNTHETIC,) if model.is_demonstration and not is_own_phantom(image) else ()


def is_own_phantom(image: MedicalImage) -> bool:
    """Whether an image is called as our phantoms are. What was renamed is doubted: rather one doubt too many."""
    return _PHANTOM.fullmatch(image.name) is not None
