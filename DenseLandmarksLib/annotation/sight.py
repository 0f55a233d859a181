"""What a person has seen of a model they go on knowing, also when it is taken back: what they decide then is not blind."""

from __future__ import annotations

from collections.abc import Sequence

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.library.case import LibraryCase

_MAY_BE_BLIND = edits.Move | edits.Place | edits.Absent | edits.Import


class Sight:
    """Whether the person of a session has seen what a model says about its case."""

    def __init__(self, base: CaseState, case: LibraryCase, who: str) -> None:
        """``base`` is the state in which the session of ``who`` begins."""
        self._knows = _was_told(case, who)
        self._has_seen = self._knows or base.answer is not None

    def look(self, state: CaseState) -> None:
        """The person sees this state."""
        self._has_seen = self._has_seen or state.answer is not None

    def apply(self, before: CaseState, edit: Edit, index: int) -> tuple[Edit, CaseState]:
        """An edit that comes after ``index`` others as this person does it, and what it makes of the case.

        Raises :class:`~DenseLandmarksLib.errors.InputError` as :func:`~.apply_edit.apply_edit` does.
        """
        self.look(before)
        after = apply_edit(before, edit)
        if isinstance(edit, edits.StartBlind) and index == 0:
            self._has_seen = self._knows  # what was predicted beforehand nobody has looked at yet
        elif self._has_seen and isinstance(edit, _MAY_BE_BLIND):
            known = apply_edit(before, edits.Seen(edit))
            if known.blind != after.blind:
                return edits.Seen(edit), known
        return edit, after

    def replay(self, base: CaseState, done: Sequence[Edit]) -> list[CaseState]:
        """The states of a session that began with ``base``, before and after each edit."""
        self._has_seen = self._knows or base.answer is not None
        states = [base]
        for index, edit in enumerate(done):
            states.append(self.apply(states[-1], edit, index)[1])
            self.look(states[-1])
            self._has_seen = self._has_seen or isinstance(edit, edits.Seen)
        return states


def _was_told(case: LibraryCase, who: str) -> bool:
    """Whether a person saved the case with a prediction after it was begun blind; earlier revisions are open to them too."""
    return any(info.is_chosen_for_comparison and bool(info.model) and info.who == who for info in case.saved_since(0))
