"""The name of the point under the mouse, where the lists have so many points that they show none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vtkmodules.vtkCommonCore import vtkWeakReference

from DenseLandmarksLib.scene.eyes_only import add_for_eyes_only
from DenseLandmarksLib.scene.nodes import Node, is_in, place_list_kept, remove_node

_DEFINED = 2
# The text keeps this far from the point, in percent of the view as all glyphs are: beside the largest that we draw.
_AWAY = 3.0
_BACKGROUND_OPACITY = 0.6


class ActiveName:
    """One name beside the point that the mouse is on or drags.

    ``node`` is a locked list of our own with one point and no glyph, and ``None`` before lists are watched: a list cannot
    label one of its points only.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self.node: Node | None = None
        self._scene, self._case_name = scene, case_name
        # Lists and what we observe of them; a list that is deleted must not live on because of us.
        self._watched: list[tuple[vtkWeakReference, tuple[int, ...]]] = []
        self._active: vtkWeakReference = vtkWeakReference()
        self._left_out = ""

    def leave_out(self, name: str) -> None:
        """Never show this name: it is seen already, by the mark of the landmark that is worked on."""
        self._left_out = name
        if name and self.node is not None and self.node.GetNthControlPointLabel(0) == name:
            self._hide()

    def watch(self, list_nodes: Iterable[Node]) -> None:
        """Look after these lists, and no others any more; cheap where they are the same as before."""
        wanted = list(list_nodes)
        self._ensure_node()
        kept = []
        for weak, tags in self._watched:
            node = weak.Get()
            if node in wanted:
                kept.append((weak, tags))
            elif node is not None:
                _stop_observing(node, tags)
        known = [weak.Get() for weak, _ in kept]
        # A list passes on what happens to its display nodes, also to those that it gets later.
        new = [node for node in wanted if node not in known]
        self._watched = kept + [(_weak(node), self._observe(node)) for node in new]
        active = self._active.Get()
        if active is None or active not in wanted:
            self._hide()
        for node in new:
            self._look_at(node)

    def remove(self) -> None:
        """Stop watching and take the name out of the scene."""
        for weak, tags in self._watched:
            node = weak.Get()
            if node is not None:
                _stop_observing(node, tags)
        self._watched.clear()
        self._active = vtkWeakReference()
        remove_node(self._scene, self.node)
        self.node = None

    def _observe(self, node: Node) -> tuple[int, ...]:
        events = (node.DisplayModifiedEvent, node.PointModifiedEvent, node.TransformModifiedEvent)
        tags = [node.AddObserver(event, self._happened) for event in events]
        return (*tags, node.AddObserver(node.PointRemovedEvent, self._lost_a_point))

    def _happened(self, node: Node, _event: str) -> None:
        self._look_at(node)

    def _lost_a_point(self, node: Node, _event: str) -> None:
        # Slicer goes on to call its number the active one, which now is that of another point.
        if self._active.Get() is node:
            self._hide()

    def _look_at(self, node: Node) -> None:
        """Show the name of the list's active point; hide it where the list has none and was the one that was shown."""
        if not is_in(self._scene, self.node):
            return
        n = _active_point(node)
        if n >= 0:
            self._show(node, n)
            self._active.Set(node)
        elif self._active.Get() is node:
            self._hide()

    def _show(self, node: Node, n: int) -> None:
        assert self.node is not None
        if self.node.GetTransformNodeID() != node.GetTransformNodeID():
            self.node.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        label, position = node.GetNthControlPointLabel(n), node.GetNthControlPointPosition(n)
        if label == self._left_out:
            self._hide()
            return
        if self.node.GetNthControlPointLabel(0) != label:
            self.node.SetNthControlPointLabel(0, label)
        if self.node.GetNthControlPointPosition(0) != position:
            self.node.SetNthControlPointPosition(0, *position)
        if not self.node.GetNthControlPointVisibility(0):
            self.node.SetNthControlPointVisibility(0, True)

    def _hide(self) -> None:
        self._active = vtkWeakReference()
        if self.node is not None and self.node.GetNthControlPointVisibility(0):
            self.node.SetNthControlPointVisibility(0, False)

    def _ensure_node(self) -> None:
        node = self.node
        if node is None or not is_in(self._scene, node):
            node = self.node = add_name_list(self._scene, f"{self._case_name} name")
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            set_name_style(node.GetDisplayNode())


def _active_point(node: Node) -> int:
    """The point that the mouse is on and whose name the list does not show itself, -1 for none."""
    for m in range(node.GetNumberOfDisplayNodes()):
        display = node.GetNthDisplayNode(m)
        if display is None or display.GetActiveComponentType() != display.ComponentControlPoint:
            continue
        n = display.GetActiveComponentIndex()
        unnamed = display.GetVisibility() and not display.GetPointLabelsVisibility()
        if unnamed and 0 <= n < node.GetNumberOfControlPoints():
            return n if node.GetNthControlPointPositionStatus(n) == _DEFINED else -1
    return -1


def add_name_list(scene: Any, name: str) -> Node:
    """A locked list of one hidden point, whose name is seen beside it and nothing else."""
    with place_list_kept(scene):
        node = add_for_eyes_only(scene, "vtkMRMLMarkupsFiducialNode", name)
    node.SetLocked(True)
    node.AddControlPoint(0.0, 0.0, 0.0)
    node.SetNthControlPointVisibility(0, False)
    if node.GetDisplayNode() is not None:  # Slicer's own logic made it, where there is one
        set_name_style(node.GetDisplayNode())
    return node


def set_name_style(display: Node) -> None:
    """White on dark, for bright and for dark images, and no glyph."""
    display.SetSaveWithScene(False)
    display.SetUndoEnabled(False)
    display.SetPointLabelsVisibility(True)
    display.SetGlyphType(display.GlyphTypeInvalid)
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(_AWAY)
    display.SetSelectedColor(1.0, 1.0, 1.0)
    text = display.GetTextProperty()
    text.SetBackgroundColor(0.0, 0.0, 0.0)
    text.SetBackgroundOpacity(_BACKGROUND_OPACITY)


def _weak(node: Node) -> vtkWeakReference:
    weak = vtkWeakReference()
    weak.Set(node)
    return weak


def _stop_observing(node: Node, tags: tuple[int, ...]) -> None:
    for tag in tags:
        node.RemoveObserver(tag)
