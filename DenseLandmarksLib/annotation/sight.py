"""What a person has seen of a model they go on knowing, also when it is taken back: what they decide then is not blind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.journal import journals_of
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.errors import InputError

_MAY_BE_BLIND = edits.Move | edits.Place | edits.Absent | edits.Import


class Sight:
    """Whether the person of a session has seen what a model says about its case."""

    def __init__(self, base: CaseState, case: LibraryCase, who: str) -> None:
        """``base`` is the state in which the session of ``who`` begins."""
        self._case, self._who = case, who
        self._was_told = case.was_shown_to(who)
        self._has_seen = self._was_told or base.answer is not None
        self._has_begun = False

    @property
    def has_seen(self) -> bool:
        """Whether a prediction was in sight, also where it was taken back."""
        return self._has_seen

    def look(self, state: CaseState) -> None:
        """The person sees this state."""
        self._has_seen = self._has_seen or state.answer is not None

    def apply(self, before: CaseState, edit: Edit, who: str) -> tuple[Edit, CaseState]:
        """An edit as this person does it, and what it makes of the case.

        Raises :class:`~DenseLandmarksLib.errors.InputError` as :func:`~.apply_edit.apply_edit` does.
        """
        if who != self._who:
            self._who, self._was_told = who, self._was_told or self._case.was_shown_to(who)
            self._has_seen = self._has_seen or self._was_told
        self.look(before)
        after = apply_edit(before, edit)
        if self._has_seen and isinstance(edit, _MAY_BE_BLIND):
            known = apply_edit(before, edits.Seen(edit))
            if known.blind != after.blind:
                edit, after = edits.Seen(edit), known
        self._note(edit)
        return edit, after

    def replay(self, base: CaseState, done: Sequence[Edit]) -> list[CaseState]:
        """The states of a session that began with ``base``, before and after each edit, as it had them."""
        self._has_seen, self._has_begun = self._was_told or base.answer is not None, False
        states = [base]
        for edit in done:
            # Which of them were not blind stands in them.
            states.append(apply_edit(states[-1], edit))
            self._note(edit)
            self.look(states[-1])
        return states

    def _note(self, edit: Edit) -> None:
        if isinstance(edit, edits.StartBlind) and not self._has_begun:
            self._has_seen = self._was_told  # what was predicted beforehand nobody has looked at yet
        # New landmarks of the library are looked up as soon as a case is opened, before anybody does anything.
        self._has_begun = self._has_begun or not isinstance(edit, edits.LookUp)
        self._has_seen = self._has_seen or isinstance(edit, edits.Seen)


def has_seen(case: LibraryCase, who: str, journals: Path) -> bool:
    """Whether a person had a prediction of a case in sight, as far as its revisions and their ``journals`` still tell.

    What was discarded tells too. Of a journal that cannot be read nobody knows: it counts as one that tells so.
    """
    if case.was_shown_to(who):
        return True
    try:
        for work in journals_of(journals):
            if work.header.library == case.library_id:
                base, _ = case.load(work.header.base_revision)
                sight = Sight(base, case, work.header.who)
                sight.replay(base, work.history.edits)
                if sight.has_seen:
                    return True
    except InputError:
        return True
    return False
