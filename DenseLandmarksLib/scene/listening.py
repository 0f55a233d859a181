"""Hearing that somebody does something to the nodes of a case, and telling it from what we do to them ourselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.observers import Observers

_LIST_EVENTS = (
    *("PointModifiedEvent", "PointAddedEvent", "PointRemovedEvent", "TransformModifiedEvent"),
    *("PointPositionDefinedEvent", "PointPositionUndefinedEvent"),
    *("PointPositionMissingEvent", "PointPositionNonMissingEvent"),
)
_SEGMENTATION_EVENTS = ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SourceRepresentationModified")
# vtkMRMLMarkupsDisplayNode::ComponentControlPoint: the mouse is over a point, not over a line or a handle.
_CONTROL_POINT = 1


class Listening:
    """What was heard.

    Attributes
    ----------
    touched : somebody changed something since this was last set to false.
    pressed : the landmark that the mouse was pressed on since this was last set to ``None``.
    """

    def __init__(self, scene: Any, lists: FiducialLists, scene_closes: Callable[[], None]) -> None:
        """``scene_closes`` is called before the scene is emptied."""
        self.touched = False
        self.pressed: str | None = None
        self._lists, self._scene_closes = lists, scene_closes
        self._observers = Observers()
        self._ours = 0
        self._dragging: set[str] = set()
        self._observers.add(scene, scene.NodeRemovedEvent, self._on_touch)  # perhaps one of ours
        self._observers.add(scene, scene.StartCloseEvent, self._on_scene_close)

    @property
    def is_drag(self) -> bool:
        """Whether the mouse button is down on a point; nobody tells when its list is taken out of the scene meanwhile."""
        there = (node.GetID() for node in self._lists.nodes.values() if node.GetScene() is not None)
        return not self._dragging.isdisjoint(there)

    def forget_drag(self) -> None:
        """Whatever was being dragged was let go, or is no more."""
        self._dragging.clear()

    @contextmanager
    def our_doing(self) -> Iterator[None]:
        """What changes meanwhile nobody else did."""
        self._ours += 1
        try:
            yield
        finally:
            self._ours -= 1

    def listen_to(self, volume: Node, segmentation: Node | None) -> None:
        """Hear the nodes of the case, also those that were made anew."""
        if not self._observers.knows(volume):
            for event in ("ModifiedEvent", volume.TransformModifiedEvent, volume.ImageDataModifiedEvent):
                self._observers.add(volume, event, self._on_touch)
        for node in self._lists.nodes.values():
            if not self._observers.knows(node):
                for name in _LIST_EVENTS:
                    self._observers.add(node, getattr(node, name), self._on_touch)
                self._observers.add(node, node.PointStartInteractionEvent, self._on_drag)
                self._observers.add(node, node.PointEndInteractionEvent, self._on_drop)
                self._observers.add(node, node.DisplayModifiedEvent, self._on_hover)
        if segmentation is not None and not self._observers.knows(segmentation):
            self._observers.add(segmentation, segmentation.TransformModifiedEvent, self._on_touch)
            segments = segmentation.GetSegmentation()
            for name in _SEGMENTATION_EVENTS:
                self._observers.add(segments, getattr(segments, name), self._on_touch)

    def end(self) -> None:
        """Hear nothing more."""
        self._observers.forget()

    def _on_touch(self, node: Any, event: Any) -> None:
        if not self._ours:
            self.touched = True

    def _on_drag(self, node: Any, event: Any) -> None:
        self._dragging.add(node.GetID())
        display = node.GetDisplayNode()
        if display is not None and display.GetActiveComponentType() == _CONTROL_POINT:
            self.pressed = self._lists.name_of(node, display.GetActiveComponentIndex())

    def _on_drop(self, node: Any, event: Any) -> None:
        self._dragging.discard(node.GetID())
        self.touched = True

    def _on_hover(self, node: Any, event: Any) -> None:
        display = node.GetDisplayNode()
        if display is not None:
            with self.our_doing():
                self._lists.let_delete(node, display.GetActiveComponentType() == _CONTROL_POINT)

    def _on_scene_close(self, scene: Any, event: Any) -> None:
        self._scene_closes()
