"""A saved scene and a library that went on without it: both are shown, a person chooses, neither is lost."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.journal import JournalContents
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.segments import Segments

# Enough to compare by, too little to be taken for the case itself.
_OPACITY = 0.4


class TwoStates:
    """The session goes on from the library's state; that of the scene is shown beside it, faint and locked.

    Attributes
    ----------
    line : what there is to choose between, in one line.
    scene_state : the case as the scene brought it.
    is_open : false once a person chose.
    """

    def __init__(
        self,
        scene: Any,
        session: Session,
        image: ImageInScene,
        scene_state: CaseState,
        work: JournalContents | None,
        line: str,
    ) -> None:
        """``work`` is the journal that holds ``scene_state`` where no revision does."""
        self.line, self.scene_state, self.is_open = line, scene_state, True
        self._session, self._work = session, work
        name = f"{session.case.name} (as in the scene)"
        self._lists, self._segments = FiducialLists(scene, name), Segments(scene, name)
        self._lists.show(scene_state, image)
        self._segments.show(scene_state, image)
        for node in self._lists.nodes.values():
            node.SetLocked(True)
        for node in (*self._lists.nodes.values(), self._segments.node):
            if node is not None:
                node.SetSaveWithScene(False)
                node.GetDisplayNode().SetSaveWithScene(False)
                node.GetDisplayNode().SetOpacity(_OPACITY)

    def keep_library(self) -> None:
        """Go on from the library. What only the scene had stays recoverable, as any work that was not saved."""
        self.remove()

    def keep_scene(self) -> None:
        """Go on from the scene: one edit, which can be taken back. The library's revisions stay."""
        self._session.restore(self.scene_state)
        if self._work is not None:
            self._session.discard(self._work)  # the session's own journal holds it now
        self.remove()

    def remove(self) -> None:
        """Show it no more."""
        self.is_open = False
        self._lists.remove()
        self._segments.remove()
