"""Everything that can be done to a case. Each is a value: it can be applied, taken back, written down and read again.

Positions are continuous voxel indices (i, j, k), pixel centres at integers: what a person pointed at stays what it is
when the spacing is corrected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

Index = tuple[float, float, float]


@dataclass(frozen=True)
class Move:
    """Landmarks that are present were dragged: they are corrected (or still placed, without a prediction)."""

    positions: tuple[tuple[str, Index], ...]


@dataclass(frozen=True)
class Accept:
    """Landmarks, and masks of structures, are right as they are: they are verified."""

    names: tuple[str, ...]
    structures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absent:
    """Landmarks are not in the image."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Unsure:
    """A person looked and cannot tell where they are: training will not learn from them."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A landmark that is absent, unplaced or unknown so far is here."""

    name: str
    structure: str
    index_ijk: Index


@dataclass(frozen=True)
class Reset:
    """Landmarks are again what the model said."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class SetStrength:
    """How far corrections take their neighbours along, 0 to 1."""

    strength: float


@dataclass(frozen=True)
class CorrectSpacing:
    """The voxels lie at another distance than was thought; every point stays on its voxel."""

    spacing_mm: tuple[float, float, float]
    source: SpacingSource = SpacingSource.GIVEN


@dataclass(frozen=True, eq=False)
class Paint:
    """A person painted a structure: ``mask`` (Z, Y, X) bool on the image's voxels."""

    structure: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Unpaint:
    """The masks of structures are again those of the model."""

    structures: tuple[str, ...]


@dataclass(frozen=True)
class TakePrediction:
    """What a model says; decisions that people made stay. ``geometry`` is that of the image as the model got it."""

    answer: ModelAnswer
    geometry: ImageGeometry


@dataclass(frozen=True)
class Define:
    """A new landmark, defined by a point in this image."""

    landmark: NewLandmark
    index_ijk: Index


@dataclass(frozen=True)
class LookUp:
    """New landmarks that were defined elsewhere are looked up in this image."""

    landmarks: tuple[NewLandmark, ...]


@dataclass(frozen=True)
class ImportedRow:
    """A landmark of a file; ``index_ijk`` is ``None`` unless it is present."""

    name: str
    structure: str
    presence: Presence
    review: Review
    index_ijk: Index | None = None


@dataclass(frozen=True)
class Import:
    """Landmarks out of a file."""

    rows: tuple[ImportedRow, ...]


@dataclass(frozen=True)
class StartBlind:
    """The case becomes one to compare models on: as nobody predicted it, with these (name, structure) to be placed."""

    landmarks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Seen:
    """An edit by a person who saw a prediction that was taken back since: nothing that it decides is blind."""

    edit: Move | Place | Absent | Import


@dataclass(frozen=True, eq=False)
class Restore:
    """The case is again as it was in another revision."""

    state: CaseState


Edit = (
    Move
    | Accept
    | Absent
    | Unsure
    | Place
    | Reset
    | SetStrength
    | CorrectSpacing
    | Paint
    | Unpaint
    | TakePrediction
    | Define
    | LookUp
    | Import
    | StartBlind
    | Seen
    | Restore
)
