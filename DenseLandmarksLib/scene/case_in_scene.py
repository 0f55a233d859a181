"""One case at work in a scene: nodes show its session, gestures become the session's commands.

The scene is a projection. When a gesture ends it is compared with the session; what differs is done there as a command, and
the session's new state is shown. So undo, the journal, a browser and a script are one mechanism.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from DenseLandmarksLib.annotation.apply_edit import fits
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.library.case import Saved
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.scene.active_name import ActiveName
from DenseLandmarksLib.scene.carry_out import Tell, attempt, carry_out
from DenseLandmarksLib.scene.ellipses import Ellipses
from DenseLandmarksLib.scene.fiducial_lists import STILL_MM, FiducialLists
from DenseLandmarksLib.scene.ghosts import Ghosts
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.observers import Observers
from DenseLandmarksLib.scene.placing import Placing
from DenseLandmarksLib.scene.record_node import CaseNodes, CaseRecord, SavedCase, names_of, structure_of
from DenseLandmarksLib.scene.segments import Segments
from DenseLandmarksLib.scene.two_states import TwoStates
from DenseLandmarksLib.scene.uv_volumes import UvVolumes
from DenseLandmarksLib.scene.volume_node import add_volume_node, image_of_volume_node, turn_slices_round

# On an image that we added: it goes when the case goes.
_ADDED = "DenseLandmarks.Added"
# What a position loses on its way through a file of Slicer's.
_READ_MM = 1e-3
# vtkMRMLMarkupsDisplayNode::ComponentControlPoint: the mouse is over a point, not over a line or a handle.
_CONTROL_POINT = 1


class CaseInScene:
    """A session and what shows it. A front end calls :meth:`poll` from its own timer, a few dozen times a second.

    Attributes
    ----------
    session : of the case. Call :meth:`settle` before its commands, so that what was done with the mouse comes first.
    image, lists, segments, ellipses, ghosts : what shows the case.
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
        self._scene, self._tell, name = scene, tell, session.case.name
        if saved is not None:
            volume = saved.volume
        if volume is not None and not self._is_image_of_case(volume, turn_round=True):
            raise InputError(f"expected the image of case {name}, got {volume.GetName()!r}. Choose the case's image.")
        volume = volume or self._add_volume()
        geometry = session.state.geometry
        if saved is None:  # whoever loaded the image may have understood its file otherwise: that is no move
            geometry = geometry.with_spacing(volume.GetSpacing(), geometry.spacing_source)
        self.image = ImageInScene(volume, geometry)
        self.lists, self.segments = FiducialLists(scene, name), Segments(scene, name)
        self.ellipses, self.ghosts = Ellipses(scene, name), Ghosts(scene, name)
        self._active_name, self._uv_volumes = ActiveName(scene, name), UvVolumes(scene, name)
        self._record = CaseRecord(scene, name)
        self._placing: _NewPoint | None = None
        self._observers, self._voxels_time = Observers(), self._time_of_voxels()
        self._transform_id = volume.GetTransformNodeID()
        self._touched = self._showing = self._settling = False
        self._dragging: set[str] = set()
        self._looked_up_in: ModelAnswer | None = None
        self._observers.add(scene, scene.NodeRemovedEvent, self._on_touch)  # perhaps one of ours
        self._observers.add(scene, scene.StartCloseEvent, self._on_scene_close)
        session.watch(lambda state: self._on_state(session, state))
        if saved is not None:
            self._adopt(saved)  # what was defined elsewhere meanwhile is looked up with the first poll
        else:
            self._show(session.state)
            self.settle()

    def poll(self) -> None:
        """Do what came up since the last call: a gesture that ended, or neighbours that come along with a drag."""
        if not self.is_open or self._scene.IsBatchProcessing():
            return
        if self._placing is not None:
            self._poll_placing(self._placing)
        if self._dragging and self._touched:
            self._show_what_comes_along()
        elif self._touched or self.session.state.answer is not self._looked_up_in:
            self.settle()

    def settle(self) -> bool:
        """Compare the scene with the session; what a person did there is done in the session, and shown.

        Returns whether the case is still open: the image may have been taken out of the scene.
        """
        if not self.is_open:
            return False
        self._touched = False
        self._dragging.clear()
        if not is_in(self._scene, self.image.volume):
            self._end("the image was taken out of the scene")
            return False
        self._settling = True
        try:
            self._check_image()
            spacing_mm = self.image.spacing_given_mm
            if spacing_mm is not None:
                attempt(self._tell, self.session.correct_spacing, spacing_mm)
            self._do_what_was_done(STILL_MM)
            self._look_up_new_landmarks()
            self._show(self.session.state)
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
        self._placing = _NewPoint(Placing(self._scene, name), structure, description, code)

    def give_up_placing(self) -> None:
        """Look around again; no click is waited for."""
        if self._placing is not None:
            self._placing.placing.end()
            self._placing = None

    def undo(self) -> None:
        """Take back the last thing that was done, be it in the scene or elsewhere."""
        self.settle()
        self.session.undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.settle()
        self.session.redo()

    def save(self, why: str = "") -> Saved:
        """Write the next revision, with what was just done in the scene."""
        self.settle()
        saved = self.session.save(why)
        self._write_record()
        return saved

    def go_on_with(self, session: Session) -> None:
        """Show another session of the same case from now on; this one is closed, and can be recovered where it is unsaved."""
        self.session.close()
        self.session = session
        session.watch(lambda state: self._on_state(session, state))
        self._looked_up_in = None
        self._show(session.state)

    def offer(self, two_states: TwoStates) -> None:
        """Show what else the case could be until a person has chosen."""
        self.two_states = two_states

    @property
    def anchor(self) -> Node | None:
        """The text node by which a saved scene knows the case."""
        return self._record.anchor

    def close(self) -> None:
        """Let the case go and take what we put there, and nothing else, out of the scene. What is unsaved can be recovered."""
        if not self.settle():
            return
        self._let_go()
        self._remove_nodes()
        if self.image.volume.GetAttribute(_ADDED) is not None:
            remove_node(self._scene, self.image.volume)

    # What was done.

    def _do_what_was_done(self, still_mm: float) -> None:
        # All of it is read before anything is done: each command shows the case anew.
        state = self.session.state
        gesture = self.lists.gesture(state, self.image, still_mm)
        painted, removed = self.segments.painted(state, self.image), self.segments.removed(state)
        carry_out(self.session, gesture, self._tell)
        for structure, mask in painted.items():
            attempt(self._tell, self.session.paint, structure, mask)
        for structure in removed:
            self._tell(f"The segment {structure} is back. Erase it to say that the structure is not there.")

    def _adopt(self, saved: SavedCase) -> None:
        """Take over nodes that came with a saved scene, and what was done to them where no session was."""
        lists = {structure_of(node): node for node in saved.lists}
        self.lists.adopt(lists, {structure: names_of(node) for structure, node in lists.items()})
        if saved.segmentation is not None:
            self.segments.adopt(saved.segmentation, self.session.state, self.image)
        self._uv_volumes.adopt(saved.uv)
        self._record.adopt(saved)
        self._do_what_was_done(_READ_MM)
        self._show(self.session.state)

    def _look_up_new_landmarks(self) -> None:
        """Find in this case what was defined in others, once for each answer of a model."""
        state = self.session.state
        if state.answer is self._looked_up_in:
            return
        self._looked_up_in = state.answer
        if state.answer is None:
            return
        new = [landmark for landmark in self.session.landmarks_of_library() if fits(state, landmark)]
        if new and attempt(self._tell, self.session.look_up, *new):
            self._tell(f"Looked up from other cases: {', '.join(landmark.name for landmark in new)}.")

    def _poll_placing(self, wanted: _NewPoint) -> None:
        if wanted.placing.was_given_up:
            self.give_up_placing()
            return
        point_ras_mm = wanted.placing.point_world_ras_mm
        if point_ras_mm is None:
            return
        index_ijk = self.image.index_ijk(wanted.placing.node, [point_ras_mm])
        self.give_up_placing()
        self.settle()
        session, name = self.session, wanted.placing.name
        (point_lps_mm,) = lps_mm_from_index(session.state.geometry, index_ijk)
        answer = session.state.answer
        if name in session.state.landmarks.names or answer is None or answer.template is None:
            attempt(self._tell, session.place, name, point_lps_mm, wanted.structure or "")
        else:
            attempt(
                self._tell,
                session.define_landmark,
                name,
                point_lps_mm,
                wanted.structure,
                wanted.description,
                wanted.code,
            )

    # What is shown.

    def _on_state(self, session: Session, state: CaseState) -> None:
        if not self.is_open or session is not self.session:
            return
        # What a person is about to do in the scene comes first: the next poll takes it over, and shows both.
        if self._settling or not self._touched:
            self._show(state)

    def _show(self, state: CaseState) -> None:
        with self._our_doing():
            self.image.show(state.geometry)
            self.lists.show(state, self.image)
            self.segments.show(state, self.image)
            self.ellipses.show(state, self.image)
            self.ghosts.show(state, self.image)
            self._uv_volumes.show(state, self.image)
            self._active_name.watch(self.lists.nodes.values())
            self._write_record()
            self._listen()

    def _show_what_comes_along(self) -> None:
        """While one point is dragged, show where its neighbours would go."""
        self._touched = False
        moved = self.lists.gesture(self.session.state, self.image).moved_lps_mm
        if len(moved) != 1:
            return
        try:
            preview = self.session.preview(moved)
        except InputError:
            return  # it is told when the point is let go
        with self._our_doing():
            self.lists.show(preview, self.image, but=next(iter(moved)))
            self.ellipses.show(preview, self.image)

    def _write_record(self) -> None:
        nodes = CaseNodes(self.image.volume, self.lists.nodes, self.segments.node, self._uv_volumes.nodes)
        with self._our_doing():
            self._record.write(self.session, nodes)

    @contextmanager
    def _our_doing(self) -> Iterator[None]:
        """What changes in the scene meanwhile is no gesture."""
        was, self._showing = self._showing, True
        try:
            yield
        finally:
            self._showing = was

    # What is heard.

    def _listen(self) -> None:
        """Hear what happens to our nodes, also to those that were made anew."""
        volume = self.image.volume
        if not self._observers.knows(volume):
            for event in ("TransformModifiedEvent", "ImageDataModifiedEvent", "ModifiedEvent"):
                self._observers.add(volume, getattr(volume, event, event), self._on_touch)
        for node in self.lists.nodes.values():
            if self._observers.knows(node):
                continue
            for event in _LIST_EVENTS:
                self._observers.add(node, getattr(node, event), self._on_touch)
            self._observers.add(node, node.PointStartInteractionEvent, self._on_drag)
            self._observers.add(node, node.PointEndInteractionEvent, self._on_drop)
            self._observers.add(node, node.DisplayModifiedEvent, self._on_hover)
        node = self.segments.node
        if node is not None and not self._observers.knows(node):
            self._observers.add(node, node.TransformModifiedEvent, self._on_touch)
            segmentation = node.GetSegmentation()
            for event in ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SourceRepresentationModified"):
                self._observers.add(segmentation, getattr(segmentation, event), self._on_touch)

    def _on_touch(self, node: Any, event: Any) -> None:
        if not self._showing:
            self._touched = True

    def _on_drag(self, node: Any, event: Any) -> None:
        self._dragging.add(node.GetID())

    def _on_drop(self, node: Any, event: Any) -> None:
        self._dragging.discard(node.GetID())
        self._touched = True

    def _on_hover(self, node: Any, event: Any) -> None:
        display = node.GetDisplayNode()
        if display is not None:
            with self._our_doing():
                self.lists.let_delete(node, display.GetActiveComponentType() == _CONTROL_POINT)

    def _on_scene_close(self, scene: Any, event: Any) -> None:
        if self.settle():
            self._end("the scene was closed")

    # The image, and the end.

    def _add_volume(self) -> Node:
        film, notes = self.session.case.read_image(self.session.state.geometry)
        for note in notes:
            self._tell(note)
        volume = add_volume_node(self._scene, film)
        volume.SetAttribute(_ADDED, "1")
        return volume

    def _is_image_of_case(self, volume: Node, turn_round: bool = False) -> bool:
        """Whether a volume has the pixels of the case; where Slicer turned its slices round, turn them back if asked."""
        has_pixels = self.session.case.has_pixels_of
        if has_pixels(image_of_volume_node(volume, SpacingSource.UNKNOWN)):
            return True
        if not turn_round:
            return False
        turn_slices_round(volume)
        if has_pixels(image_of_volume_node(volume, SpacingSource.UNKNOWN)):
            return True
        turn_slices_round(volume)
        return False

    def _check_image(self) -> None:
        """Put right what a case cannot go on with: an image that is bent, or has other pixels."""
        volume = self.image.volume
        if not self.image.is_linear:
            self._tell(
                f"expected a linear transform above {volume.GetName()}, got one that bends: landmarks would no longer lie on "
                "their pixels. The image is out of it again; to see it bent, put a copy of the image under the transform."
            )
            volume.SetAndObserveTransformNodeID(self._transform_id)
        self._transform_id = volume.GetTransformNodeID()
        if self._time_of_voxels() != self._voxels_time:
            try:
                unchanged = self._is_image_of_case(volume)
            except InputError:
                unchanged = False
            if not unchanged:
                self._tell(
                    f"{volume.GetName()} has other pixels than the image of case {self.session.case.name}. It stays in the "
                    "scene as it is; the image of the case was added again and belongs to the landmarks."
                )
                self.image = ImageInScene(self._add_volume(), self.session.state.geometry)
                self._transform_id = None
            self._voxels_time = self._time_of_voxels()

    def _time_of_voxels(self) -> int:
        data = self.image.volume.GetImageData()
        return 0 if data is None else int(data.GetPointData().GetMTime())

    def _end(self, why: str) -> None:
        """The scene let us down: keep everything that was done, and be gone."""
        case = self.session.case.name
        if self.session.unsaved:
            try:
                kept = f"saved as revision {self.session.save(why).number}"
            except InputError as error:
                kept = f"can be recovered when it is opened ({error})"
        else:
            kept = "was saved before"
        self._let_go()
        self._remove_nodes()
        self._tell(f"{case}: {why}. The work on it {kept}. Open the case again to go on.")

    def _let_go(self) -> None:
        self.is_open = False
        self._observers.forget()
        self.session.close()

    def _remove_nodes(self) -> None:
        self.give_up_placing()
        parts = (
            self.lists,
            self.segments,
            self.ellipses,
            self.ghosts,
            self._active_name,
            self._uv_volumes,
            self._record,
        )
        for part in parts:
            part.remove()
        if self.two_states is not None:
            self.two_states.remove()


class _NewPoint(NamedTuple):
    """A landmark for which a click is waited for."""

    placing: Placing
    structure: str | None
    description: str
    code: tuple[str, str, str] | None


_LIST_EVENTS = (
    "PointModifiedEvent",
    "PointAddedEvent",
    "PointRemovedEvent",
    "PointPositionDefinedEvent",
    "PointPositionUndefinedEvent",
    "PointPositionMissingEvent",
    "PointPositionNonMissingEvent",
    "TransformModifiedEvent",
)
