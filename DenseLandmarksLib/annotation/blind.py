"""Which decisions were made without a prediction in sight: they alone can say which of two models is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.decide_landmarks import check_name
from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review

_DECIDED = (Review.VERIFIED, Review.CORRECTED, Review.PLACED)


def with_blind(before: CaseState, after: CaseState, said: Iterable[str] = ()) -> CaseState:
    """The case after a decision, with what is blind in it: ``said`` are landmarks that a person put there anew.

    A landmark that is decided otherwise once a model has said something is blind no more, wherever it lies then.
    """
    if after is before:
        return after
    said, touched = frozenset(said), _touched(before, after)
    blind = before.blind - touched
    if after.answer is None:
        landmarks = after.landmarks
        predicted = np.asarray(np.isfinite(landmarks.predicted_lps_mm).all(axis=1))
        blind |= {
            name
            for name, review, known in zip(landmarks.names, landmarks.review, predicted, strict=True)
            if name in touched & (said | before.blind) and review in _DECIDED and not known
        }
    return after if blind == after.blind else replace(after, blind=blind)


def without_blind(before: CaseState, after: CaseState) -> CaseState:
    """The case after a decision of a person who knows what a model says, though it is in the case no more."""
    blind = before.blind - _touched(before, after)
    return after if blind == after.blind else replace(after, blind=blind)


def start_blind(state: CaseState, landmarks: Sequence[tuple[str, str]]) -> CaseState:
    """The case as nobody predicted it, with ``landmarks``, each a name and its structure, to be placed.

    Raises :class:`InputError` where a person decided something, and for landmarks that cannot be.
    """
    if state.painted or state.accepted or any(review is not Review.PREDICTED for review in state.landmarks.review):
        raise InputError(
            f"expected a case in which nobody decided anything, got one {_work(state)}. Choose another for comparison."
        )
    names = [name for name, _ in landmarks]
    if not names or len(set(names)) != len(names):
        raise InputError(f"expected landmarks to place, each once, got {len(names)}: {names[:3]}. Name others.")
    for name in names:
        check_name(name, "landmark")
    fresh = LandmarkSet.unplaced(names, [structure for _, structure in landmarks])
    is_so = state.is_chosen_for_comparison and state.answer is None and not state.new_landmarks
    if is_so and (state.landmarks.names, state.landmarks.structures) == (fresh.names, fresh.structures):
        return state
    return replace(
        state, answer=None, new_landmarks=(), blind=frozenset(), is_chosen_for_comparison=True
    ).with_predicted(fresh)


def left_to_place(state: CaseState) -> tuple[str, ...]:
    """What a person was asked for and did not decide yet, in a case for comparison of which no prediction was shown.

    None are left in any other case.
    """
    return open_landmarks(state) if state.is_chosen_for_comparison and state.answer is None else ()


def refuse_prediction(state: CaseState) -> None:
    """Raise :class:`InputError` where a prediction would end a comparison before all that was asked for is decided."""
    left = left_to_place(state)
    if left:
        raise InputError(
            f"expected all landmarks of a case chosen for comparison decided, got {len(left)} of {len(state.landmarks)} that "
            "are not: once a prediction was seen they would not be blind any more. Place them, or mark them absent or "
            "unsure, first."
        )


def _touched(before: CaseState, after: CaseState) -> frozenset[str]:
    """Landmarks that are decided otherwise than before."""
    was, now = _decisions(before), _decisions(after)
    return frozenset(name for name in now if now[name] != was.get(name))


def _decisions(state: CaseState) -> Mapping[str, tuple[Presence, Review, bytes]]:
    """What people decided by name, to the last bit; who moves along with a neighbour is not in it."""
    landmarks = state.landmarks
    each = zip(landmarks.names, landmarks.presence, landmarks.review, landmarks.points_lps_mm, strict=True)
    return {
        name: (presence, review, b"" if review is Review.PREDICTED else point.tobytes())
        for name, presence, review, point in each
    }


def _work(state: CaseState) -> str:
    reviewed = sum(review is not Review.PREDICTED for review in state.landmarks.review)
    return f"with {reviewed} landmarks and {len({*state.painted, *state.accepted})} masks decided"
