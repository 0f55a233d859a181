"""What a predictor returns, whichever family it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.uv_field import UvField


@dataclass(frozen=True)
class Plausibility:
    """Whether a prediction looks like anything that the model knows.

    Attributes
    ----------
    doubts : why not, a clause each; empty when nothing speaks against it.
    measures, limits : what was measured, see :mod:`DenseLandmarksLib.landmarks.plausibility`, and what was allowed.
    suggested_view : the view through which the image would be plausible, where there is one.
    """

    doubts: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    suggested_view: View | None = None

    @property
    def plausible(self) -> bool:
        """Whether there is no doubt."""
        return not self.doubts


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Attributes
    ----------
    landmarks : in LPS millimetres of the image's own frame.
    structures : S names, in the order of ``masks``.
    masks : (S, H, W) bool on ``grid``; structures may overlap. :meth:`Grid.mask_on_image` brings one to the image.
    grid : the model's grid over the image.
    uv_field : what later look-ups read; ``None`` for models without one.
    model_name, model_version, device : which model made it, and where it ran (``"cpu"``, ``"cuda"``).
    plausibility : whether to believe it. In an implausible prediction every landmark has confidence 0; nothing is
        hidden.
    """

    landmarks: LandmarkSet
    structures: tuple[str, ...]
    masks: NDArray[np.bool_]
    grid: Grid
    uv_field: UvField | None
    model_name: str
    model_version: str
    device: str
    plausibility: Plausibility = Plausibility()

    @property
    def view(self) -> View:
        """How the model saw the image."""
        return self.grid.view


def do_nothing() -> None:
    """Between passes, where nobody has anything to do there."""


class Predictor(Protocol):
    """Anything that turns an image into a :class:`Prediction`."""

    def predict(
        self,
        image: MedicalImage,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Prediction:
        """Predict one image, seen through ``view`` or, by default, as its file's orientation asks for.

        ``between_passes`` is called before each pass of the network and may raise what ends the prediction.

        Raises :class:`~DenseLandmarksLib.errors.InputError` for an image that the model cannot use.
        """
        ...
