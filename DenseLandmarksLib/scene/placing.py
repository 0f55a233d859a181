"""The next click in a view says where a landmark is."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.scene.fiducial_lists import NODE_CLASS
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
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

    def __init__(
        self,
        scene: Any,
        name: str,
        structure: str | None = None,
        description: str = "",
        code: tuple[str, str, str] | None = None,
    ) -> None:
        """Wait for a click; the rest says of a new landmark what :meth:`Session.define_landmark` takes."""
        self._scene, self.name = scene, name
        self._structure, self._description, self._code = structure, description, code
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

    def index_ijk(self, image: ImageInScene) -> FloatArray | None:
        """The continuous voxel index (3,) on which the person clicked, ``None`` until then."""
        if not is_in(self._scene, self.node) or not self._is_placed:
            return None
        return image.index_ijk(self.node, [self.node.GetNthControlPointPosition(0)])[0]

    def carry_out(self, session: Session, index_ijk: FloatArray) -> None:
        """Place the landmark in the session; one that it does not know is defined on the template, where there is one."""
        state = session.state
        (point_lps_mm,) = lps_mm_from_index(state.geometry, [index_ijk])
        if self.name in state.landmarks.names or state.answer is None or state.answer.template is None:
            session.place(self.name, point_lps_mm, self._structure or "")
        else:
            session.define_landmark(self.name, point_lps_mm, self._structure, self._description, self._code)

    @property
    def was_given_up(self) -> bool:
        """Whether the person went back to looking around without a click, or removed the list."""
        if not is_in(self._scene, self.node):
            return True
        looking = self._interaction is not None and self._interaction.GetCurrentInteractionMode() != _PLACE
        return looking and not self._is_placed

    @property
    def _is_placed(self) -> bool:
        placed: bool = (
            self.node.GetNumberOfControlPoints() > 0 and self.node.GetNthControlPointPositionStatus(0) == _DEFINED
        )
        return placed

    def end(self) -> None:
        """Leave the place mode."""
        remove_node(self._scene, self.node)
        if self._interaction is not None and self._interaction.GetCurrentInteractionMode() == _PLACE:
            self._interaction.SetCurrentInteractionMode(_LOOK)
