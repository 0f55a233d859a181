"""What people decided about the cases of a library: all that a model may learn from, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.datalist import teaches
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.revision import SIDECAR
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review


@dataclass(frozen=True)
class Decision:
    """Of one landmark. ``index_ijk``, continuous voxels, is ``None`` where a person decided that it is absent.

    ``review`` is verified, corrected or placed.
    """

    name: str
    structure: str
    index_ijk: tuple[float, float, float] | None
    review: Review


@dataclass(frozen=True, eq=False)
class Decisions:
    """Of one case, in its newest revision that can be read.

    Attributes
    ----------
    case_id, name : of the case. ``patient`` : the key of its patient, empty where that is unknown.
    revision, digest : which one, and the SHA-256 of its sidecar.
    geometry : in force in it.
    landmarks : those that a person decided. What is unsure, predicted or unplaced is not among them: it teaches nothing.
    masks : decided structures, painted or accepted, (Z, Y, X) bool on the image's voxels.
    blind : names that were decided without a prediction in sight.
    is_chosen_for_comparison : whether it was begun in order to compare models.
    template_keys : per structure the key of the template of the answer in it; none without a template.
    painted : those of the masks that a person painted.
    view : how the model looked at the image; ``None`` where none did.
    model_name : of the model whose prediction is in it, empty where there is none.
    left_to_place : how many of the landmarks are undecided that were asked for in order to compare models.
    """

    case_id: str
    name: str
    patient: str
    revision: int
    digest: str
    geometry: ImageGeometry
    landmarks: tuple[Decision, ...]
    masks: Mapping[str, NDArray[np.bool_]]
    blind: frozenset[str]
    is_chosen_for_comparison: bool
    template_keys: Mapping[str, str]
    painted: frozenset[str] = frozenset()
    view: View | None = None
    model_name: str = ""
    left_to_place: int = 0

    @property
    def person(self) -> str:
        """The patient; where that is unknown each case is taken for a patient of its own."""
        return self.patient or self.case_id


class DecidedMasks(Mapping[str, NDArray[np.bool_]]):
    """Masks by name, each made from its revision when it is asked for: those of many volumes would fill the memory."""

    def __init__(self, case: LibraryCase, revision: int, names: Sequence[str]) -> None:
        self._case, self._revision, self._names = case, revision, tuple(names)

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        """Raises ``KeyError`` for a structure that nobody decided, :class:`InputError` for a revision that was damaged."""
        if name not in self._names:
            raise KeyError(name)
        return structure_mask(self._case.load(self._revision)[0], name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_decisions_of(library: Library, revisions: Mapping[str, int]) -> tuple[Decisions, ...]:
    """What people decided in these revisions of these cases (ids), in their order: a run that goes on learns the same.

    Raises :class:`InputError` where one of them cannot be read any more.
    """
    return tuple(_in_revision(library.case(case_id), number) for case_id, number in revisions.items())


def read_decisions(library: Library) -> tuple[tuple[Decisions, ...], tuple[str, ...]]:
    """What people decided in each case of a library, by name, and one line for each case or revision that cannot be read.

    Where the newest revision is damaged, the one before counts. Cases in which nobody decided anything are left out.
    """
    found, lines = [], []
    for entry in library.cases():
        try:
            case = library.case(entry.id)
        except InputError as error:
            lines.append(str(error))
            continue
        decisions, damage = newest_decisions(case)
        lines += damage
        if decisions is not None and (decisions.landmarks or decisions.masks):
            found.append(decisions)
    return tuple(found), tuple(lines)


def newest_decisions(case: LibraryCase) -> tuple[Decisions | None, list[str]]:
    """Those of the newest revision that can be read, and a line where that is not the last one."""
    damage: list[str] = []
    for number in reversed(case.revision_numbers()):
        try:
            return _in_revision(case, number), damage
        except InputError as error:
            damage = damage or [str(error)]
    return None, damage


def _in_revision(case: LibraryCase, revision: int) -> Decisions:
    state, _ = case.load(revision)
    digest = hashlib.sha256((case.revision_folder(revision) / SIDECAR).read_bytes()).hexdigest()
    landmarks = tuple(_landmarks(state))
    decided = [name for name in state.structures if name in {*state.painted, *state.accepted}]
    template = state.template
    grid = None if state.answer is None else state.answer.prediction.grid
    return Decisions(
        case_id=case.id,
        name=case.name,
        patient=case.patient_key,
        revision=revision,
        digest=digest,
        geometry=state.geometry,
        landmarks=landmarks,
        masks=DecidedMasks(case, revision, decided),
        blind=state.blind.intersection(decision.name for decision in landmarks),
        is_chosen_for_comparison=state.is_chosen_for_comparison,
        template_keys={} if template is None else {one.name: one.key for one in template.structures},
        painted=frozenset(state.painted),
        view=None if grid is None else grid.view,
        model_name="" if state.answer is None else state.answer.prediction.model_name,
        left_to_place=len(left_to_place(state)),
    )


def _landmarks(state: CaseState) -> Iterator[Decision]:
    landmarks, index_ijk = state.landmarks, state.index_ijk
    for row, (presence, review) in enumerate(zip(landmarks.presence, landmarks.review, strict=True)):
        if teaches(presence, review):
            i, j, k = index_ijk[row].tolist()
            where = (i, j, k) if presence is Presence.PRESENT else None
            yield Decision(landmarks.names[row], landmarks.structures[row], where, review)
