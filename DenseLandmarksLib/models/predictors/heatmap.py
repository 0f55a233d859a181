"""The predictor of heatmap models: image to grid, one or several passes, peaks, how sure each landmark is, LPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, MIRRORED, VIEWS, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.locate import largest_component, with_guesses
from DenseLandmarksLib.landmarks.off_others import off_others_mm
from DenseLandmarksLib.landmarks.other_side import names_of_other_side
from DenseLandmarksLib.landmarks.plausibility import doubts_of, measure_heat_plausibility
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle, broken
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration
from DenseLandmarksLib.models.evidence import Evidence, need_landmark
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORK_MODULE, HEATMAP_NETWORKS
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing
from DenseLandmarksLib.models.predictors.heat_maps import heat_maps
from DenseLandmarksLib.models.predictors.heat_passes import small_moves
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading
from DenseLandmarksLib.models.predictors.heat_seen import COMPONENTS, HeatSeen
from DenseLandmarksLib.models.predictors.landmarks_on_grid import landmarks_on_grid
from DenseLandmarksLib.models.predictors.on_device import computes_mixed, grey_ramp, run_on_grid
from DenseLandmarksLib.models.predictors.open_network import open_network
from DenseLandmarksLib.models.predictors.radiograph_view import view_of_radiograph
from DenseLandmarksLib.models.presence import PEAK_PRESENCE, PresenceCalibration, peak_presence_features

FloatArray = NDArray[np.float64]
__all__ = ["COMPONENTS", "HeatSeen", "HeatmapPredictor", "open_heatmap"]

_SMALLEST_PX2 = 1e-6


@dataclass
class HeatmapPredictor:
    """Predicts radiographs with a heatmap network.

    ``network`` maps z-normalised grids (B, 1, H, W) to :class:`HeatmapOutput`, one heatmap for each landmark of
    ``template``; ``grid_size`` is (H, W); ``reading`` says how they are read; ``device`` changes from ``"cuda"`` to
    ``"cpu"`` for good when the card's memory does not suffice; ``ellipses`` makes the covariances true (grid pixels^2),
    without it they are only as large as heatmaps and passes say; ``presence`` tells which landmarks are there, without it
    ``reading.present_above`` does; ``expectation``, ``limits`` and ``is_demonstration`` as in
    :class:`~DenseLandmarksLib.models.predictors.dense_shape.DenseShapePredictor`.
    """

    network: HeatmapNetwork
    template: Template
    reading: HeatReading
    grid_size: tuple[int, int]
    name: str
    version: str
    device: str = "cpu"
    ellipses: EllipsoidCalibration | None = None
    presence: PresenceCalibration | None = None
    expectation: Expectation = field(default_factory=Expectation)
    limits: Mapping[str, float] = field(default_factory=dict)
    is_demonstration: bool = False

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    def run_network(self, grid_pixels: NDArray[np.float32]) -> HeatmapOutput:
        """One pass over a grid (H, W); falls back to the CPU, saying so, when the accelerator's memory is short."""
        output: HeatmapOutput = run_on_grid(self, grid_pixels)
        return output

    def run_once(self) -> bool:
        """One pass over a grey ramp; whether all that comes out is finite."""
        return bool(self.run_network(grey_ramp(self.grid_size)).heat.isfinite().all())

    def predict(
        self,
        image: MedicalImage,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Prediction:
        """Predict a radiograph, seen through ``view`` or, by default, as its file's orientation asks for.

        Unless told how to look, or the side by the file, a model that knows either side looks once at the mirror image too
        and goes on with what looks more like what it knows; the prediction's ``view`` says so. ``between_passes`` is called
        before each pass of the network and may raise what ends the prediction.

        Raises :class:`InputError` for a volume.
        """
        is_free = view is None and not self.expectation.is_told_side(image.acquisition)
        look = self._look_at_either_side if self.reading.either_side and is_free else self.look
        view = self._view_of(image, view)
        grid, seen = look(image, view, between_passes)
        plausibility = self._judge(seen)
        if doubts := plausibility.doubts:
            change = self._plausible_change(image, view, grid.view, between_passes)
            if change is not None:
                doubts = (f"the image looks {change.inverse}", *doubts)
                plausibility = Plausibility(doubts, plausibility.measures, self.limits, view.then(change))
        stated = (*demonstration_doubts(self, image), *self.expectation.doubts(image.acquisition))
        plausibility = Plausibility(
            (*stated, *plausibility.doubts), plausibility.measures, self.limits, plausibility.suggested_view
        )
        landmarks = self._landmarks(image, grid, seen, plausibility.plausible)
        structures = self.template.structure_names if self.network.structures else ()
        return Prediction(
            landmarks, structures, seen.masks, grid, None, self.name, self.version, self.device, plausibility
        )

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """The landmark's heatmap, and what the network makes it of, from one pass through ``view``.

        Raises :class:`InputError` for a volume, and for a landmark that the model does not know.
        """
        view = self._view_of(image, view)
        row = need_landmark(landmark, self._names(view), self.name)
        grid = fit_grid(image, self.grid_size, view)
        between_passes()
        output = self.run_network(grid.resample(image.pixels_yx))
        peaks = self.reading.peaks(self._sigma, self.network.dimensions)
        peak = None if peaks is None else float(peaks[row])
        highest = self.reading.shown_highest(output.heat[0, row].cpu().numpy())
        return Evidence(landmark, heat_maps(output, row, peak, highest, grid, self.network.stride))

    def _view_of(self, image: MedicalImage, view: View | None) -> View:
        return view_of_radiograph(image, view, self.expectation, self.name)

    def _names(self, view: View) -> tuple[str, ...]:
        """What the network's landmarks are called in an image that is seen so."""
        mirrors = self.reading.either_side and view.flip
        return names_of_other_side(self.template) if mirrors else self.template.landmark_names

    def look(
        self, image: MedicalImage, view: View = AS_STORED, between_passes: Callable[[], None] = do_nothing
    ) -> tuple[Grid, HeatSeen]:
        """All passes over a radiograph through one view, and the grid that they looked at."""
        grid = fit_grid(image, self.grid_size, view)
        return grid, self.look_on_grid(grid.resample(image.pixels_yx), between_passes)

    def _look_at_either_side(
        self, image: MedicalImage, view: View, between_passes: Callable[[], None]
    ) -> tuple[Grid, HeatSeen]:
        """All passes over an image or over its mirror image, after one look at each.

        A side that is doubted yields to one that is not. Limits alone do not tell sides, as they are set by the oddest of
        the cases: of two alike it is the one whose peaks are stronger.
        """
        looks = []
        for side in (view, view.then(MIRRORED)):
            grid = fit_grid(image, self.grid_size, side)
            pixels = grid.resample(image.pixels_yx)
            looks.append((grid, pixels, self.look_on_grid(pixels, between_passes, passes=1)))
        grid, pixels, first = max(looks, key=lambda one: (self._judge(one[2]).plausible, np.median(one[2].strength)))
        return grid, self.look_on_grid(pixels, between_passes, first=first)

    def look_on_grid(
        self,
        grid_pixels: NDArray[np.float32],
        between_passes: Callable[[], None] = do_nothing,
        passes: int | None = None,
        first: HeatSeen | None = None,
    ) -> HeatSeen:
        """All passes, or so many, over a grid (H, W) of z-normalised pixels; what the ``first`` saw, where it was made."""
        found = [] if first is None else [first.as_pass]
        masks = np.zeros((0, *self.grid_size), bool) if first is None else first.masks
        for move in small_moves(passes or self.reading.passes, self.grid_size)[len(found) :]:
            between_passes()
            output = self.run_network(move.move(grid_pixels))
            read = self.reading.read(output.heat[0].cpu().numpy(), self._sigma, self.network.stride)
            found.append(move.undo(read))
            if move.is_still and output.mask_logits is not None:
                logits = output.mask_logits[0].cpu().numpy()
                masks = np.stack([largest_component(mask) for mask in logits > 0])
        return HeatSeen.of_passes(found, self._sigma * self.network.stride, masks)

    @property
    def _sigma(self) -> FloatArray:
        """Of the Gaussians that were taught (N,), heatmap pixels."""
        return self.network.sigma.detach().cpu().numpy().astype(np.float64)

    def found(self, seen: HeatSeen) -> NDArray[np.bool_]:
        """Which landmarks (N,) are in the image."""
        if self.presence is None:
            return seen.strength >= self.reading.present_above
        return self.presence.probability(self.presence_features(seen)) >= 0.5

    def presence_features(self, seen: HeatSeen) -> dict[str, FloatArray]:
        """What speaks for each landmark, see :func:`~DenseLandmarksLib.models.presence.peak_presence_features`."""
        mm_per_pixel = self.template.field_of_view_mm[0] / self.grid_size[0]
        off_mm = off_others_mm(seen.points, seen.strength, self.template.landmarks_mm, mm_per_pixel)
        return peak_presence_features(seen.strength, off_mm)

    def measure(self, seen: HeatSeen) -> dict[str, float]:
        """The measures of plausibility, see :mod:`DenseLandmarksLib.landmarks.plausibility`."""
        return measure_heat_plausibility(seen.points, self.found(seen), seen.strength, self.template, self.grid_size)

    def _judge(self, seen: HeatSeen) -> Plausibility:
        measures = self.measure(seen)
        return Plausibility(doubts_of(measures, self.limits), measures, self.limits)

    def _plausible_change(
        self, image: MedicalImage, view: View, doubted: View, between_passes: Callable[[], None]
    ) -> View | None:
        """What to do on top of ``view``, other than look as it was ``doubted``, so that nothing speaks against the image.

        Of several ways that with the strongest peaks.
        """
        turns = [turn for turn in VIEWS if turn.turn_deg and (self.reading.either_side or not turn.flip)]
        strength: dict[View, float] = {}
        for change in (MIRRORED, *turns):
            if view.then(change) == doubted:
                continue
            grid = fit_grid(image, self.grid_size, view.then(change))
            seen = self.look_on_grid(grid.resample(image.pixels_yx), between_passes, passes=1)
            if self._judge(seen).plausible:
                strength[change] = float(np.median(seen.strength))
        return max(strength, key=strength.__getitem__, default=None)

    def _landmarks(self, image: MedicalImage, grid: Grid, seen: HeatSeen, is_plausible: bool) -> LandmarkSet:
        """The template's landmarks in LPS: those without a peak where the others suggest them."""
        located = with_guesses(seen.points, self._covariance(seen), self.found(seen), self.template, self.grid_size)
        landmarks = landmarks_on_grid(image, grid, self.template, located, is_plausible)
        return replace(landmarks, names=self._names(grid.view))

    def _covariance(self, seen: HeatSeen) -> FloatArray:
        """Covariances (N, 2, 2), grid pixels^2, of what was seen."""
        if self.ellipses is None:
            return seen.components["heat"] + seen.components["passes"] + _SMALLEST_PX2 * np.eye(2)
        structures = tuple(s.name for s in self.template.structures for _ in s.landmark_names)
        return self.ellipses.apply(seen.components, structures)


def open_heatmap(bundle: Bundle, device: str) -> HeatmapPredictor:
    """The predictor of a checked bundle of this family on ``"cpu"`` or ``"cuda"``.

    Raises :class:`InputError`, in one line, when weights, network and template do not fit.
    """
    inference, template = bundle.inference, bundle.need_template()
    network = open_network(bundle, HEATMAP_NETWORKS, HEATMAP_NETWORK_MODULE)
    network.is_mixed = computes_mixed(inference, device)
    _check_fit(bundle, network, template)
    try:
        reading = HeatReading.from_inference(inference)
        ellipses = EllipsoidCalibration.from_dict(inference["ellipses"]) if inference.get("ellipses") else None
        presence = PresenceCalibration.from_bundle(inference, PEAK_PRESENCE)
    except (KeyError, TypeError, ValueError) as error:
        raise broken(bundle.folder, f"a configuration file cannot be read ({error!r})") from error
    return HeatmapPredictor(
        network,
        template,
        reading,
        bundle.grid_size,
        bundle.name,
        bundle.version,
        device,
        ellipses,
        presence,
        bundle.expectation,
        bundle.limits,
        bundle.is_demonstration,
    )


def _check_fit(bundle: Bundle, network: HeatmapNetwork, template: Template) -> None:
    """Raises :class:`InputError` where a network is not for the bundle's template or grid."""
    wanted = len(template.landmark_names)
    if network.landmarks != wanted:
        raise broken(bundle.folder, f"its network has {network.landmarks} landmarks, its template {wanted}")
    if network.structures not in (0, len(template.structures)):
        raise broken(
            bundle.folder, f"its network has {network.structures} structures, its template {len(template.structures)}"
        )
    if network.dimensions != 2 or any(length % network.divisor for length in bundle.grid_size):
        raise broken(
            bundle.folder,
            f"its network takes {network.dimensions} dimensions in multiples of {network.divisor}, its grid is "
            f"{bundle.grid_size[0]} x {bundle.grid_size[1]}",
        )
