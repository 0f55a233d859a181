"""The next click in a view says where a landmark is."""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.scene.fiducial_lists import NODE_CLASS
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.ras import FloatArray

# vtkMRMLInteractionNode: a click places a point; the mouse looks around.
_PLACE, _LOOK = 1, 2
_SELECTION, _INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
_DEFINED = 2


class Placing:
    """Slicer's place mode with a list of its own, so that no list of a case can get a point by mistake.

    Attributes
    ----------
    name : what the landmark will be called.
    node : the list that takes the point; its coordinates are the world's.
    """

    def __init__(self, scene: Any, name: str) -> None:
        self._scene, self.name = scene, name
        self.node: Node = scene.AddNewNodeByClass(NODE_CLASS, name)
        self.node.SetUndoEnabled(False)
        self.node.SetSaveWithScene(False)
        self.node.SetHideFromEditors(True)
        self.node.CreateDefaultDisplayNodes()
        self.node.GetDisplayNode().SetSaveWithScene(False)
        self.node.SetMaximumNumberOfControlPoints(1)
        self.node.SetControlPointLabelFormat(name.replace("%", "%%"))
        selection, self._interaction = scene.GetNodeByID(_SELECTION), scene.GetNodeByID(_INTERACTION)
        if selection is not None:
            selection.SetReferenceActivePlaceNodeClassName(NODE_CLASS)
            selection.SetActivePlaceNodeID(self.node.GetID())
        if self._interaction is not None:
            self._interaction.SetPlaceModePersistence(0)
            self._interaction.SetCurrentInteractionMode(_PLACE)

    @property
    def point_world_ras_mm(self) -> FloatArray | None:
        """Where the person clicked (3,), ``None`` until then."""
        if self.node.GetNumberOfControlPoints() == 0 or self.node.GetNthControlPointPositionStatus(0) != _DEFINED:
            return None
        return np.array(self.node.GetNthControlPointPositionWorld(0), np.float64)

    @property
    def was_given_up(self) -> bool:
        """Whether the person went back to looking around without a click, or removed the list."""
        if not is_in(self._scene, self.node):
            return True
        looking = self._interaction is not None and self._interaction.GetCurrentInteractionMode() != _PLACE
        return looking and self.point_world_ras_mm is None

    def end(self) -> None:
        """Leave the place mode."""
        remove_node(self._scene, self.node)
        if self._interaction is not None and self._interaction.GetCurrentInteractionMode() == _PLACE:
            self._interaction.SetCurrentInteractionMode(_LOOK)
