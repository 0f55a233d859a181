"""The predictor of dense-shape models: image to grid, one network pass, masks and uv field, read-out, LPS."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import Located, locate_landmarks
from DenseLandmarksLib.landmarks.plausibility import doubts_of, measure_plausibility
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod, UvField
from DenseLandmarksLib.models.bundle import NETWORK_MODULE, Bundle, broken
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.evidence import Evidence, need_landmark
from DenseLandmarksLib.models.expectation import Expectation, choose_view
from DenseLandmarksLib.models.networks.dense_shape import NETWORKS, DenseShapeOutput
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing
from DenseLandmarksLib.models.predictors.decode import decode_output
from DenseLandmarksLib.models.uv_evidence import uv_evidence

logger = logging.getLogger(__name__)


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
        try:
            with torch.inference_mode():
                return self.network(torch.from_numpy(grid_pixels)[None, None].to(self.device))
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
            logger.warning("not enough memory on %s; going on with the CPU", self.device)
            self.device = "cpu"
            self.network.to("cpu")
            torch.cuda.empty_cache()
            return self.run_network(grid_pixels)

    def run_once(self) -> bool:
        """One pass over a grey ramp; whether all that comes out is finite."""
        ramp = np.add.outer(*map(np.arange, self.grid_size)).astype(np.float32)
        output = self.run_network((ramp - ramp.mean()) / ramp.std())
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
        points_lps_mm = lps_mm_from_pixels(image.geometry, seen.grid.to_pixels(seen.located.points))
        per_pixel = seen.grid.pixels_per_grid
        structures = tuple(s.name for s in self.template.structures for _ in s.landmark_names)
        believed = seen.located.found & plausibility.plausible
        landmarks = LandmarkSet(
            names=self.template.landmark_names,
            structures=structures,
            points_lps_mm=points_lps_mm,
            predicted_lps_mm=points_lps_mm.copy(),
            presence=tuple(Presence.PRESENT if found else Presence.ABSENT for found in seen.located.found),
            review=(Review.PREDICTED,) * len(structures),
            confidence=np.where(believed, seen.located.confidence, 0.0),
            covariance_mm2=lps_mm2_from_pixel_covariance(
                image.geometry, per_pixel @ seen.located.covariance @ per_pixel.T
            ),
            template_uv=np.concatenate([s.landmark_uv for s in self.template.structures]),
        )
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
        """The view asked for, by default that which the image's file asks for; raises :class:`InputError` for a volume."""
        if not image.is_radiograph:
            raise InputError(
                f"expected a radiograph (one slice) for model {self.name}; {image.name} has "
                f"{image.volume.GetSize()[2]} slices. Choose a model for volumes, or give one image."
            )
        return choose_view(self.expectation, image.acquisition)[0] if view is None else view

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
    definition = dict(bundle.inference.get("network_def", {}))
    target = str(definition.pop("_target_", ""))
    # Only our own networks: a bundle must not name any callable it likes.
    network_class = NETWORKS.get(target.removeprefix(f"{NETWORK_MODULE}."))
    if network_class is None:
        raise broken(bundle.folder, f"it asks for the unknown network {target!r}")
    try:
        network = network_class(**definition)
        network.load_state_dict({name: torch.from_numpy(value).float() for name, value in bundle.weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        first = str(error).splitlines()[-1].strip()
        raise broken(bundle.folder, f"its weights do not fit its network ({first})") from error
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
