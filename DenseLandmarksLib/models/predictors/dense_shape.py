"""The predictor of dense-shape models: image to grid, one network pass, masks and uv field, read-out, LPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View
from DenseLandmarksLib.landmarks.locate import Located, locate_landmarks
from DenseLandmarksLib.landmarks.plausibility import doubts_of, measure_plausibility
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod, UvField
from DenseLandmarksLib.models.bundle import NETWORK_MODULE, Bundle, broken
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.evidence import Evidence, need_landmark
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.networks.dense_shape import NETWORKS, DenseShapeOutput
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing
from DenseLandmarksLib.models.predictors.decode import decode_output
from DenseLandmarksLib.models.predictors.landmarks_on_grid import landmarks_on_grid
from DenseLandmarksLib.models.predictors.on_device import grey_ramp, run_on_grid
from DenseLandmarksLib.models.predictors.open_network import open_network
from DenseLandmarksLib.models.predictors.radiograph_view import view_of_radiograph
from DenseLandmarksLib.models.uv_evidence import uv_evidence


@dataclass
class DenseShapePredictor:
    """Predicts radiographs with a dense-shape network.

    ``network`` maps z-normalised grids (B, 1, H, W) to :class:`DenseShapeOutput`; ``grid_size`` is (H, W); ``device``
    changes from ``"cuda"`` to ``"cpu"`` for good when the card's memory does not suffice; ``read_out`` as in
    :class:`~DenseLandmarksLib.landmarks.uv_field.UvField`; ``expectation`` is what the model was trained on, ``limits``
    those of the measures of plausibility; ``is_demonstration`` as in
    :class:`~DenseLandmarksLib.models.bundle.BundleDescription`.
    """

    network: nn.Module
    template: Template
    grid_size: tuple[int, int]
    name: str
    version: str
    device: str = "cpu"
    read_out: ReadOutMethod = "border"
    expectation: Expectation = field(default_factory=Expectation)
    limits: Mapping[str, float] = field(default_factory=dict)
    is_demonstration: bool = False

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    def run_network(self, grid_pixels: np.ndarray) -> DenseShapeOutput:
        """One pass over a grid (H, W); falls back to the CPU, saying so, when the accelerator's memory is short."""
        output: DenseShapeOutput = run_on_grid(self, grid_pixels)
        return output

    def run_once(self) -> bool:
        """One pass over a grey ramp; whether all that comes out is finite."""
        output = self.run_network(grey_ramp(self.grid_size))
        return bool(output.uv.isfinite().all())

    def predict(
        self,
        image: MedicalImage,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Prediction:
        """Predict a radiograph, seen through ``view`` or, by default, as its file's orientation asks for.

        ``between_passes`` is called before each pass of the network and may raise what ends the prediction.

        Raises :class:`InputError` for a volume.
        """
        seen = self._look(image, self._view_of(image, view), between_passes)
        plausibility = self._judge(image, seen, between_passes)
        landmarks = landmarks_on_grid(image, seen.grid, self.template, seen.located, plausibility.plausible)
        return Prediction(
            landmarks,
            self.template.structure_names,
            seen.masks,
            seen.grid,
            seen.field,
            self.name,
            self.version,
            self.device,
            plausibility,
        )

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """How likely each pixel is the landmark's point of the template, from one pass; see :mod:`..uv_evidence`.

        Raises :class:`InputError` for a volume, for a landmark that is not on the template, and where its structure is not
        in the image.
        """
        need_landmark(landmark, self.template.landmark_names, self.name)
        seen = self._look(image, self._view_of(image, view), between_passes)
        structure, uv = next(
            (s.name, s.landmark_uv[s.landmark_names.index(landmark)])
            for s in self.template.structures
            if landmark in s.landmark_names
        )
        return uv_evidence(seen.field, seen.grid, structure, uv, landmark)

    def _view_of(self, image: MedicalImage, view: View | None) -> View:
        return view_of_radiograph(image, view, self.expectation, self.name)

    def _look(self, image: MedicalImage, view: View, between_passes: Callable[[], None]) -> _Seen:
        """One pass over the image through one view, read out and measured."""
        between_passes()
        grid = fit_grid(image, self.grid_size, view)
        output = self.run_network(grid.resample(image.pixels_yx))
        masks, uv_field = decode_output(output, self.template.structure_names, read_out=self.read_out)
        located = locate_landmarks(uv_field, self.template, self.grid_size)
        measures = measure_plausibility(located, masks, self.template, self.grid_size)
        turned = AS_STORED
        if output.view_logits is not None:
            turned = VIEWS[int(output.view_logits[0].argmax())]
        return _Seen(grid, masks, uv_field, located, measures, turned)

    def _judge(self, image: MedicalImage, seen: _Seen, between_passes: Callable[[], None]) -> Plausibility:
        """What speaks against this prediction; only then the network looks once more, as it believes the image to lie."""
        doubts = doubts_of(seen.measures, self.limits)
        suggested = None
        if seen.turned != AS_STORED:
            view = seen.grid.view.then(seen.turned.inverse)
            again = self._look(image, view, between_passes)
            # The network was taught how its own kind of image looks when it is turned, not what a hand is.
            if again.turned == AS_STORED and not doubts_of(again.measures, self.limits):
                suggested = view
            if suggested or not doubts:
                doubts = (f"the image looks {seen.turned}", *doubts)
        stated = (*demonstration_doubts(self, image), *self.expectation.doubts(image.acquisition))
        return Plausibility((*stated, *doubts), seen.measures, self.limits, suggested)


@dataclass(frozen=True)
class _Seen:
    """What one pass through one view gives; ``turned`` is how the image seems to be turned as seen."""

    grid: Grid
    masks: NDArray[np.bool_]
    field: UvField
    located: Located
    measures: dict[str, float]
    turned: View


def open_dense_shape(bundle: Bundle, device: str) -> DenseShapePredictor:
    """The predictor of a checked bundle of this family on ``"cpu"`` or ``"cuda"``.

    Raises :class:`InputError`, in one line, when weights and network do not fit.
    """
    template = bundle.need_template()
    network = open_network(bundle, NETWORKS, NETWORK_MODULE)
    if network.structures != len(template.structures):
        raise broken(
            bundle.folder, f"its network has {network.structures} structures, its template {len(template.structures)}"
        )
    return DenseShapePredictor(
        network,
        template,
        bundle.grid_size,
        bundle.name,
        bundle.version,
        device,
        bundle.read_out,
        bundle.expectation,
        bundle.limits,
        bundle.is_demonstration,
    )
