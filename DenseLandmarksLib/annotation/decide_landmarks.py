"""What a person's decisions do to landmarks: moved, accepted, absent, unsure, placed, reset, or brought by a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Index
from DenseLandmarksLib.annotation.predicted_presence import predicted_presence
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review


def move(state: CaseState, positions: dict[str, Index]) -> CaseState:
    """Dragged to continuous voxel indices, by name."""
    rows = rows_of(state.landmarks, positions)
    for row in rows:
        if state.landmarks.presence[row] is not Presence.PRESENT:
            raise InputError(
                f"expected a landmark that is present, got {state.landmarks.names[row]!r}, which is "
                f"{state.landmarks.presence[row]}. Place it instead."
            )
    points = points_lps_mm_of(state, list(positions.values()))
    # Dropped where it was picked up, up to what the way through an index rounds off.
    offsets = np.linalg.norm(points - state.landmarks.points_lps_mm[rows], axis=1).tolist()
    kept = [i for i, offset in enumerate(offsets) if offset > 1e-9]
    rows, points = [rows[i] for i in kept], points[kept]
    predicted = np.asarray(np.isfinite(state.landmarks.predicted_lps_mm).all(axis=1))
    return decided(
        state, rows, points, review={row: Review.CORRECTED if predicted[row] else Review.PLACED for row in rows}
    )


def accept(state: CaseState, names: Sequence[str], structures: Sequence[str]) -> CaseState:
    """Right as they are: landmarks by name, and masks by structure."""
    rows = rows_of(state.landmarks, names)
    for row in rows:
        if state.landmarks.presence[row] is Presence.UNPLACED:
            raise InputError(
                f"expected a landmark that is somewhere, got {state.landmarks.names[row]!r}, which is unplaced. "
                "Place it, or say that it is absent."
            )
    unknown = [name for name in structures if name not in state.structures]
    if unknown:
        raise InputError(f"expected a structure of this case, got {unknown[0]!r}. Choose one that has a mask.")
    open_rows = [row for row in rows if state.landmarks.review[row] in (Review.PREDICTED, Review.UNSURE)]
    accepted = state.accepted.union(structures)
    if accepted != state.accepted:
        state = replace(state, accepted=accepted)
    return decided(state, open_rows, review=dict.fromkeys(open_rows, Review.VERIFIED))


def absent(state: CaseState, names: Sequence[str]) -> CaseState:
    """Not in the image."""
    rows = rows_of(state.landmarks, names)
    review = {
        row: Review.VERIFIED if predicted_presence(state, row) is Presence.ABSENT else Review.CORRECTED for row in rows
    }
    return decided(state, rows, presence=dict.fromkeys(rows, Presence.ABSENT), review=review)


def unsure(state: CaseState, names: Sequence[str]) -> CaseState:
    """A person looked and cannot tell where they are."""
    rows = rows_of(state.landmarks, names)
    return decided(state, rows, review=dict.fromkeys(rows, Review.UNSURE))


def place(state: CaseState, name: str, structure: str, index_ijk: Index) -> CaseState:
    """A landmark that is not present yet is at ``index_ijk``."""
    check_name(name, "landmark")
    points = points_lps_mm_of(state, [index_ijk])
    if name not in state.landmarks.names:
        state = state.with_predicted(state.landmarks.joined(LandmarkSet.unplaced([name], [structure])))
    row = state.landmarks.names.index(name)
    if state.landmarks.presence[row] is Presence.PRESENT:
        raise InputError(f"expected a landmark that is not placed yet, got {name!r}. Drag it, or choose another name.")
    return decided(state, [row], points, {row: Presence.PRESENT}, {row: Review.PLACED})


def reset(state: CaseState, names: Sequence[str]) -> CaseState:
    """Again what the model said."""
    rows = rows_of(state.landmarks, names)
    return decided(
        state,
        rows,
        state.landmarks.predicted_lps_mm[rows],
        {row: predicted_presence(state, row) for row in rows},
        dict.fromkeys(rows, Review.PREDICTED),
    )


def import_rows(state: CaseState, rows: Sequence[edits.ImportedRow]) -> CaseState:
    """Landmarks of a file."""
    told = [row for row in rows if row.presence is not Presence.UNPLACED]
    for row in told:
        check_name(row.name, "landmark")
    unknown = [row for row in told if row.name not in state.landmarks.names]
    landmarks = state.landmarks
    if unknown:
        names, structures = [row.name for row in unknown], [row.structure for row in unknown]
        landmarks = landmarks.joined(LandmarkSet.unplaced(names, structures))
    where = rows_of(landmarks, [row.name for row in told])
    points = landmarks.points_lps_mm[where]
    placed = [i for i, row in enumerate(told) if row.index_ijk is not None]
    points[placed] = points_lps_mm_of(state, [row.index_ijk for row in told if row.index_ijk is not None])
    # A file may also hold what a model said and nobody looked at.
    predicted = landmarks.predicted_lps_mm.copy()
    for i, (row, at) in enumerate(zip(told, where, strict=True)):
        if row.review is Review.PREDICTED and row.index_ijk is not None:
            predicted[at] = points[i]
    if unknown or not np.array_equal(predicted, landmarks.predicted_lps_mm, equal_nan=True):
        state = state.with_predicted(replace(landmarks, predicted_lps_mm=predicted))
    presence = {at: row.presence for at, row in zip(where, told, strict=True)}
    review = {at: row.review for at, row in zip(where, told, strict=True)}
    return decided(state, where, points, presence, review)


def rows_of(landmarks: LandmarkSet, names: Iterable[str]) -> list[int]:
    """Where the named landmarks are; raises :class:`InputError` for one that the case does not have."""
    where = {name: row for row, name in enumerate(landmarks.names)}
    unknown = [name for name in names if name not in where]
    if unknown:
        raise InputError(f"expected a landmark of this case, got {unknown[0]!r}. Place it first.")
    return [where[name] for name in names]


def points_lps_mm_of(state: CaseState, index_ijk: Sequence[Index]) -> NDArray[np.float64]:
    """Continuous voxel indices as points (N, 3) in LPS; on a radiograph in its plane."""
    index = np.array(index_ijk, np.float64).reshape(-1, 3)
    if not np.isfinite(index).all():
        raise InputError("expected a position in the image, got one that is not finite. Point at it again.")
    if state.geometry.is_radiograph:
        index[:, 2] = 0.0  # a slice view gives a point within half a slice of the plane
    return lps_mm_from_index(state.geometry, index)


def decided(
    state: CaseState,
    rows: Sequence[int],
    points_lps_mm: NDArray[np.float64] | None = None,
    presence: Mapping[int, Presence] | None = None,
    review: Mapping[int, Review] | None = None,
) -> CaseState:
    """The case with some landmarks decided otherwise, and the unreviewed ones where that takes them."""
    old = state.landmarks
    points = old.points_lps_mm
    if points_lps_mm is not None:
        points = points.copy()
        points[rows] = points_lps_mm
    presence, review = presence or {}, review or {}
    new = replace(
        old,
        points_lps_mm=points,
        presence=tuple(presence.get(i, was) for i, was in enumerate(old.presence)),
        review=tuple(review.get(i, was) for i, was in enumerate(old.review)),
    )
    same_words = new.presence == old.presence and new.review == old.review
    if same_words and np.array_equal(new.points_lps_mm, old.points_lps_mm, equal_nan=True):
        return state
    return replace(state, landmarks=new).settled()


def check_name(name: str, of_what: str) -> None:
    """Refuse a name that cannot be written down: none, or one with halves of characters, as damaged files have them."""
    if not name.strip():
        raise InputError(f"expected a name for the {of_what}, got none. Name it.")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InputError(f"expected a name for the {of_what} that is text, got {name!a}. Name it otherwise.")
