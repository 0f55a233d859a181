"""The predictor of multi-scale models: a volume's pyramid, coarse to fine, how sure each landmark is, LPS."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import inside_border_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.plausibility import doubts_of
from DenseLandmarksLib.landmarks.shape_fit import combine, fit_joint_shape
from DenseLandmarksLib.models.bundle import Bundle, broken
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration, isotropic
from DenseLandmarksLib.models.evidence import Evidence, need_landmark
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.loc_net import entropy_of, heat_covariance
from DenseLandmarksLib.models.networks.multi_scale import NETWORK_MODULE, NETWORKS, LevelOutput, MultiScaleLocNet
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing
from DenseLandmarksLib.models.predictors.image_pyramid import ImagePyramid, Ramp
from DenseLandmarksLib.models.predictors.level_maps import level_maps
from DenseLandmarksLib.models.presence import PresenceCalibration, presence_features

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMPONENTS = ("shifted", "heat", "levels", "coarse_entropy")
"""Raw covariances of a landmark: of the passes with shifted crops, of the finest heatmap, of what the levels disagree by, and
of the size of the coarsest heatmap's bulk."""
BORDER_VOXELS = 1.5
"""Farther than so many voxels of the coarsest level from a volume's border, it makes no difference how far."""
# Voxels of crops that go through the network at once.
_VOXELS_AT_ONCE = 2**20
_SMALLEST_MM2 = 1e-6


@dataclass
class MultiScalePredictor:
    """Predicts the landmarks of volumes with one network on one device.

    Attributes
    ----------
    names, structures : of the N landmarks.
    passes, shift_mm : how often the finest level looks, the crops moved by up to so much each way (paper, section 2.4).
    joint_shape : of the landmarks, where the model has one; it takes part in the result where ``uses_shape``.
    ellipsoids : makes the covariances true; without it they are only as large as the passes and the heatmaps say.
    ellipsoids_with_shape : does so for what is left after the joint shape took part, component ``"joint"``.
    presence : makes the probability true that a landmark is there; without it the network's own output counts.
    confidence_radius_mm : confidence is the probability of an error below it, times that of the landmark's presence.
    limits : of the measures of plausibility.
    """

    network: MultiScaleLocNet
    names: tuple[str, ...]
    structures: tuple[str, ...]
    intensity: IntensityRecipe
    name: str
    version: str
    device: str
    passes: int = 8
    shift_mm: float = 5.0
    joint_shape: JointShape | None = None
    uses_shape: bool = False
    ellipsoids: EllipsoidCalibration | None = None
    ellipsoids_with_shape: EllipsoidCalibration | None = None
    confidence_radius_mm: float = 5.0
    limits: Mapping[str, float] = field(default_factory=dict)
    is_demonstration: bool = False
    presence: PresenceCalibration | None = None

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    def run_once(self) -> bool:
        """One pass of every level over a grey ramp; whether all that comes out is finite."""
        seen = self._look(Ramp(self.network.spacings_mm, self.network.crop_size), do_nothing, 1)
        return bool(np.isfinite(seen.points_lps_mm).all())

    def predict(
        self,
        image: MedicalImage,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Prediction:
        """Predict a volume, however it is stored; there is no ``view`` of one.

        ``between_passes`` is called before each pass of the network and may raise what ends the prediction.

        Raises :class:`InputError` for a radiograph.
        """
        self._refuse_radiograph(image)
        between_passes()
        seen = self.look(image, between_passes)
        seen = replace(seen, presence=self.presence_of(seen, image.geometry))
        points, covariance, measures = self._understand(seen)
        # Where too few landmarks are there, their shape was not measured.
        limits = {name: limit for name, limit in self.limits.items() if name in measures}
        doubts = (*demonstration_doubts(self, image), *doubts_of(measures, limits))
        radius_sd = self.confidence_radius_mm**2 / np.maximum(np.trace(covariance, axis1=1, axis2=2) / 3, _SMALLEST_MM2)
        confidence = seen.presence * chi2.cdf(radius_sd, 3)
        landmarks = LandmarkSet(
            names=self.names,
            structures=self.structures,
            points_lps_mm=points,
            predicted_lps_mm=points.copy(),
            presence=tuple(Presence.PRESENT if p >= 0.5 else Presence.ABSENT for p in seen.presence),
            review=(Review.PREDICTED,) * len(self.names),
            confidence=np.zeros(len(points)) if doubts else confidence,
            covariance_mm2=covariance,
            template_uv=np.full((len(points), 2), np.nan),
        )
        plausibility = Plausibility(doubts, measures, limits)
        return Prediction.of_landmarks(landmarks, self.name, self.version, self.device, plausibility)

    def look(self, image: MedicalImage, between_passes: Callable[[], None] = do_nothing) -> Seen:
        """All passes over a volume, before anything is made of them; goes on with the CPU when a card's memory is short."""
        pyramid = ImagePyramid(image, self.network.spacings_mm, self.intensity)
        return self._in_memory(lambda: self._look(pyramid, between_passes, self.passes))

    def presence_of(self, seen: Seen, geometry: ImageGeometry) -> NDArray[np.float64]:
        """Probability (N,) that the landmarks are in a volume of this geometry; the network's own without a calibration."""
        if self.presence is None:
            return seen.presence
        return self.presence.probability(self.presence_features(seen, geometry))

    def presence_features(self, seen: Seen, geometry: ImageGeometry) -> dict[str, NDArray[np.float64]]:
        """What speaks for each landmark, see :func:`~DenseLandmarksLib.models.presence.presence_features`."""
        own = None if self.network.presence is None else seen.presence
        limit_mm = BORDER_VOXELS * self.network.spacings_mm[0]
        inside_mm = inside_border_mm(geometry, seen.points_lps_mm)
        return presence_features(own, seen.components["heat"], inside_mm, limit_mm)

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """The landmark's heatmaps at the finest and at the coarsest level, from one look at each.

        Raises :class:`InputError` for a radiograph, and for a landmark that the model does not know.
        """
        self._refuse_radiograph(image)
        row = need_landmark(landmark, self.names, self.name)
        between_passes()
        pyramid = ImagePyramid(image, self.network.spacings_mm, self.intensity)
        outputs = self._in_memory(lambda: self._heat_of(row, pyramid, between_passes))
        return Evidence(landmark, level_maps(outputs, row, self.network.centre, image.geometry))

    def _refuse_radiograph(self, image: MedicalImage) -> None:
        if image.is_radiograph:
            raise InputError(
                f"expected a volume for model {self.name}; {image.name} is one slice. Choose a model for radiographs, or "
                "give a volume."
            )

    def _in_memory(self, look: Callable[[], T]) -> T:
        """What a look gives; where the card's memory is too small for it, on the CPU from then on."""
        try:
            return look()
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
            logger.warning("not enough memory on %s; going on with the CPU", self.device)
            self.device = "cpu"
            self.network.to("cpu")
            torch.cuda.empty_cache()
            return look()

    @torch.inference_mode()
    def _heat_of(self, row: int, pyramid: Pyramid, between_passes: Callable[[], None]) -> tuple[LevelOutput, ...]:
        """The finest level, where there is more than one, in the crop that holds one landmark, and the coarsest."""
        network = self.network
        output, logits = network.coarse([pyramid], network.size_to_see(pyramid))
        last = len(network.spacings_mm) - 1
        if last == 0:
            return (output,)
        before = self._before_finest(output, self._present(logits), pyramid, between_passes)
        between_passes()
        crop = (network.rows == row).any(dim=1).nonzero()[:1, 0]
        return network.finer(last, [pyramid], before, None, crop), output

    def _present(self, logits: Tensor) -> NDArray[np.floating[Any]]:
        """Probability (N,) that the landmarks are in the volume."""
        if not self.network.presence:
            return np.ones(len(self.names))
        return np.asarray(torch.sigmoid(logits[0].float()).cpu().numpy())

    def _before_finest(
        self,
        output: LevelOutput,
        present: NDArray[np.floating[Any]],
        pyramid: Pyramid,
        between_passes: Callable[[], None],
    ) -> Tensor:
        """Positions (1, N, 3) that the finest level looks about."""
        points = self._in_shape(output, present)
        for level in range(1, len(self.network.spacings_mm) - 1):
            points = self._finer(level, pyramid, points, None, between_passes)[0]
        return points

    @torch.inference_mode()
    def _look(self, pyramid: Pyramid, between_passes: Callable[[], None], passes: int) -> Seen:
        network = self.network
        output, logits = network.coarse([pyramid], network.size_to_see(pyramid))
        entropy = entropy_of(output.heat[:, 0], network.centre)[0].cpu().numpy()
        present = self._present(logits)
        # A distribution of this entropy fills so many voxels.
        bulk_mm2 = np.exp(2 * entropy / 3) * output.spacing_mm**2
        # What the finest level stands on, and moves its crops about.
        before = self._before_finest(output, present, pyramid, between_passes)
        shifted = []
        heats = []
        if len(network.spacings_mm) > 1:
            for number in range(passes):
                shift = torch.from_numpy(_shifts(passes, len(network.rows), number) * self.shift_mm).float()[None]
                found, heat = self._finer(
                    len(network.spacings_mm) - 1, pyramid, before, shift.to(self.device), between_passes
                )
                shifted.append(found[0].cpu().numpy())
                heats.append(heat)
            points_lps_mm = np.mean(shifted, axis=0)
            covariance = np.mean(heats, axis=0)
        else:
            points_lps_mm, covariance = before[0].cpu().numpy(), self._heat_covariance(output)
        away = points_lps_mm - before[0].cpu().numpy()
        apart = np.zeros((len(points_lps_mm), 3, 3))
        if len(shifted) > 1:
            off = np.array(shifted) - points_lps_mm
            apart = np.einsum("pni,pnj->nij", off, off) / (len(shifted) - 1)
        components = {
            "shifted": apart,
            "heat": covariance,
            "levels": isotropic((away**2).sum(axis=1) / 3),
            "coarse_entropy": isotropic(bulk_mm2),
        }
        return Seen(points_lps_mm.astype(np.float64), components, present.astype(np.float64))

    def _in_shape(self, output: LevelOutput, presence: NDArray[np.floating[Any]]) -> Tensor:
        """Positions (1, N, 3) of the coarsest level; for a network that works in the shape's pose, as fits the shape.

        A few landmarks that it saw far off would turn the pose, and with it all that the finer levels see.
        """
        points = output.points_lps_mm
        if self.network.shape_mm is None:
            return points
        vague = self._heat_covariance(output) + output.spacing_mm**2 * np.eye(3)
        fitting = self.with_shape(points[0].cpu().numpy().astype(np.float64), vague, presence >= 0.5)
        return points if fitting is None else torch.from_numpy(fitting[0]).float()[None].to(points.device)

    def _finer(
        self,
        level: int,
        pyramid: Pyramid,
        points_lps_mm: Tensor,
        shift_lps_mm: Tensor | None,
        between_passes: Callable[[], None],
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Positions (1, N, 3) that one level says, and its heatmaps' covariances (N, 3, 3), a few crops at a time."""
        network = self.network
        at_once = max(1, _VOXELS_AT_ONCE // network.crop_size**3)
        found, covariance = points_lps_mm.clone(), np.zeros((len(self.names), 3, 3))
        for first in range(0, len(network.rows), at_once):
            between_passes()
            crops = torch.arange(first, min(first + at_once, len(network.rows)), device=network.rows.device)
            shift = None if shift_lps_mm is None else shift_lps_mm[:, crops]
            output = network.finer(level, [pyramid], points_lps_mm, shift, crops)
            found[:, output.landmarks] = output.points_lps_mm[:, output.landmarks]
            covariance[output.landmarks.cpu().numpy()] = self._heat_covariance(output)
        return found, covariance

    def _heat_covariance(self, output: LevelOutput) -> NDArray[np.float64]:
        """Covariances (K, 3, 3), mm^2 along LPS, of the heatmaps of the landmarks that are in one volume's crops."""
        voxels = heat_covariance(output.heat[0], self.network.centre)
        turned = torch.einsum("ai,cgij,bj->cgab", output.frames[0], voxels, output.frames[0])
        mm2 = output.by_landmark(turned[None])[0] * output.spacing_mm**2
        return np.asarray(mm2.cpu().numpy(), np.float64)

    def _understand(self, seen: Seen) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
        """Positions, covariances and measures of plausibility, with what the joint shape says of all of them together."""
        points, covariance, measures = seen.points_lps_mm, self._covariance(seen), {}
        combined = self.with_shape(points, covariance, seen.presence >= 0.5)
        if combined is not None:
            measures["shape_sd"] = combined[2]
            if self.uses_shape:
                points, covariance = combined[0], combined[1]
                if self.ellipsoids_with_shape is not None:
                    covariance = self.ellipsoids_with_shape.apply({"joint": covariance}, self.structures)
        return points, covariance, measures

    def _covariance(self, seen: Seen) -> NDArray[np.float64]:
        """Covariances (N, 3, 3) of what the passes alone say."""
        if self.ellipsoids is None:
            return seen.components["shifted"] + seen.components["heat"] + _SMALLEST_MM2 * np.eye(3)
        return self.ellipsoids.apply(seen.components, self.structures)

    def with_shape(
        self, points_lps_mm: NDArray[np.float64], covariance_mm2: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
        """Positions and covariances that fit together, and how far off the shape they were, the median in standard deviations.

        ``None`` where there is no shape, or too few landmarks are there for a pose.
        """
        if self.joint_shape is None or present.sum() < 3:
            return None
        fitted = fit_joint_shape(self.joint_shape, points_lps_mm, covariance_mm2, present)
        combined = combine(self.joint_shape, points_lps_mm, covariance_mm2, fitted)
        return combined.points, combined.covariance, float(np.nanmedian(fitted.residual_sd))


@dataclass(frozen=True)
class Seen:
    """What the passes over one volume gave: positions (N, 3), raw covariances (N, 3, 3) by name, presence (N,) 0 to 1."""

    points_lps_mm: NDArray[np.float64]
    components: dict[str, NDArray[np.float64]]
    presence: NDArray[np.float64]


def _shifts(passes: int, crops: int, number: int) -> NDArray[np.float64]:
    """Shifts (C, 3) from -1 to 1 of one of so many passes, none in a single one; the same in every prediction."""
    if passes == 1:
        return np.zeros((crops, 3))
    return np.random.default_rng((passes, number)).uniform(-1, 1, (crops, 3))


def _after_shape(calibration: Mapping[str, Any] | None) -> EllipsoidCalibration | None:
    """The calibration of what the joint shape leaves, where a bundle has one."""
    if calibration is None or "after_shape" not in calibration:
        return None
    return EllipsoidCalibration.from_dict(calibration["after_shape"])


def open_multi_scale(bundle: Bundle, device: str) -> MultiScalePredictor:
    """The predictor of a checked bundle of this family on ``"cpu"`` or ``"cuda"``.

    Raises :class:`InputError`, in one line, when weights and network do not fit.
    """
    inference = bundle.inference
    definition = dict(inference.get("network_def", {}))
    target = str(definition.pop("_target_", ""))
    # Only our own networks: a bundle must not name any callable it likes.
    network_class = NETWORKS.get(target.removeprefix(f"{NETWORK_MODULE}."))
    if network_class is None:
        raise broken(bundle.folder, f"it asks for the unknown network {target!r}")
    try:
        network = network_class(**definition)
        network.load_state_dict({name: torch.from_numpy(value).float() for name, value in bundle.weights.items()})
        network.is_mixed = device == "cpu" and bool(inference.get("is_mixed", False))
        calibration = inference.get("ellipsoids")
        if network.landmarks != len(bundle.landmark_names):
            raise ValueError(f"it has {network.landmarks} landmarks, the metadata {len(bundle.landmark_names)}")
        return MultiScalePredictor(
            network,
            bundle.landmark_names,
            bundle.landmark_structures,
            IntensityRecipe(**inference["intensity"]),
            bundle.name,
            bundle.version,
            device,
            int(inference["passes"]),
            float(inference["shift_mm"]),
            JointShape.from_dict(bundle.joint_shape) if bundle.joint_shape else None,
            bool(inference["uses_shape"]),
            None if calibration is None else EllipsoidCalibration.from_dict(calibration),
            _after_shape(calibration),
            float(inference["confidence_radius_mm"]),
            bundle.limits,
            bundle.is_demonstration,
            PresenceCalibration.from_dict(inference["presence"]) if "presence" in inference else None,
        )
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        first = str(error).splitlines()[-1].strip()
        raise broken(bundle.folder, f"its weights do not fit its network ({first})") from error
