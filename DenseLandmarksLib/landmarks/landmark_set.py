"""Named landmarks of one image: where they are, whether they are there, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Presence(StrEnum):
    """Whether a landmark is in the image. Absent is never coded as a coordinate."""

    PRESENT = "present"
    ABSENT = "absent"
    UNPLACED = "unplaced"


class Review(StrEnum):
    """What a person has decided about a landmark."""

    PREDICTED = "predicted"
    VERIFIED = "verified"
    CORRECTED = "corrected"
    PLACED = "placed"
    UNSURE = "unsure"


@dataclass(frozen=True)
class LandmarkSet:
    """The landmarks of one image, in the image's own frame.

    Attributes
    ----------
    names, structures : N strings each; a name is unique, a structure is the organ that the landmark lies on.
    points_lps_mm : (N, 3) float64, physical LPS; for an absent landmark the best guess, NaN only when unplaced.
    predicted_lps_mm : (N, 3) float64, what the model said; kept for ever.
    presence, review : N :class:`Presence` and :class:`Review`.
    confidence : (N,) in 0..1.
    covariance_mm2 : (N, 3, 3), the marginal covariance of each point; zero across the plane of a radiograph.
    template_uv : (N, 2), the landmark's template coordinate, NaN where the model has none.

    Raises
    ------
    ValueError : when lengths or shapes disagree, or a name occurs twice.
    """

    names: tuple[str, ...]
    structures: tuple[str, ...]
    points_lps_mm: NDArray[np.float64]
    predicted_lps_mm: NDArray[np.float64]
    presence: tuple[Presence, ...]
    review: tuple[Review, ...]
    confidence: NDArray[np.float64]
    covariance_mm2: NDArray[np.float64]
    template_uv: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.names)
        if len(set(self.names)) != n:
            raise ValueError("landmark names must be unique")
        for field, shape in {
            "structures": (n,),
            "points_lps_mm": (n, 3),
            "predicted_lps_mm": (n, 3),
            "presence": (n,),
            "review": (n,),
            "confidence": (n,),
            "covariance_mm2": (n, 3, 3),
            "template_uv": (n, 2),
        }.items():
            got = np.shape(getattr(self, field))
            if got != shape:
                raise ValueError(f"{field} must have shape {shape} for {n} landmarks, got {got}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def empty(cls) -> LandmarkSet:
        """No landmarks."""
        return cls.unplaced((), ())

    @classmethod
    def unplaced(cls, names: Sequence[str], structures: Sequence[str]) -> LandmarkSet:
        """Landmarks that are known by name only."""
        n = len(names)
        return cls(
            names=tuple(names),
            structures=tuple(structures),
            points_lps_mm=np.full((n, 3), np.nan),
            predicted_lps_mm=np.full((n, 3), np.nan),
            presence=(Presence.UNPLACED,) * n,
            review=(Review.PREDICTED,) * n,
            confidence=np.full(n, np.nan),
            covariance_mm2=np.full((n, 3, 3), np.nan),
            template_uv=np.full((n, 2), np.nan),
        )

    def rows(self, which: ArrayLike) -> LandmarkSet:
        """The landmarks at positions ``which`` (M,), in that order."""
        index = np.asarray(which, np.intp)
        return LandmarkSet(
            names=tuple(self.names[i] for i in index),
            structures=tuple(self.structures[i] for i in index),
            points_lps_mm=self.points_lps_mm[index],
            predicted_lps_mm=self.predicted_lps_mm[index],
            presence=tuple(self.presence[i] for i in index),
            review=tuple(self.review[i] for i in index),
            confidence=self.confidence[index],
            covariance_mm2=self.covariance_mm2[index],
            template_uv=self.template_uv[index],
        )

    def joined(self, other: LandmarkSet) -> LandmarkSet:
        """These landmarks, then those of ``other``; raises ``ValueError`` for a name that both have."""
        return LandmarkSet(
            names=self.names + other.names,
            structures=self.structures + other.structures,
            points_lps_mm=np.concatenate([self.points_lps_mm, other.points_lps_mm]),
            predicted_lps_mm=np.concatenate([self.predicted_lps_mm, other.predicted_lps_mm]),
            presence=self.presence + other.presence,
            review=self.review + other.review,
            confidence=np.concatenate([self.confidence, other.confidence]),
            covariance_mm2=np.concatenate([self.covariance_mm2, other.covariance_mm2]),
            template_uv=np.concatenate([self.template_uv, other.template_uv]),
        )

    def of_structure(self, structure: str) -> NDArray[np.intp]:
        """Positions, in order, of the landmarks that lie on ``structure``."""
        return np.flatnonzero(np.asarray(self.structures) == structure)

    def index_of(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Positions of the named landmarks; raises ``KeyError`` for a name that is not here."""
        where = {name: i for i, name in enumerate(self.names)}
        return np.asarray([where[name] for name in names], np.intp)
