"""One saved state of a case: a folder that appears whole and never changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.case_masks import structure_mask, structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.annotation.library.json_file import read_json, to_bytes
from DenseLandmarksLib.annotation.library.once import appear, create_file, hidden_folder, sweep
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review

FORMAT = 1
LANDMARKS, STRUCTURES = "landmarks.mrk.json", "structures.seg.nrrd"
SIDECAR, _SUMMARY = "sidecar.json", "summary.json"
_REMEDY = "Open an earlier revision, or restore the file from a backup."


@dataclass(frozen=True)
class RevisionInfo:
    """A revision in brief: what a list of cases shows, and what the next case is chosen by.

    Attributes
    ----------
    number : 1 and on.
    who, when, why : the person, the time (ISO 8601, UTC), and what they wrote; ``why`` may be empty.
    based_on : the revision that was open when this work began, 0 for none.
    model : name and version of the model whose prediction the case holds; empty without one.
    landmarks : how many there are to decide, see :attr:`~.case_state.CaseState.counted_rows`.
    reviewed : of these, how many a person decided, unsure included.
    by_review, by_presence : how many landmarks have each :class:`Review` (of ``landmarks``) and :class:`Presence` (of all).
    doubts : why the model does not believe its own prediction.
    confidence : mean of the landmarks that nobody reviewed, 0 to 1, ``None`` where there are none.
    structures : that have a mask. ``open_structures`` : of these, how many nobody reviewed. ``painted`` : by a person.
    is_chosen_for_comparison : models are compared on it, see :class:`~.case_state.CaseState`.
    token : what the session that saved it calls this state: after a crash it tells that nothing was lost.
    """

    number: int
    who: str
    when: str
    based_on: int
    why: str = ""
    model: str = ""
    landmarks: int = 0
    reviewed: int = 0
    by_review: Mapping[str, int] = field(default_factory=dict)
    by_presence: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    confidence: float | None = None
    structures: int = 0
    open_structures: int = 0
    painted: tuple[str, ...] = ()
    token: str = ""
    is_chosen_for_comparison: bool = False

    @property
    def is_reviewed(self) -> bool:
        """Whether a person decided everything: all landmarks, or in a case without landmarks all masks."""
        return self.reviewed == self.landmarks if self.landmarks else self.structures > 0 and not self.open_structures

    @property
    def is_decided(self) -> bool:
        """Whether a person decided anything, or looked and was unsure."""
        return self.reviewed > 0 or self.open_structures < self.structures

    @property
    def doubt(self) -> float:
        """How much there is to gain from a person, 0 to 1: what the unreviewed landmarks lack in confidence, per landmark."""
        if not self.landmarks or self.confidence is None:
            return 0.0
        return (self.landmarks - self.reviewed) / self.landmarks * (1 - self.confidence)


def brief(state: CaseState, who: str, when: str, based_on: int, why: str = "", token: str = "") -> RevisionInfo:
    """A state in brief, without a number."""
    landmarks = state.landmarks
    there = state.counted_rows
    review = [landmarks.review[i] for i in there]
    still_open = [i for i in there if landmarks.review[i] is Review.PREDICTED]
    # What a file brought in has no confidence: nobody vouches for it.
    sure = np.nan_to_num(landmarks.confidence[still_open], nan=0.0)
    prediction = None if state.answer is None else state.answer.prediction
    reviews = [state.structure_review(name) for name in state.structures]
    return RevisionInfo(
        number=0,
        who=who,
        when=when,
        based_on=based_on,
        why=why,
        model="" if prediction is None else f"{prediction.model_name} {prediction.model_version}",
        landmarks=len(there),
        reviewed=len(there) - len(still_open),
        by_review=dict(Counter(map(str, review))),
        by_presence=dict(Counter(map(str, landmarks.presence))),
        doubts=() if prediction is None else prediction.plausibility.doubts,
        confidence=round(float(sure.mean()), 4) if still_open else None,
        structures=len(reviews),
        open_structures=reviews.count(Review.PREDICTED),
        painted=tuple(state.painted),
        token=token,
        is_chosen_for_comparison=state.is_chosen_for_comparison,
    )


def write_revision(
    revisions: Path, store: ArrayStore, about_case: Mapping[str, str], state: CaseState, info: RevisionInfo
) -> RevisionInfo:
    """Write a state as the next revision in the folder ``revisions``; returns its number with the rest of ``info``.

    ``about_case`` is what stands in the sidecar about the case, its id under ``case``: a revision says by itself to
    which pixels and to which patient it belongs.

    The arrays come first and the folder last, under a number that nobody has. A process that is killed on the way, at
    whatever moment, leaves the revisions that there were. Raises ``OSError`` or :class:`InputError` where it cannot write.
    """
    record = state_to_record(state, store)
    about = {key: value for key, value in asdict(info).items() if key != "number"}
    with hidden_folder(revisions) as hidden:
        sweep(store.folder, ".*.npz", hidden.stat().st_mtime)
        write_markups(hidden / LANDMARKS, state.landmarks, state.geometry.unit)
        if state.structures:
            masks = np.stack([structure_mask(state, name) for name in state.structures])
            styles = [structure_style(state, name) for name in state.structures]
            reviews = [state.structure_review(name) for name in state.structures]
            write_segmentation(hidden / STRUCTURES, masks, state.geometry, styles, reviews)
        decided = {key: about[key] for key in ("who", "when", "based_on", "why", "model")}
        sidecar = {"format": FORMAT, **about_case, **decided, "state": record}
        create_file(hidden / SIDECAR, to_bytes(sidecar, indent=None))
        create_file(hidden / _SUMMARY, to_bytes({"format": FORMAT, **about}))
        number = max(revision_numbers(revisions), default=0) + 1
        while not appear(hidden, revision_folder(revisions, number)):
            number += 1  # somebody else saved
    return replace(info, number=number)


def revision_folder(revisions: Path, number: int) -> Path:
    """Where revision ``number`` lies."""
    return revisions / f"{number:04}"


def revision_numbers(revisions: Path) -> list[int]:
    """The numbers of all revisions, ascending."""
    try:
        return sorted(int(path.name) for path in revisions.iterdir() if path.name.isdecimal())
    except FileNotFoundError:
        return []


def read_info(revisions: Path, number: int) -> RevisionInfo:
    """A revision in brief; raises :class:`InputError`, in one line, where it is damaged."""
    path = revision_folder(revisions, number) / _SUMMARY
    raw = read_json(path, "the summary of a revision", _REMEDY)
    _check_format(raw, path)
    try:
        return _info(number, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected the summary of a revision in {path}, got one that is damaged ({type(error).__name__}). {_REMEDY}"
        ) from error


def read_state(revisions: Path, number: int, store: ArrayStore, case_id: str) -> CaseState:
    """The state that a revision holds; raises :class:`InputError`, in one line, where it is missing or damaged."""
    path = revision_folder(revisions, number) / SIDECAR
    raw = read_json(path, "the sidecar of a revision", _REMEDY)
    _check_format(raw, path)
    if raw.get("case") != case_id:
        raise InputError(f"expected a revision of case {case_id} in {path}, got one of {raw.get('case')!r}. {_REMEDY}")
    try:
        return state_from_record(raw.get("state", {}), store)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_format(raw: Mapping[str, Any], path: Path) -> None:
    if raw.get("format") != FORMAT:
        raise InputError(
            f"expected format {FORMAT} in {path}, got {str(raw.get('format'))[:40]!r}. "
            "Open the library with the version of this program that wrote it."
        )


def _info(number: int, raw: Mapping[str, Any]) -> RevisionInfo:
    texts = {key: raw[key] for key in ("who", "when", "why", "model", "token")}
    counts = {key: raw[key] for key in ("based_on", "landmarks", "reviewed", "structures", "open_structures")}
    doubts, painted = tuple(raw["doubts"]), tuple(raw["painted"])
    if not all(isinstance(text, str) for text in (*texts.values(), *doubts, *painted)):
        raise TypeError("expected text")
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        raise TypeError("expected counts")
    chosen = raw.get("is_chosen_for_comparison", False)  # libraries of before did not know of it
    if not isinstance(chosen, bool):
        raise TypeError("expected true or false")
    return RevisionInfo(
        number,
        **texts,
        **counts,
        doubts=doubts,
        painted=painted,
        by_review={str(Review(key)): int(count) for key, count in raw["by_review"].items()},
        by_presence={str(Presence(key)): int(count) for key, count in raw["by_presence"].items()},
        confidence=None if raw["confidence"] is None else float(raw["confidence"]),
        is_chosen_for_comparison=chosen,
    )
