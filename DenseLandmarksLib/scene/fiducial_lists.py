"""The landmarks of a case as markups: a list per structure, shown as the session says and compared with it.

Positions are those of the lists' own coordinates, which are the image's: under a transform image and lists move together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_masks import structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.geometry.frames import lps_mm_from_ras_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.ras import ras_mm_from_lps_mm
from DenseLandmarksLib.scene.volume_node import Node

NODE_CLASS = "vtkMRMLMarkupsFiducialNode"
# Slicer's words (vtkMRMLMarkupsNode): it keeps "missing", which a person said, from "undefined", which nobody did.
_UNDEFINED, _DEFINED, _MISSING = 0, 2, 3
_STATUS = {Presence.PRESENT: _DEFINED, Presence.ABSENT: _MISSING, Presence.UNPLACED: _UNDEFINED}
# A hundred labels hide the image that they belong to.
MANY_POINTS = 30
# Less than anybody can drag, more than floating point loses on its way through a node.
STILL_MM = 1e-6
# Points that a middle-button drag moves together move alike up to this.
ALIKE_MM = 1e-3


@dataclass(frozen=True)
class Gesture:
    """What a person did to the lists since they were last shown.

    Attributes
    ----------
    moved_lps_mm : landmarks that were dragged, and where to (3,).
    deleted : landmarks that were taken away.
    placed_lps_mm : landmarks that were not there and are now, and where (3,).
    dragged_list : a structure whose list was dragged as a whole, else empty; its points are in none of the others.
    added_lps_mm : structure, label and position of points that a person added by hand.
    renamed : landmarks whose label was changed, and the new one.
    """

    moved_lps_mm: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    placed_lps_mm: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    dragged_list: str = ""
    added_lps_mm: tuple[tuple[str, str, NDArray[np.float64]], ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_nothing(self) -> bool:
        """Whether the lists are as they were shown."""
        return self == Gesture()


class FiducialLists:
    """The lists of one case in a scene, which is given and never imported.

    ``nodes`` are the lists by structure; landmarks without a structure share the list of the empty name.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self.nodes: dict[str, Node] = {}
        self._scene, self._case_name = scene, case_name
        # Which landmark each control point of a list is: a label can be changed by anybody.
        self._names: dict[str, dict[str, str]] = {}

    def show(self, state: CaseState) -> None:
        """Bring the lists to what the case says; only what differs is touched."""
        landmarks = state.landmarks
        for structure in dict.fromkeys(landmarks.structures):
            node = self.nodes.get(structure)
            if node is None or self._scene.GetNodeByID(node.GetID()) is None:
                node = self.nodes[structure] = self._add_list(state, structure)
            was_modifying = node.StartModify()
            rows = [int(row) for row in landmarks.of_structure(structure)]
            self._match_points(node, [landmarks.names[row] for row in rows])
            points_ras = ras_mm_from_lps_mm(landmarks.points_lps_mm[rows])
            for n, row in enumerate(rows):
                if node.GetNthControlPointLabel(n) != landmarks.names[row]:
                    node.SetNthControlPointLabel(n, landmarks.names[row])
                _show_point(node, n, points_ras[n], _STATUS[landmarks.presence[row]])
            set_style(node, state, structure)
            node.EndModify(was_modifying)

    def gesture(self, state: CaseState) -> Gesture:
        """What differs from ``state``, which is what was shown last."""
        landmarks = state.landmarks
        moved: dict[str, NDArray[np.float64]] = {}
        placed: dict[str, NDArray[np.float64]] = {}
        renamed: dict[str, str] = {}
        added: list[tuple[str, str, NDArray[np.float64]]] = []
        there: set[str] = set()
        dragged_list = ""
        for structure, node in self.nodes.items():
            steps: dict[str, NDArray[np.float64]] = {}
            for n in range(node.GetNumberOfControlPoints()):
                point = lps_mm_from_ras_mm([node.GetNthControlPointPosition(n)])[0]
                label, status = node.GetNthControlPointLabel(n), node.GetNthControlPointPositionStatus(n)
                name = self._names[node.GetID()].get(node.GetNthControlPointID(n))
                if name is None or name not in landmarks.names:
                    if status == _DEFINED:
                        added.append((structure, label, point))
                    continue
                row = landmarks.names.index(name)
                if label != name:
                    renamed[name] = label
                if status != _DEFINED:
                    continue
                there.add(name)
                if landmarks.presence[row] is not Presence.PRESENT:
                    placed[name] = point
                elif np.abs(point - landmarks.points_lps_mm[row]).max() > STILL_MM:
                    steps[name] = point - landmarks.points_lps_mm[row]
                    moved[name] = point
            if _is_whole(steps, self._present(state, structure)):
                dragged_list = structure
                moved = {name: point for name, point in moved.items() if name not in steps}
        present = [
            name
            for name, of, presence in zip(landmarks.names, landmarks.structures, landmarks.presence, strict=True)
            if presence is Presence.PRESENT and of in self.nodes
        ]
        deleted = tuple(name for name in present if name not in there)
        return Gesture(moved, deleted, placed, dragged_list, tuple(added), renamed)

    def remove(self) -> None:
        """Take our lists, and nothing else, out of the scene."""
        for node in self.nodes.values():
            self._scene.RemoveNode(node)
        self.nodes.clear()
        self._names.clear()

    def _add_list(self, state: CaseState, structure: str) -> Node:
        node = self._scene.AddNewNodeByClass(NODE_CLASS, f"{self._case_name} {structure or 'landmarks'}")
        self._names[node.GetID()] = {}
        node.SetUndoEnabled(False)  # the session's undo is the only one
        node.CreateDefaultDisplayNodes()
        return node

    def _match_points(self, node: Node, names: list[str]) -> None:
        """Have one control point for each name, in order; those that are right keep their identity."""
        name_of = self._names[node.GetID()]
        have = [name_of.get(node.GetNthControlPointID(n)) for n in range(node.GetNumberOfControlPoints())]
        if have == names:
            return
        node.SetFixedNumberOfControlPoints(False)
        if have != names[: len(have)]:
            node.RemoveAllControlPoints()
            have = []
        for name in names[len(have) :]:
            n = node.AddControlPoint(0.0, 0.0, 0.0)
            node.UnsetNthControlPointPosition(n)
            node.SetNthControlPointLabel(n, name)
            name_of[node.GetNthControlPointID(n)] = name
        node.SetFixedNumberOfControlPoints(True)

    @staticmethod
    def _present(state: CaseState, structure: str) -> int:
        rows = state.landmarks.of_structure(structure)
        return sum(state.landmarks.presence[row] is Presence.PRESENT for row in rows)


def set_style(node: Node, state: CaseState, structure: str) -> None:
    """Colour by structure, labels off above :data:`MANY_POINTS`, also on a display node that somebody made anew."""
    display = node.GetDisplayNode()
    if display is None:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
    many = len(state.landmarks) > MANY_POINTS
    colour = structure_style(state, structure).colour
    if structure:
        display.SetColor(*colour)
        display.SetSelectedColor(*colour)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(not many)
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(1.2 if many else 2.0)


def _show_point(node: Node, n: int, point_ras: NDArray[np.float64], status: int) -> None:
    was = node.GetNthControlPointPositionStatus(n)
    if np.isfinite(point_ras).all():
        moved = np.abs(np.array(node.GetNthControlPointPosition(n)) - point_ras).max() > STILL_MM
        # An absent landmark keeps its best guess, unseen; setting a position makes it "defined" for a moment.
        if moved or (status == _DEFINED and was != _DEFINED):
            node.SetNthControlPointPosition(n, *point_ras)
            was = _DEFINED
    if status == _MISSING and was != _MISSING:
        node.SetNthControlPointPositionMissing(n)
    elif status == _UNDEFINED and was != _UNDEFINED:
        node.UnsetNthControlPointPosition(n)


def _is_whole(steps: Mapping[str, NDArray[np.float64]], present: int) -> bool:
    """Whether all points of a list, of which there are several, went the same way."""
    if present < 2 or len(steps) != present:
        return False
    way = np.stack(list(steps.values()))
    return bool(np.abs(way - way[0]).max() <= ALIKE_MM)
