"""Which cases a person was in, to go back to them: what a browser does with pages."""

from __future__ import annotations


class Visits:
    """The cases of one visit of the library, in the order in which the person was in them."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._at = -1

    def went_to(self, case_id: str) -> None:
        """The person is in this case now, wherever the wish came from.

        Going to the neighbour is going back or forth; going elsewhere forgets what followed.
        """
        if case_id in (self._id(self._at), self.previous(), self.following()):
            steps = {self.following(): 1, self.previous(): -1, self._id(self._at): 0}
            self._at += steps[case_id]
            return
        self._ids[self._at + 1 :] = [case_id]
        self._at += 1

    def previous(self) -> str | None:
        """The case before this one, ``None`` in the first; nothing changes until the person :meth:`went_to` it."""
        return self._id(self._at - 1)

    def following(self) -> str | None:
        """The case that the person came back from, ``None`` in the last."""
        return self._id(self._at + 1)

    def _id(self, at: int) -> str | None:
        return self._ids[at] if 0 <= at < len(self._ids) else None
