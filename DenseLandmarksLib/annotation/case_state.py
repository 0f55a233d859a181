"""A case: everything that is known about one image, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.propagation import Propagation, landmark_propagation, propagate
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle


@dataclass(frozen=True)
class ModelAnswer:
    """A prediction with what is needed to understand it later, also where the model itself is not at hand.

    ``template`` is that of the model, ``None`` for a model without one; ``styles`` its structures' colours and terms.
    """

    prediction: Prediction
    template: Template | None
    styles: tuple[StructureStyle, ...]


@dataclass(frozen=True, eq=False)
class CaseState:
    """One image's landmarks and structures as people left them. Only :func:`~.apply_edit.apply_edit` makes new ones.

    Attributes
    ----------
    geometry : in force; a person may have corrected the spacing that the image's file states.
    landmarks : as they are now, in LPS under ``geometry``. Those that nobody reviewed are where the model and the
        corrections of the others say.
    answer : what the model said, under ``geometry``; ``None`` before a prediction.
    painted : per structure the mask (Z, Y, X) bool on the image's voxels that a person painted.
    accepted : structures whose mask a person found right.
    strength : 0 to 1, how far corrections take their neighbours along.
    new_landmarks : entries for the library's template extension that were defined in this case.
    blind : landmarks that were decided without a prediction in sight, see :mod:`~.blind`.
    is_chosen_for_comparison : it was begun to be decided blind, so that models can be compared on it.
    propagation : what corrections will move; follows from the rest. ``None`` where the landmarks are known one by one,
        as a model without a template says them: then a correction moves nobody else.
    """

    geometry: ImageGeometry
    landmarks: LandmarkSet = field(default_factory=LandmarkSet.empty)
    answer: ModelAnswer | None = None
    painted: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    strength: float = 1.0
    new_landmarks: tuple[NewLandmark, ...] = ()
    blind: frozenset[str] = frozenset()
    is_chosen_for_comparison: bool = False
    propagation: Propagation | None = field(default=None, repr=False)

    @property
    def template(self) -> Template | None:
        """Where landmarks can be looked up; ``None`` before a prediction, and after one of a model without a template."""
        return None if self.answer is None else self.answer.template

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures that have a mask: those of the model, then others that a person painted."""
        predicted = () if self.answer is None else self.answer.prediction.structures
        return (*predicted, *(name for name in self.painted if name not in predicted))

    @property
    def structures_of_landmarks(self) -> tuple[str, ...]:
        """On which a new landmark can lie: those of the template, without one those that the case has."""
        if self.template is not None:
            return self.template.structure_names
        return tuple(name for name in dict.fromkeys((*self.structures, *self.landmarks.structures)) if name)

    def structure_review(self, structure: str) -> Review:
        """What a person decided about a structure's mask: predicted, verified or corrected."""
        if structure in self.painted:
            return Review.CORRECTED
        return Review.VERIFIED if structure in self.accepted else Review.PREDICTED

    def open_names(self, structure: str | None = None) -> tuple[str, ...]:
        """Landmarks, of one structure where it is named, that the model placed, or called absent, and nobody reviewed."""
        landmarks = self.landmarks
        each = zip(landmarks.names, landmarks.structures, landmarks.presence, landmarks.review, strict=True)
        return tuple(
            name
            for name, of, presence, review in each
            if review is Review.PREDICTED and presence is not Presence.UNPLACED and structure in (None, of)
        )

    @property
    def counted_rows(self) -> tuple[int, ...]:
        """Rows of the landmarks that a person or a model said something of.

        Those that are nowhere count where they are to be placed without a prediction.
        """
        is_to_be_placed = self.is_chosen_for_comparison and self.answer is None
        presence = self.landmarks.presence
        return tuple(row for row, one in enumerate(presence) if is_to_be_placed or one is not Presence.UNPLACED)

    @property
    def is_corrected_one_by_one(self) -> bool:
        """Whether the model's landmarks have nothing to do with each other, so that :attr:`strength` changes nothing."""
        return self.answer is not None and (self.propagation is None or not self.propagation.takes_along)

    @property
    def index_ijk(self) -> NDArray[np.float64]:
        """Continuous voxel indices (N, 3) of the landmarks: what they are, whatever the spacing."""
        return index_from_lps_mm(self.geometry, self.landmarks.points_lps_mm)

    @property
    def propagation_axes_lps(self) -> NDArray[np.float64]:
        """Directions (3, D) in which landmarks may lie apart: two for a radiograph, three for a volume."""
        return self.geometry.axes_lps[:, : 2 if self.geometry.is_radiograph else 3]

    def settled(self) -> CaseState:
        """With every landmark that nobody reviewed where prediction and corrections say."""
        if self.propagation is None:
            return self
        moved = propagate(self.landmarks, self.propagation, self.propagation_axes_lps, self.strength)
        return replace(self, landmarks=moved)

    def with_predicted(self, landmarks: LandmarkSet) -> CaseState:
        """With landmarks whose predictions are others than before, settled."""
        # A model without a template gives each landmark's own covariance. What its errors have in common is not known, and
        # a guess at it, made for contours, would spoil what is right.
        independent = self.answer is not None and self.template is None
        propagation = None
        if len(landmarks) and not independent:
            propagation = landmark_propagation(landmarks, self.propagation_axes_lps, self.template)
        return replace(self, landmarks=landmarks, propagation=propagation).settled()


def landmarks_under(landmarks: LandmarkSet, before: ImageGeometry, after: ImageGeometry) -> LandmarkSet:
    """The landmarks of an image after its geometry was corrected: each stays on its voxel."""
    if before == after:
        return landmarks
    change = after.index_to_lps_mm @ np.linalg.inv(before.index_to_lps_mm)

    def moved(points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        return lps_mm_from_index(after, index_from_lps_mm(before, points_lps_mm))

    return replace(
        landmarks,
        points_lps_mm=moved(landmarks.points_lps_mm),
        predicted_lps_mm=moved(landmarks.predicted_lps_mm),
        covariance_mm2=change @ landmarks.covariance_mm2 @ change.T,
    )


def answer_under(answer: ModelAnswer | None, before: ImageGeometry, after: ImageGeometry) -> ModelAnswer | None:
    """What a model said under one geometry, in another; masks and uv lie on the pixels and stay."""
    if answer is None or before == after:
        return answer
    landmarks = landmarks_under(answer.prediction.landmarks, before, after)
    return replace(answer, prediction=replace(answer.prediction, landmarks=landmarks))
