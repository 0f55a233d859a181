"""What a predictor returns, whichever family it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.evidence import Evidence


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

    A front end asks what a prediction can do, never which family its model is of: whether it has ``structures``, and
    whether it has a ``grid``, on which new landmarks can be looked up.

    Attributes
    ----------
    landmarks : in LPS millimetres of the image's own frame.
    structures : S names, in the order of ``masks``; none for models that find landmarks only.
    masks : (S, H, W) bool on ``grid``; structures may overlap. :meth:`Grid.mask_on_image` brings one to the image.
        Shape (0, 0, 0) without a grid.
    grid : the model's grid over a radiograph; ``None`` for models that work in physical space, such as those for volumes.
    uv_field : what later look-ups read; ``None`` for models without one.
    model_name, model_version, device : which model made it, and where it ran (``"cpu"``, ``"cuda"``).
    plausibility : whether to believe it. In an implausible prediction every landmark has confidence 0; nothing is
        hidden.

    Raises
    ------
    ValueError : when the masks do not fit the structures and the grid, or there is a uv field without a grid.
    """

    landmarks: LandmarkSet
    structures: tuple[str, ...]
    masks: NDArray[np.bool_]
    grid: Grid | None
    uv_field: UvField | None
    model_name: str
    model_version: str
    device: str
    plausibility: Plausibility = Plausibility()

    def __post_init__(self) -> None:
        size = (0, 0) if self.grid is None else self.grid.size
        if np.shape(self.masks) != (len(self.structures), *size):
            raise ValueError(
                f"masks must have shape {(len(self.structures), *size)} for {len(self.structures)} structures, got "
                f"{np.shape(self.masks)}"
            )
        if self.grid is None and (self.structures or self.uv_field is not None):
            raise ValueError("structures and a uv field need a grid")

    @classmethod
    def of_landmarks(
        cls,
        landmarks: LandmarkSet,
        model_name: str,
        model_version: str,
        device: str,
        plausibility: Plausibility = Plausibility(),
    ) -> Prediction:
        """What a model says that finds landmarks in physical space, and nothing else."""
        # Masks of its own: the same object means the same prediction to whoever watches one.
        masks = np.zeros((0, 0, 0), bool)
        return cls(landmarks, (), masks, None, None, model_name, model_version, device, plausibility)

    @property
    def view(self) -> View:
        """How the model saw the image."""
        return AS_STORED if self.grid is None else self.grid.view

    def need_grid(self) -> Grid:
        """The grid; raises :class:`InputError`, in one line, for a prediction of landmarks only."""
        if self.grid is None:
            raise InputError(
                f"expected a model with structures, got {self.model_name} {self.model_version}, which finds landmarks "
                "only. Place the landmark in this image, or predict it with another model."
            )
        return self.grid


def do_nothing() -> None:
    """Between passes, where nobody has anything to do there."""


class Predictor(Protocol):
    """Anything that turns an image into a :class:`Prediction`, wherever its network runs."""

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

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """Maps of what spoke for one landmark; ``view`` and ``between_passes`` as :meth:`predict` takes them.

        Raises :class:`~DenseLandmarksLib.errors.InputError` for an image that the model cannot use, and for a landmark that
        it does not know, or has no evidence of in this image.
        """
        ...


class OpenPredictor(Predictor, Protocol):
    """A predictor whose network is open in this process: what the registry gives, one kind per model family."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def version(self) -> str:
        """Of the model."""
        ...

    @property
    def device(self) -> str:
        """Where the network runs, ``"cpu"`` or ``"cuda"``; it may change to ``"cpu"`` for want of memory."""
        ...

    def run_once(self) -> bool:
        """One pass of the network over a grey ramp, to see that it runs; whether all that comes out is finite."""
        ...
