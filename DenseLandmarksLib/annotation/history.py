"""The edits of a case, one after the other, and where in them a person stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

from DenseLandmarksLib.annotation.edits import Edit


@dataclass(frozen=True)
class History:
    """What was done since a case was opened; undo and redo only move ``index``.

    Attributes
    ----------
    edits : in order; those from ``index`` on were undone and can be redone until another edit takes their place.
    index : how many edits are done.
    saved_index : how many edits the newest saved revision holds; -1 where that can no longer be reached.
    """

    edits: tuple[Edit, ...] = ()
    index: int = 0
    saved_index: int = 0

    @property
    def unsaved(self) -> bool:
        """Whether something was done, or taken back, that is in no revision."""
        return self.index != self.saved_index

    def after(self, edit: Edit) -> History:
        """With one more edit in the place of those that were undone."""
        saved = self.saved_index if self.saved_index <= self.index else -1
        return History((*self.edits[: self.index], edit), self.index + 1, saved)

    def at(self, index: int) -> History:
        """The same edits, of which ``index`` are done; raises ``ValueError`` where there are not as many."""
        if not 0 <= index <= len(self.edits):
            raise ValueError(f"expected 0 to {len(self.edits)} edits done, got {index}")
        return replace(self, index=index)

    def saved(self) -> History:
        """The same; as it is now, it is in a revision."""
        return replace(self, saved_index=self.index)
