"""What all predictors of volumes make of what their networks saw: presence, the joint shape, how sure, landmarks in LPS."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import inside_border_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.plausibility import doubts_of
from DenseLandmarksLib.landmarks.shape_fit import combine, fit_joint_shape
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing
from DenseLandmarksLib.models.presence import PRESENCE, PresenceCalibration, presence_features

FloatArray = NDArray[np.float64]

BORDER_VOXELS = 1.5
"""Farther than so many voxels of the coarsest level from a volume's border, it makes no difference how far."""
_SMALLEST_MM2 = 1e-6


@dataclass(frozen=True)
class Seen:
    """What the passes over one volume gave: positions (N, 3), raw covariances (N, 3, 3) by name, presence (N,) 0 to 1."""

    points_lps_mm: FloatArray
    components: dict[str, FloatArray]
    presence: FloatArray


@dataclass
class VolumePredictor(ABC):
    """Predicts the landmarks of volumes with one network on one device.

    Attributes
    ----------
    components : names of the raw covariances of a landmark that :meth:`look` gives; ``plain`` are those that add up to
        what is said without a calibration. One is ``"heat"``, of the finest heatmap.
    names, structures : of the N landmarks.
    joint_shape : of the landmarks, where the model has one; it takes part in the result where ``uses_shape``.
    ellipsoids : makes the covariances true; without it they are only as large as the passes and the heatmaps say.
    ellipsoids_with_shape : does so for what is left after the joint shape took part, component ``"joint"``.
    presence : makes the probability true that a landmark is there; without it the network's own output counts.
    confidence_radius_mm : confidence is the probability of an error below it, times that of the landmark's presence.
    limits : of the measures of plausibility.
    expectation : the images that the model was trained on, as far as a file can state it.
    """

    components: ClassVar[tuple[str, ...]]
    plain: ClassVar[tuple[str, ...]]

    network: nn.Module
    names: tuple[str, ...]
    structures: tuple[str, ...]
    intensity: IntensityRecipe
    name: str
    version: str
    device: str
    joint_shape: JointShape | None = None
    uses_shape: bool = False
    ellipsoids: EllipsoidCalibration | None = None
    ellipsoids_with_shape: EllipsoidCalibration | None = None
    confidence_radius_mm: float = 5.0
    limits: Mapping[str, float] = field(default_factory=dict)
    is_demonstration: bool = False
    expectation: Expectation = field(default_factory=Expectation)
    presence: PresenceCalibration | None = None

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    @abstractmethod
    def look(self, image: MedicalImage, between_passes: Callable[[], None] = do_nothing) -> Seen:
        """All passes over a volume, before anything is made of them."""

    @property
    @abstractmethod
    def coarsest_mm(self) -> float:
        """Spacing of the coarsest voxels that the network says something of."""

    @property
    @abstractmethod
    def says_presence(self) -> bool:
        """Whether the network's output tells which landmarks are there."""

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
        self.refuse_radiograph(image)
        between_passes()
        seen = self.look(image, between_passes)
        seen = replace(seen, presence=self.presence_of(seen, image.geometry))
        points, covariance, measures = self.understand(seen)
        # Where too few landmarks are there, their shape was not measured.
        limits = {name: limit for name, limit in self.limits.items() if name in measures}
        stated = (*demonstration_doubts(self, image), *self.expectation.doubts(image.acquisition))
        doubts = (*stated, *doubts_of(measures, limits))
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

    def presence_of(self, seen: Seen, geometry: ImageGeometry) -> FloatArray:
        """Probability (N,) that the landmarks are in a volume of this geometry; the network's own without a calibration."""
        if self.presence is None:
            return seen.presence
        return self.presence.probability(self.presence_features(seen, geometry))

    def presence_features(self, seen: Seen, geometry: ImageGeometry) -> dict[str, FloatArray]:
        """What speaks for each landmark, see :func:`~DenseLandmarksLib.models.presence.presence_features`."""
        own = seen.presence if self.says_presence else None
        inside_mm = inside_border_mm(geometry, seen.points_lps_mm)
        return presence_features(own, seen.components["heat"], inside_mm, BORDER_VOXELS * self.coarsest_mm)

    def understand(self, seen: Seen) -> tuple[FloatArray, FloatArray, dict[str, float]]:
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

    def _covariance(self, seen: Seen) -> FloatArray:
        """Covariances (N, 3, 3) of what the passes alone say."""
        if self.ellipsoids is not None:
            return self.ellipsoids.apply(seen.components, self.structures)
        said: FloatArray = np.sum([seen.components[name] for name in self.plain], axis=0)
        return said + _SMALLEST_MM2 * np.eye(3)

    def with_shape(
        self, points_lps_mm: FloatArray, covariance_mm2: FloatArray, present: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray, float] | None:
        """Positions and covariances that fit together, and how far off the shape they were, the median in standard deviations.

        ``None`` where there is no shape, or too few landmarks are there for a pose.
        """
        if self.joint_shape is None or present.sum() < 3:
            return None
        fitted = fit_joint_shape(self.joint_shape, points_lps_mm, covariance_mm2, present)
        combined = combine(self.joint_shape, points_lps_mm, covariance_mm2, fitted)
        return combined.points, combined.covariance, float(np.nanmedian(fitted.residual_sd))

    def refuse_radiograph(self, image: MedicalImage) -> None:
        """Raises :class:`InputError` for one."""
        if image.is_radiograph:
            raise InputError(
                f"expected a volume for model {self.name}; {image.name} is one slice. Choose a model for radiographs, or "
                "give a volume."
            )


def arguments_of(bundle: Bundle, device: str) -> dict[str, Any]:
    """What a bundle says for all fields of a :class:`VolumePredictor` but its network, by name.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` for a configuration that lacks something.
    """
    inference = bundle.inference
    calibration = inference.get("ellipsoids")
    after = (calibration or {}).get("after_shape")
    return {
        "names": bundle.landmark_names,
        "structures": bundle.landmark_structures,
        "intensity": IntensityRecipe(**inference["intensity"]),
        "name": bundle.name,
        "version": bundle.version,
        "device": device,
        "joint_shape": JointShape.from_dict(bundle.joint_shape) if bundle.joint_shape else None,
        "uses_shape": bool(inference["uses_shape"]),
        "ellipsoids": None if calibration is None else EllipsoidCalibration.from_dict(calibration),
        "ellipsoids_with_shape": None if after is None else EllipsoidCalibration.from_dict(after),
        "confidence_radius_mm": float(inference["confidence_radius_mm"]),
        "limits": bundle.limits,
        "is_demonstration": bundle.is_demonstration,
        "expectation": bundle.expectation,
        "presence": PresenceCalibration.from_bundle(inference, PRESENCE),
    }
