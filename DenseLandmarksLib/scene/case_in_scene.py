"""One case at work in a scene: nodes show its session, gestures become the session's commands.

The scene is a projection. When a gesture ends it is compared with the session; what differs is done there as a command, and
the session's new state is shown. So undo, the journal, a browser and a script are one mechanism.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import Saved
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.take_prediction import fits
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.evidence import EvidenceMap
from DenseLandmarksLib.scene.carry_out import Tell, attempt, carry_out
from DenseLandmarksLib.scene.case_volume import CaseVolume
from DenseLandmarksLib.scene.fiducial_lists import STILL_MM
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.listening import Listening
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.placing import Placing
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.saved_case import SavedCase
from DenseLandmarksLib.scene.showing import Showing
from DenseLandmarksLib.scene.two_states import TwoStates

# What a position loses on its way through a file of Slicer's.
_READ_MM = 1e-3


class CaseInScene:
    """A session and what shows it. A front end calls :meth:`poll` from its own timer, a few dozen times a second.

    Attributes
    ----------
    session : of the case. Call :meth:`settle` before its commands, so that what was done with the mouse comes first.
    lists, segments, ellipses, ghosts : what shows the case, beside its :attr:`image`.
    two_states : what a saved scene had otherwise than the library, where there is that to choose between.
    is_open : false once it was closed, also by closing the scene or deleting the image.
    """

    def __init__(
        self, scene: Any, session: Session, tell: Tell, volume: Node | None = None, saved: SavedCase | None = None
    ) -> None:
        """Show a session in ``scene``, a vtkMRMLScene. ``tell`` takes one line for the person at work.

        ``volume`` is the image where it is in the scene already; else it is read and added. ``saved`` is the same case as
        a saved scene brought it: its nodes go on being those of the case, and what was done to them elsewhere is done in
        the session. Raises :class:`InputError` where the image cannot be read, or ``volume`` is another image.
        """
        self.session, self.is_open = session, True
        self.two_states: TwoStates | None = None
        self._scene, self._tell = scene, tell
        state = session.state
        if saved is None:
            self._volume = CaseVolume(scene, session, tell, volume)
        else:
            self._volume = CaseVolume(scene, session, tell, saved.volume, state.geometry)
        self._showing = showing = Showing(scene, session.case.name)
        self.lists, self.segments = showing.lists, showing.segments
        self.ellipses, self.ghosts = showing.ellipses, showing.ghosts
        self._listening = Listening(scene, self.lists, self._on_scene_close)
        self._placing: Placing | None = None
        self._settling, self._in_sight = False, True
        self._looked_up_in: list[object] = []
        self._watch(session)
        if saved is not None:
            showing.adopt(saved, state, self.image)
            showing.set_in_sight(True)
            self._do_what_was_done(_READ_MM)
        self._show()
        if saved is None:  # else with the first poll: what the scene brought along is compared with the library before
            self.settle()

    @property
    def image(self) -> ImageInScene:
        """Where the voxels of the case are."""
        return self._volume.image

    @property
    def anchor(self) -> Node | None:
        """The text node by which a saved scene knows the case."""
        return self._showing.record.anchor

    @property
    def chosen(self) -> str:
        """The landmark that the person looks at, by :meth:`choose` or by a press of the mouse on it; empty for none."""
        return self._showing.chosen.name

    @property
    def placing(self) -> str:
        """The landmark that the next click in a view will place; empty while none is waited for."""
        return "" if self._placing is None else self._placing.name

    def choose(self, name: str) -> None:
        """Mark a landmark in the views, or none for an empty name; one that is nowhere at the model's best guess."""
        if self.is_open:
            with self._listening.our_doing():
                self._showing.choose(name, self.session.state, self.image)

    def world_ras_mm(self, name: str) -> FloatArray | None:
        """Where a landmark is in the world (3,), or its best guess; ``None`` where there is not even that."""
        state = self.session.state
        if name not in state.landmarks.names:
            return None
        point_ras_mm = self.image.world_ras_mm(state.index_ijk[[state.landmarks.names.index(name)]])[0]
        return point_ras_mm if np.isfinite(point_ras_mm).all() else None

    def show_evidence(self, one: EvidenceMap, strength: float) -> None:
        """Have a map of what spoke for a landmark over the image in slice views; it is looked at and nothing else."""
        if self.is_open:
            with self._listening.our_doing():
                self._showing.evidence.put(one, strength, self.image)

    def keep_evidence_in_views(self) -> None:
        """Have the map seen in views that came since, too."""
        if self.is_open:
            with self._listening.our_doing():
                self._showing.evidence.keep_in_views(self.image)

    def hide_evidence(self) -> None:
        """Have no such map any more."""
        with self._listening.our_doing():
            self._showing.evidence.remove()

    def set_in_sight(self, in_sight: bool) -> None:
        """Have the case seen, or not while another is worked on: their images may lie in the same place."""
        self._in_sight = in_sight
        if self.is_open:
            with self._listening.our_doing():
                self._showing.set_in_sight(in_sight)

    def poll(self) -> None:
        """Do what came up since the last call: a gesture that ended, or neighbours that come along with a drag."""
        if not self.is_open or self._scene.IsBatchProcessing():
            return
        if self._listening.pressed is not None:
            self.choose(self._listening.pressed)
            self._listening.pressed = None
        if self._placing is not None:
            self._poll_placing(self._placing)
        if self._listening.touched and self._listening.is_drag:
            self._show_drag()
        elif self._listening.touched or self._may_look_up:
            self.settle()

    def settle(self) -> bool:
        """Compare the scene with the session; what a person did there is done in the session, and shown.

        Returns whether the case is still open: the image may have been taken out of the scene.
        """
        if not self.is_open:
            return False
        self._listening.touched = False
        self._listening.forget_drag()
        if not self._volume.is_there:
            self._end("the image was taken out of the scene")
            return False
        self._settling = True
        try:
            with self._listening.our_doing():  # reading counts too: a getter of Slicer's tells that its node changed
                self._volume.check(self.session.state.geometry)
                spacing_mm = self.image.spacing_given_mm  # read before anything is done, as all else
                self._do_what_was_done(STILL_MM)
                if spacing_mm is not None:
                    attempt(self._tell, self.session.correct_spacing, spacing_mm)
                self._look_up_new_landmarks()
                self._show()
        finally:
            self._settling = False
        return True

    def place(
        self, name: str, structure: str | None = None, description: str = "", code: tuple[str, str, str] | None = None
    ) -> None:
        """Have the person's next click in a view say where the landmark ``name`` is.

        One that the case knows is placed there. A new one is defined on the model's template, so that it is found in all
        other cases too (see :meth:`Session.define_landmark`); without a template it is a landmark of this case.
        """
        self.give_up_placing()
        self._placing = Placing(self._scene, name, structure, description, code)

    def give_up_placing(self) -> None:
        """Look around again; no click is waited for."""
        if self._placing is not None:
            self._placing.end()
            self._placing = None

    def undo(self) -> None:
        """Take back the last thing that was done, be it in the scene or elsewhere."""
        if self.settle():
            self.session.undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self.settle():
            self.session.redo()

    def save(self, why: str = "") -> Saved:
        """Write the next revision, with what was just done in the scene."""
        self.settle()
        saved = self.session.save(why)
        with self._listening.our_doing():
            self._showing.write_record(self.session, self.image)
        return saved

    def go_on_with(self, session: Session) -> None:
        """Show another session of the same case from now on; this one is closed, and can be recovered where it is unsaved."""
        self.session.close()
        self.session, self._looked_up_in = session, []
        self._watch(session)
        self._show()

    def close(self) -> None:
        """Let the case go and take what we put there, and nothing else, out of the scene. What is unsaved can be recovered."""
        if self.settle():
            self._let_go()
            self._volume.remove()

    # From the scene to the session.

    def _do_what_was_done(self, still_mm: float) -> None:
        # All of it is read before anything is done: a command may show the case anew.
        state = self.session.state
        gesture = self.lists.gesture(state, self.image, still_mm)
        painted, removed = self.segments.painted(state, self.image), self.segments.removed(state)
        carry_out(self.session, gesture, self._tell)
        for structure, mask in painted.items():
            attempt(self._tell, self.session.paint, structure, mask)
        for structure in removed:
            self._tell(f"The segment {structure} is back. Erase it to say that the structure is not there.")

    @property
    def _may_look_up(self) -> bool:
        """Whether nobody looked yet for what was defined in other cases, once for each answer of a model.

        An edit takes away what can be redone, and what can be recovered only before anything else is done.
        """
        session = self.session
        if session.state.answer is None or session.can_redo or (session.recoverable and not session.can_undo):
            return False
        # The pixels of an answer stay the same objects when a spacing is corrected.
        return not any(session.state.answer.prediction.masks is masks for masks in self._looked_up_in)

    def _look_up_new_landmarks(self) -> None:
        state = self.session.state
        if not self._may_look_up or state.answer is None:
            return
        self._looked_up_in.append(state.answer.prediction.masks)
        new = [landmark for landmark in self.session.landmarks_of_library() if fits(state, landmark)]
        if new and attempt(self._tell, self.session.look_up, *new):
            self._tell(f"Looked up from other cases: {', '.join(landmark.name for landmark in new)}.")

    def _poll_placing(self, placing: Placing) -> None:
        if placing.was_given_up:
            self.give_up_placing()
        index_ijk = placing.index_ijk(self.image)
        if index_ijk is None:
            return
        self.give_up_placing()
        if self.settle() and attempt(self._tell, placing.carry_out, self.session, index_ijk):
            self.choose(placing.name)

    # From the session to the scene.

    def _watch(self, session: Session) -> None:
        def watcher(state: CaseState) -> None:
            # What a person is about to do in the scene comes first: the next poll takes it over, and shows both. What
            # settling does it shows itself, all of it at once.
            is_busy = self._settling or self._listening.touched or self._listening.is_drag
            if self.is_open and session is self.session and not is_busy:
                self._show()

        session.watch(watcher)

    def _show(self) -> None:
        with self._listening.our_doing():
            self._showing.show(self.session, self.image)
            if not self._in_sight:
                self._showing.set_in_sight(False)
            self._listening.listen_to(self.image.volume, self.segments.node)

    def _show_drag(self) -> None:
        """While one point is dragged, show where its neighbours would go."""
        self._listening.touched = False
        moved = self.lists.gesture(self.session.state, self.image).moved_lps_mm
        if len(moved) != 1:
            return
        try:
            preview = self.session.preview(moved)
        except InputError:
            return  # it is told when the point is let go
        with self._listening.our_doing():
            self._showing.show_drag(preview, self.image, next(iter(moved)))

    # The end.

    def _on_scene_close(self) -> None:
        if self.settle():
            self._end("the scene was closed")

    def _end(self, why: str) -> None:
        """The scene let us down: keep everything that was done, and be gone."""
        kept = "was saved before"
        if self.session.unsaved:
            try:
                kept = f"is saved as revision {self.session.save(why).number}"
            except InputError as error:
                kept = f"can be recovered when it is opened ({error})"
        self._let_go()
        self._tell(f"{self.session.case.name}: {why}. The work on it {kept}. Open the case again to go on.")

    def _let_go(self) -> None:
        self.is_open = False
        self._listening.end()
        self.session.close()
        self.give_up_placing()
        self._showing.remove()
        if self.two_states is not None:
            self.two_states.remove()
