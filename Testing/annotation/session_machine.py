"""``python -m Testing.annotation.session_machine``: a person who does anything in any order, and loses nothing.

Hypothesis drives real sessions of a real library through random edits, undo, redo, saves, kills and restores, beside a
plain model of what must be there: a list of what was done, and what a person sees after each step. A kill is what
``kill -9`` leaves: the journal's file with its last line perhaps torn, its lock gone. (``test_killed_session.py`` kills
real processes; here it is thousands of times.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.benchmarks.chest import chest_template

TEMPLATE = chest_template()
IMAGE = chest_image(TEMPLATE)
ANSWERS = (perfect_answer(TEMPLATE, IMAGE), perfect_answer(TEMPLATE, IMAGE, lost=("heart",), shift_px=(1.0, -1.0)))
NAMES = TEMPLATE.landmark_names[::7]
STRUCTURES = TEMPLATE.structure_names
STRUCTURE_OF = {name: structure.name for structure in TEMPLATE.structures for name in structure.landmark_names}
ELSEWHERE = NewLandmark("elsewhere", "right_lung", (0.1, 0.2), "defined in another case")

some_names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
pixels = st.tuples(st.floats(5, 120), st.floats(5, 120))
steps_px = st.tuples(st.floats(-4, 4), st.floats(-4, 4))

Sight = tuple[Any, ...]


def bits(numbers: np.ndarray) -> bytes:
    """Every bit of numbers; what is not a number has many patterns, of which a file keeps none."""
    return np.where(np.isnan(numbers), np.nan, numbers).tobytes()


def sight(state: CaseState) -> Sight:
    """All that a person sees of a case, to the last bit."""
    landmarks = state.landmarks
    return (
        landmarks.names,
        landmarks.presence,
        landmarks.review,
        *(bits(numbers) for numbers in (landmarks.points_lps_mm, landmarks.predicted_lps_mm, landmarks.confidence)),
        state.geometry,
        state.strength,
        state.new_landmarks,
        state.accepted,
        state.blind,
        state.is_chosen_for_comparison,
        tuple((name, int(mask.sum())) for name, mask in state.painted.items()),
        state.answer is not None,
    )


@dataclass
class Expected:
    """The plain model: what was done since the case was opened, what was seen after each, and the revisions."""

    seen: list[Sight]
    words: list[dict[str, tuple[Presence, Review]]]
    index: int = 0
    saved: int = 0
    base: int = 0
    has_seen: bool = False
    revisions: list[tuple[Sight, dict[str, tuple[Presence, Review]]]] = field(default_factory=list)

    def did(self, seen: Sight, words: dict[str, tuple[Presence, Review]]) -> None:
        if self.saved > self.index:
            self.saved = -1
        self.seen[self.index + 1 :] = [seen]
        self.words[self.index + 1 :] = [words]
        self.index += 1

    @property
    def now(self) -> dict[str, tuple[Presence, Review]]:
        """What people decided, by name; who is not there is as the model said."""
        return self.words[self.index]


class SessionMachine(RuleBasedStateMachine):
    """One case, one person, one colleague who saves now and then."""

    steps = 0

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="session-machine-")
        root = Path(self.folder.name)
        sitk.WriteImage(IMAGE.volume, root / "film.nrrd")
        library = Library.create(root / "library", "chests")
        self.case = library.add(root / "film.nrrd", who="an annotator")
        self.data_folder = root / "user"
        self.session = Session(self.case, "an annotator", data_folder=self.data_folder)
        self.before_any = sight(self.session.state)
        self.expected = Expected([self.before_any], [{}])

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()
            self.folder.cleanup()

    # What everybody may rely on after each step.

    def check(self) -> None:
        SessionMachine.steps += 1
        state, expected = self.session.state, self.expected
        expected.has_seen = expected.has_seen or state.answer is not None
        assert sight(state) == expected.seen[expected.index]
        landmarks = state.landmarks
        now = expected.now
        for name, presence, review in zip(landmarks.names, landmarks.presence, landmarks.review, strict=True):
            if name in now:
                assert (presence, review) == now[name], name
            else:
                assert review is Review.PREDICTED, name
        assert set(now) <= set(landmarks.names)
        assert state.blind <= set(now)
        assert not any(now[name][1] is Review.UNSURE for name in state.blind)
        assert self.session.can_undo == (expected.index > 0)
        assert self.session.can_redo == (expected.index < len(expected.seen) - 1)
        assert self.session.unsaved == (expected.index != expected.saved)

    def command(self, act: Any, words: dict[str, tuple[Presence, Review]]) -> None:
        """``act`` changes what people decided to ``words``; refused or without effect, nothing may have happened."""
        before = self.session.state
        words_before = self.expected.now
        try:
            act()
        except InputError as error:
            refusal = str(error)
            assert self.session.state is before and "\n" not in refusal  # noqa: PT018
        else:
            after = self.session.state
            gained = after.blind - before.blind
            assert not (gained and (after.answer is not None or self.expected.has_seen)), "it was in sight"
            kept = {name for name in before.blind & after.blind if words.get(name) != words_before.get(name)}
            assert not (kept and after.answer is not None), "what was touched is blind no more"
            if after is not before:
                self.expected.did(sight(self.session.state), words)
        self.check()

    def present(self, name: str) -> bool:
        landmarks = self.session.state.landmarks
        return landmarks.presence[landmarks.names.index(name)] is Presence.PRESENT

    def predicted(self) -> bool:
        return self.session.state.answer is not None

    # Landmarks.

    @precondition(predicted)
    @rule(name=st.sampled_from(NAMES), step=steps_px)
    def move(self, name: str, step: tuple[float, float]) -> None:
        state = self.session.state
        row = state.landmarks.names.index(name)
        was = state.landmarks.points_lps_mm[row]
        point = was + state.geometry.index_to_lps_mm @ [*step, 0]
        words = self.expected.now | {name: (Presence.PRESENT, Review.CORRECTED)}
        allowed = self.present(name)
        self.command(lambda: self.session.move({name: point}), words)
        after = self.session.state
        if after is not state:
            assert allowed
            np.testing.assert_allclose(after.landmarks.points_lps_mm[row], point, atol=1e-6)

    @precondition(predicted)
    @rule(names=some_names)
    def accept(self, names: list[str]) -> None:
        landmarks = self.session.state.landmarks
        words = dict(self.expected.now)
        for name in names:
            row = landmarks.names.index(name)
            if landmarks.review[row] in (Review.PREDICTED, Review.UNSURE):
                words[name] = (landmarks.presence[row], Review.VERIFIED)
        self.command(lambda: self.session.accept(*names), words)

    def words_of_all(self, structure: str | None = None) -> dict[str, tuple[Presence, Review]]:
        words = dict(self.expected.now)
        landmarks = self.session.state.landmarks
        for name, of, presence in zip(landmarks.names, landmarks.structures, landmarks.presence, strict=True):
            if structure in (None, of) and presence is not Presence.UNPLACED:
                words.setdefault(name, (presence, Review.VERIFIED))
        return words

    @rule(structure=st.sampled_from(STRUCTURES))
    def accept_structure(self, structure: str) -> None:
        self.command(lambda: self.session.accept_structure(structure), self.words_of_all(structure))

    @rule()
    def accept_remaining(self) -> None:
        self.command(self.session.accept_remaining, self.words_of_all())

    @precondition(predicted)
    @rule(names=some_names)
    def mark_absent(self, names: list[str]) -> None:
        said = self.session.state.answer.prediction.landmarks  # type: ignore[union-attr]
        words = dict(self.expected.now)
        for name in names:
            agrees = said.presence[said.names.index(name)] is Presence.ABSENT
            words[name] = (Presence.ABSENT, Review.VERIFIED if agrees else Review.CORRECTED)
        self.command(lambda: self.session.mark_absent(*names), words)

    @precondition(predicted)
    @rule(names=some_names)
    def mark_unsure(self, names: list[str]) -> None:
        landmarks = self.session.state.landmarks
        unsure = {name: (landmarks.presence[landmarks.names.index(name)], Review.UNSURE) for name in names}
        self.command(lambda: self.session.mark_unsure(*names), self.expected.now | unsure)

    @rule(name=st.sampled_from((*NAMES, "pacemaker", "clip")), pixel=pixels)
    def place(self, name: str, pixel: tuple[float, float]) -> None:
        geometry = self.session.state.geometry
        point = np.array(geometry.origin_lps_mm) + geometry.index_to_lps_mm @ [*pixel, 0]
        words = self.expected.now | {name: (Presence.PRESENT, Review.PLACED)}
        self.command(lambda: self.session.place(name, point, "heart"), words)

    @precondition(predicted)
    @rule(names=some_names)
    def reset(self, names: list[str]) -> None:
        words = {name: word for name, word in self.expected.now.items() if name not in names}
        self.command(lambda: self.session.reset(*names), words)

    # The rest of the case.

    @rule(strength=st.sampled_from((0.0, 0.5, 1.0)))
    def set_strength(self, strength: float) -> None:
        self.command(lambda: self.session.set_strength(strength), self.expected.now)

    @rule(mm=st.sampled_from((0.5, 1.0, 2.8)))
    def correct_spacing(self, mm: float) -> None:
        before = self.session.state.index_ijk
        self.command(lambda: self.session.correct_spacing((mm, mm, 1.0)), self.expected.now)
        np.testing.assert_allclose(self.session.state.index_ijk, before, atol=1e-6)

    @rule(structure=st.sampled_from((*STRUCTURES, "implant")), rows=st.integers(1, 40))
    def paint(self, structure: str, rows: int) -> None:
        mask = np.zeros(IMAGE.geometry.size[::-1], bool)
        mask[0, 20 : 20 + rows, 30:60] = True
        self.command(lambda: self.session.paint(structure, mask), self.expected.now)

    @rule(structure=st.sampled_from((*STRUCTURES, "implant")))
    def unpaint(self, structure: str) -> None:
        self.command(lambda: self.session.unpaint(structure), self.expected.now)

    @rule(names=some_names)
    def start_blind(self, names: list[str]) -> None:
        is_first = self.expected.index == 0
        self.command(lambda: self.session.start_blind([(name, STRUCTURE_OF[name]) for name in names]), {})
        if is_first and self.session.state.is_chosen_for_comparison and self.session.state.answer is None:
            self.expected.has_seen = False

    @rule()
    def decide_what_is_left_to_place(self) -> None:
        state = self.session.state
        unsure = {
            name: (state.landmarks.presence[state.landmarks.names.index(name)], Review.UNSURE)
            for name in left_to_place(state)
        }
        if unsure:
            self.command(lambda: self.session.mark_unsure(*unsure), self.expected.now | unsure)

    @rule(which=st.integers(0, len(ANSWERS) - 1))
    def take_a_prediction(self, which: int) -> None:
        self.command(lambda: self.session.take(ANSWERS[which], IMAGE.geometry), self.expected.now)

    @precondition(predicted)
    @rule(name=st.sampled_from(("hilum", "carina")), pixel=pixels)
    def define_a_landmark(self, name: str, pixel: tuple[float, float]) -> None:
        geometry = self.session.state.geometry
        point = np.array(geometry.origin_lps_mm) + geometry.index_to_lps_mm @ [*pixel, 0]
        words = self.expected.now | {name: (Presence.PRESENT, Review.PLACED)}
        self.command(lambda: self.session.define_landmark(name, point), words)

    @rule()
    def look_up(self) -> None:
        self.command(lambda: self.session.look_up(ELSEWHERE), self.expected.now)

    # Taking back, keeping, losing.

    @rule(times=st.integers(1, 4))
    def undo(self, times: int) -> None:
        for _ in range(times):
            self.session.undo()
            self.expected.index = max(self.expected.index - 1, 0)
            self.check()

    @rule(times=st.integers(1, 4))
    def redo(self, times: int) -> None:
        for _ in range(times):
            self.session.redo()
            self.expected.index = min(self.expected.index + 1, len(self.expected.seen) - 1)
            self.check()

    @rule()
    def save(self) -> None:
        others = len(self.expected.revisions) - self.expected.base
        saved = self.session.save()
        self.expected.revisions.append((sight(self.session.state), self.expected.now))
        self.expected.saved = self.expected.index
        self.expected.base = len(self.expected.revisions)
        assert saved.number == len(self.expected.revisions)
        assert len(saved.others) == others
        self.check()

    @rule()
    def a_colleague_saves(self) -> None:
        theirs = Session(self.case, "a colleague", data_folder=self.data_folder.with_name("colleague"))
        theirs.set_strength(0.25 if theirs.state.strength != 0.25 else 0.75)
        theirs.save()
        words = self.expected.revisions[-1][1] if self.expected.revisions else {}
        self.expected.revisions.append((sight(theirs.state), words))
        theirs.close()
        self.check()

    @precondition(lambda self: bool(self.expected.revisions))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.expected.revisions)))
        seen, words = self.expected.revisions[number - 1]
        self.session.restore(self.session.case.load(number)[0])
        self.expected.did(seen, words)
        self.check()

    @rule(torn=st.booleans(), recovers=st.booleans())
    def is_killed(self, torn: bool, recovers: bool) -> None:
        journal = self.session._journal
        if journal is not None:
            if torn:
                (journal.folder / "journal.jsonl").open("ab").write(b'1234abcd {"at":3,"edit":{"kind":"Mo')
            journal._file.close()
        unsaved = self.expected.index != self.expected.saved
        self.session = Session(self.case, "an annotator", data_folder=self.data_folder)
        assert len(self.session.recoverable) == unsaved
        if unsaved and recovers:
            self.session.recover(self.session.recoverable[0])
        else:
            for work in self.session.recoverable:
                self.session.discard(work)
            self.opened_anew()
        self.expected.has_seen = False  # what was undone before an edit took its place is in no journal
        self.check()

    @rule()
    def is_closed_and_opened(self) -> None:
        self.session.close()
        self.session = Session(self.case, "an annotator", data_folder=self.data_folder)
        if self.expected.index != self.expected.saved:
            (work,) = self.session.recoverable
            self.session.recover(work)
        else:
            assert not self.session.recoverable
            self.opened_anew()
        self.expected.has_seen = False
        self.check()

    def opened_anew(self) -> None:
        """The newest revision, and nothing to take back."""
        revisions = self.expected.revisions
        seen, words = revisions[-1] if revisions else (self.before_any, {})
        self.expected = Expected([seen], [words], base=len(revisions), revisions=revisions)


def run(examples: int, steps: int) -> int:
    """Run ``examples`` people of at most ``steps`` steps each; returns how many steps were taken and checked."""
    SessionMachine.steps = 0
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(SessionMachine, settings=how)
    return SessionMachine.steps


def main() -> int:
    """Go on until enough steps were taken."""
    parser = argparse.ArgumentParser(prog="python -m Testing.annotation.session_machine", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="steps to take in all")
    arguments = parser.parse_args()
    started, taken = time.perf_counter(), 0
    while taken < arguments.steps:
        taken += run(examples=20, steps=100)
        print(f"{taken} steps, {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{taken} random steps, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
