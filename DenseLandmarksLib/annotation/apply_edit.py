"""What each edit does to a case: the one function by which cases change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.case_state import CaseState, answer_under, landmarks_under
from DenseLandmarksLib.annotation.edits import Edit, Index
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.look_up import find


def apply_edit(state: CaseState, edit: Edit) -> CaseState:
    """The case after an edit; ``state`` itself where the edit changes nothing.

    The same edit on the same state always gives the same result: undo, the journal and recovery rest on it.

    Raises
    ------
    InputError : for an edit that does not fit the case; nothing has happened then.
    """
    match edit:
        case edits.Move(positions):
            return _move(state, dict(positions))
        case edits.Accept(names, structures):
            return _accept(state, names, structures)
        case edits.Absent(names):
            return _absent(state, names)
        case edits.Unsure(names):
            rows = _rows(state.landmarks, names)
            return _decided(state, rows, review=dict.fromkeys(rows, Review.UNSURE))
        case edits.Place(name, structure, index_ijk):
            return _place(state, name, structure, index_ijk)
        case edits.Reset(names):
            return _reset(state, names)
        case edits.SetStrength(strength):
            if not 0 <= strength <= 1:
                raise InputError(f"expected a strength from 0 to 1, got {strength}. Choose one in between.")
            return state if strength == state.strength else replace(state, strength=float(strength)).settled()
        case edits.CorrectSpacing():
            return _correct_spacing(state, edit)
        case edits.Paint(structure, mask):
            return _paint(state, structure, mask)
        case edits.Unpaint(structures):
            painted = {name: mask for name, mask in state.painted.items() if name not in structures}
            accepted = state.accepted.difference(structures)
            unchanged = len(painted) == len(state.painted) and accepted == state.accepted
            return state if unchanged else replace(state, painted=painted, accepted=accepted)
        case edits.TakePrediction():
            return _take_prediction(state, edit)
        case edits.Define(landmark, index_ijk):
            return _define(state, landmark, index_ijk)
        case edits.LookUp(landmarks):
            return _look_up(state, landmarks)
        case edits.Import(rows):
            return _import(state, rows)
        case edits.Restore(restored):
            if restored.geometry.size != state.geometry.size:
                raise InputError(
                    f"expected a state of this image of {state.geometry.size} voxels, got one of "
                    f"{restored.geometry.size}. Restore it in its own case."
                )
            return restored


def predicted_presence(state: CaseState, row: int) -> Presence:
    """What the model says about a landmark: present, absent, or unplaced where it says nothing."""
    name, structure = state.landmarks.names[row], state.landmarks.structures[row]
    if not np.isfinite(state.landmarks.predicted_lps_mm[row]).all():
        return Presence.UNPLACED
    if state.answer is None:  # imported as a prediction
        return Presence.PRESENT
    said = state.answer.prediction.landmarks
    if name in said.names:
        return said.presence[said.names.index(name)]
    # Looked up: it is where its structure is.
    found = any(said.presence[i] is Presence.PRESENT for i in said.of_structure(structure))
    return Presence.PRESENT if found else Presence.ABSENT


def fits(state: CaseState, landmark: NewLandmark) -> bool:
    """Whether a landmark can be looked up: the case's model has the structure on which it was defined."""
    template = None if state.answer is None else state.answer.template
    if template is None or landmark.structure not in template.structure_names:
        return False
    return landmark.template_key in ("", template.structure(landmark.structure).key)


def _rows(landmarks: LandmarkSet, names: Iterable[str]) -> list[int]:
    where = {name: row for row, name in enumerate(landmarks.names)}
    unknown = [name for name in names if name not in where]
    if unknown:
        raise InputError(f"expected a landmark of this case, got {unknown[0]!r}. Place it first.")
    return [where[name] for name in names]


def _points_lps_mm(state: CaseState, index_ijk: Sequence[Index]) -> NDArray[np.float64]:
    index = np.array(index_ijk, np.float64).reshape(-1, 3)
    if not np.isfinite(index).all():
        raise InputError("expected a position in the image, got one that is not finite. Point at it again.")
    if state.geometry.is_radiograph:
        index[:, 2] = 0.0  # a slice view gives a point within half a slice of the plane
    return lps_mm_from_index(state.geometry, index)


def _decided(
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


def _move(state: CaseState, positions: dict[str, Index]) -> CaseState:
    rows = _rows(state.landmarks, positions)
    for row in rows:
        if state.landmarks.presence[row] is not Presence.PRESENT:
            raise InputError(
                f"expected a landmark that is present, got {state.landmarks.names[row]!r}, which is "
                f"{state.landmarks.presence[row]}. Place it instead."
            )
    points = _points_lps_mm(state, list(positions.values()))
    # Dropped where it was picked up, up to what the way through an index rounds off.
    offsets = np.linalg.norm(points - state.landmarks.points_lps_mm[rows], axis=1).tolist()
    kept = [i for i, offset in enumerate(offsets) if offset > 1e-9]
    rows, points = [rows[i] for i in kept], points[kept]
    predicted = np.asarray(np.isfinite(state.landmarks.predicted_lps_mm).all(axis=1))
    return _decided(
        state, rows, points, review={row: Review.CORRECTED if predicted[row] else Review.PLACED for row in rows}
    )


def _accept(state: CaseState, names: Sequence[str], structures: Sequence[str]) -> CaseState:
    rows = _rows(state.landmarks, names)
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
    return _decided(state, open_rows, review=dict.fromkeys(open_rows, Review.VERIFIED))


def _absent(state: CaseState, names: Sequence[str]) -> CaseState:
    rows = _rows(state.landmarks, names)
    review = {
        row: Review.VERIFIED if predicted_presence(state, row) is Presence.ABSENT else Review.CORRECTED for row in rows
    }
    return _decided(state, rows, presence=dict.fromkeys(rows, Presence.ABSENT), review=review)


def _check_name(name: str, of_what: str) -> None:
    """Refuse a name that cannot be written down: none, or one with halves of characters, as damaged files have them."""
    if not name.strip():
        raise InputError(f"expected a name for the {of_what}, got none. Name it.")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InputError(f"expected a name for the {of_what} that is text, got {name!a}. Name it otherwise.")


def _place(state: CaseState, name: str, structure: str, index_ijk: Index) -> CaseState:
    _check_name(name, "landmark")
    points = _points_lps_mm(state, [index_ijk])
    if name not in state.landmarks.names:
        state = state.with_predicted(state.landmarks.joined(LandmarkSet.unplaced([name], [structure])))
    row = state.landmarks.names.index(name)
    if state.landmarks.presence[row] is Presence.PRESENT:
        raise InputError(f"expected a landmark that is not placed yet, got {name!r}. Drag it, or choose another name.")
    return _decided(state, [row], points, {row: Presence.PRESENT}, {row: Review.PLACED})


def _reset(state: CaseState, names: Sequence[str]) -> CaseState:
    rows = _rows(state.landmarks, names)
    return _decided(
        state,
        rows,
        state.landmarks.predicted_lps_mm[rows],
        {row: predicted_presence(state, row) for row in rows},
        dict.fromkeys(rows, Review.PREDICTED),
    )


def _correct_spacing(state: CaseState, edit: edits.CorrectSpacing) -> CaseState:
    try:
        geometry = state.geometry.with_spacing(edit.spacing_mm, edit.source)
    except ValueError:
        raise InputError(
            f"expected positive millimetres between voxels, got {edit.spacing_mm}. Measure again."
        ) from None
    if geometry == state.geometry:
        return state
    landmarks = landmarks_under(state.landmarks, state.geometry, geometry)
    answer = answer_under(state.answer, state.geometry, geometry)
    return replace(state, geometry=geometry, answer=answer).with_predicted(landmarks)


def _paint(state: CaseState, structure: str, mask: NDArray[np.bool_]) -> CaseState:
    expected = state.geometry.size[::-1]
    if np.shape(mask) != expected:
        raise InputError(
            f"expected a mask on the voxels of the image, {expected}, got {np.shape(mask)}. Paint it on this image."
        )
    _check_name(structure, "structure")
    mask = np.array(mask, bool)
    if structure in state.painted and np.array_equal(mask, state.painted[structure]):
        return state
    mask.setflags(write=False)
    return replace(state, painted={**state.painted, structure: mask})


def _take_prediction(state: CaseState, edit: edits.TakePrediction) -> CaseState:
    answer = answer_under(edit.answer, edit.geometry, state.geometry)
    assert answer is not None
    old, said = state.landmarks, answer.prediction.landmarks
    state = replace(state, answer=answer, accepted=frozenset())
    found = _found(state, [new for new in state.new_landmarks if new.name not in said.names and fits(state, new)])
    fresh = said.joined(found)
    decided = {name: row for row, name in enumerate(old.names) if old.review[row] is not Review.PREDICTED}
    missing = [name for name in decided if name not in fresh.names]
    if missing:
        kept = old.rows(old.index_of(missing))
        # What another model said is nothing that this one can be reset to.
        fresh = fresh.joined(replace(kept, predicted_lps_mm=np.full((len(kept), 3), np.nan)))
    state = state.with_predicted(fresh)
    ours, theirs = fresh.index_of(list(decided)), list(decided.values())
    return _decided(
        state,
        [int(row) for row in ours],
        old.points_lps_mm[theirs],
        {int(i): old.presence[j] for i, j in zip(ours, theirs, strict=True)},
        {int(i): old.review[j] for i, j in zip(ours, theirs, strict=True)},
    )


def _found(state: CaseState, new: Sequence[NewLandmark]) -> LandmarkSet:
    """New landmarks as the model sees them, before any correction: those go on top as with all others."""
    if not new:
        return LandmarkSet.empty()
    assert state.answer is not None
    return find(state.answer.prediction, state.geometry, state.answer.template, new).as_landmarks(new)


def _define(state: CaseState, landmark: NewLandmark, index_ijk: Index) -> CaseState:
    _check_name(landmark.name, "landmark")
    if landmark.name in state.landmarks.names:
        raise InputError(f"expected a name that is new in this case, got {landmark.name!r}. Choose another.")
    state = _look_up(state, [landmark])
    row = state.landmarks.names.index(landmark.name)
    return _decided(state, [row], _points_lps_mm(state, [index_ijk]), {row: Presence.PRESENT}, {row: Review.PLACED})


def _look_up(state: CaseState, new: Sequence[NewLandmark]) -> CaseState:
    for landmark in new:
        if not fits(state, landmark):
            raise InputError(
                f"expected a landmark on a structure of this case's model, got {landmark.name!r} on "
                f"{landmark.structure!r} of another template. Predict the case with the model that it was defined on."
            )
    fresh = [landmark for landmark in new if landmark.name not in state.landmarks.names]
    if not fresh:
        return state
    state = replace(state, new_landmarks=(*state.new_landmarks, *fresh))
    return state.with_predicted(state.landmarks.joined(_found(state, fresh)))


def _import(state: CaseState, rows: Sequence[edits.ImportedRow]) -> CaseState:
    told = [row for row in rows if row.presence is not Presence.UNPLACED]
    for row in told:
        _check_name(row.name, "landmark")
    unknown = [row for row in told if row.name not in state.landmarks.names]
    landmarks = state.landmarks
    if unknown:
        names, structures = [row.name for row in unknown], [row.structure for row in unknown]
        landmarks = landmarks.joined(LandmarkSet.unplaced(names, structures))
    where = _rows(landmarks, [row.name for row in told])
    points = landmarks.points_lps_mm[where]
    placed = [i for i, row in enumerate(told) if row.index_ijk is not None]
    points[placed] = _points_lps_mm(state, [row.index_ijk for row in told if row.index_ijk is not None])
    # A file may also hold what a model said and nobody looked at.
    predicted = landmarks.predicted_lps_mm.copy()
    for i, (row, at) in enumerate(zip(told, where, strict=True)):
        if row.review is Review.PREDICTED and row.index_ijk is not None:
            predicted[at] = points[i]
    if unknown or not np.array_equal(predicted, landmarks.predicted_lps_mm, equal_nan=True):
        state = state.with_predicted(replace(landmarks, predicted_lps_mm=predicted))
    presence = {at: row.presence for at, row in zip(where, told, strict=True)}
    review = {at: row.review for at, row in zip(where, told, strict=True)}
    return _decided(state, where, points, presence, review)
