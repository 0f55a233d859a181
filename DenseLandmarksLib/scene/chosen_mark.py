"""A cross and a name at the landmark that a person works on: it is found among hundreds."""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.active_name import add_name_list, set_name_style
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node

# Well beyond the glyphs of all lists, in percent of the view; the cross is open in the middle.
_CROSS = 6.0


class ChosenMark:
    """One mark of a case, on a locked list of our own.

    Attributes
    ----------
    name : the landmark that :meth:`show` marks, empty for none.
    node : the list, ``None`` before anything was marked.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self.name = ""
        self.node: Node | None = None
        self._scene, self._list_name = scene, f"{case_name} chosen"

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Have the mark where the landmark is; a best guess, where nothing else is drawn, has a question mark."""
        names = state.landmarks.names
        row = names.index(self.name) if self.name in names else None
        if row is None or not np.isfinite(state.landmarks.points_lps_mm[row]).all():
            self._hide()
            return
        node = self._ensure_node()
        image.take_along(node)
        (point_ras_mm,) = image.local_ras_mm(node, state.index_ijk[[row]]).tolist()
        label = self.name if state.landmarks.presence[row] is Presence.PRESENT else f"{self.name}?"
        if node.GetNthControlPointLabel(0) != label:
            node.SetNthControlPointLabel(0, label)
        if list(node.GetNthControlPointPosition(0)) != point_ras_mm:
            node.SetNthControlPointPosition(0, *point_ras_mm)
        if not node.GetNthControlPointVisibility(0):
            node.SetNthControlPointVisibility(0, True)

    def remove(self) -> None:
        """Take the mark out of the scene."""
        remove_node(self._scene, self.node)
        self.node = None

    def _hide(self) -> None:
        if is_in(self._scene, self.node) and self.node is not None and self.node.GetNthControlPointVisibility(0):
            self.node.SetNthControlPointVisibility(0, False)

    def _ensure_node(self) -> Node:
        node = self.node
        if node is None or not is_in(self._scene, node):
            node = self.node = add_name_list(self._scene, self._list_name)
            _set_style(node.GetDisplayNode())
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            _set_style(node.GetDisplayNode())
        return node


def _set_style(display: Node | None) -> None:
    if display is None:
        return
    set_name_style(display)
    display.SetGlyphType(display.Cross2D)
    display.SetGlyphScale(_CROSS)
