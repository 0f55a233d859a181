"""Slicer's place mode: the next clicks in a view place the points of a markups node."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node

# vtkMRMLInteractionNode: a click places a point; the mouse looks around.
_PLACE, _LOOK = 1, 2
_SELECTION, _INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
_DEFINED = 2


class PlaceMode:
    """A markups node of its own that takes points, so that no list of a case can get one by mistake.

    Attributes
    ----------
    node : what takes the points; its coordinates are the world's. It is not saved with the scene.
    """

    def __init__(self, scene: Any, node_class: str, name: str, points: int) -> None:
        """Wait for clicks; it is done with so many ``points``."""
        self._scene, self._points = scene, points
        self.node: Node = scene.AddNewNodeByClass(node_class, name)
        self.node.SetUndoEnabled(False)
        self.node.SetSaveWithScene(False)
        self.node.SetHideFromEditors(True)
        self.node.CreateDefaultDisplayNodes()
        self.node.GetDisplayNode().SetSaveWithScene(False)
        selection, self._interaction = scene.GetNodeByID(_SELECTION), scene.GetNodeByID(_INTERACTION)
        if selection is not None:
            selection.SetReferenceActivePlaceNodeClassName(node_class)
            selection.SetActivePlaceNodeID(self.node.GetID())
        if self._interaction is not None:
            self._interaction.SetPlaceModePersistence(0)
            self._interaction.SetCurrentInteractionMode(_PLACE)

    @property
    def is_done(self) -> bool:
        """Whether all points are placed; a point that still follows the mouse is not."""
        return is_in(self._scene, self.node) and defined_points(self.node) >= self._points

    @property
    def was_given_up(self) -> bool:
        """Whether the person went back to looking around before all points were placed, or removed the node."""
        if not is_in(self._scene, self.node):
            return True
        looking = self._interaction is not None and self._interaction.GetCurrentInteractionMode() != _PLACE
        return looking and not self.is_done

    def end(self) -> None:
        """Remove the node, and leave the place mode."""
        remove_node(self._scene, self.node)
        if self._interaction is not None and self._interaction.GetCurrentInteractionMode() == _PLACE:
            self._interaction.SetCurrentInteractionMode(_LOOK)


def defined_points(node: Node) -> int:
    """How many points of a markups node are placed."""
    rows = range(node.GetNumberOfControlPoints())
    return sum(node.GetNthControlPointPositionStatus(n) == _DEFINED for n in rows)
