"""New landmarks in every case of a library, on demand and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.edits import LookUp
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.look_up import Found, find


@dataclass(frozen=True)
class LookedUp:
    """What came of one case.

    Attributes
    ----------
    case, name : its id, and what people call it.
    landmarks : those that were new in the case, N.
    found : where they are, by which method, and with which expected error; ``None`` where nothing was looked up.
    revision : that now holds them, 0 where nothing was saved.
    problem : why nothing was looked up, in one line, else empty.
    """

    case: str
    name: str
    landmarks: tuple[NewLandmark, ...] = ()
    found: Found | None = None
    revision: int = 0
    problem: str = ""


def look_up_everywhere(
    library: Library,
    who: str,
    landmarks: Sequence[NewLandmark] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[LookedUp]:
    """Find landmarks of the template extension in all cases, one after the other; each gets a revision that holds them.

    ``landmarks`` are those to look for, the whole extension by default. Cases that have them already are passed over;
    one that cannot be used is told and does not stop the others. Once ``cancelled`` says so no further case is begun.
    """
    wanted = library.new_landmarks() if landmarks is None else tuple(landmarks)
    for entry in library.cases():
        if cancelled():
            return
        try:
            yield _look_up(library, entry.id, entry.name, wanted, who)
        except InputError as error:
            yield LookedUp(entry.id, entry.name, problem=str(error))


def _look_up(library: Library, case_id: str, name: str, wanted: Sequence[NewLandmark], who: str) -> LookedUp:
    case = library.case(case_id)
    state, info = case.load()
    new = tuple(landmark for landmark in wanted if landmark.name not in state.landmarks.names)
    if not new:
        return LookedUp(case_id, name)
    after = apply_edit(state, LookUp(new))
    assert after.answer is not None
    found = find(after.answer.prediction, after.geometry, after.answer.template, new, after.landmarks)
    why = f"looked up {', '.join(landmark.name for landmark in new)}"
    saved = case.save(after, who, 0 if info is None else info.number, why)
    return LookedUp(case_id, name, new, found, saved.number)
