"""The landmarks of a case as markups: a list per structure, shown as the session says and compared with it.

A landmark lies where its voxel is in the scene, whatever transforms image and lists are under.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from DenseLandmarksLib.annotation.case_masks import structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.gesture import Gesture, is_whole
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.measurements import show_measurements
from DenseLandmarksLib.scene.nodes import Node, is_in, place_list_kept, remove_node
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.scene_text import node_name

NODE_CLASS = "vtkMRMLMarkupsFiducialNode"
# Slicer's words (vtkMRMLMarkupsNode): it keeps "missing", which a person said, from "undefined", which nobody did.
_UNDEFINED, _DEFINED, _MISSING = 0, 2, 3
_STATUS = {Presence.PRESENT: _DEFINED, Presence.ABSENT: _MISSING, Presence.UNPLACED: _UNDEFINED}
# A hundred labels hide the image that they belong to.
MANY_POINTS = 30
# Less than anybody can drag, more than floating point loses on its way through a node.
STILL_MM = 1e-6


class _Shown(NamedTuple):
    """How a landmark was shown: where (3,), in its list's own coordinates, and Slicer's word for whether it is there."""

    point_ras_mm: FloatArray
    status: int

    @property
    def is_seen(self) -> bool:
        return self.status == _DEFINED


class FiducialLists:
    """The lists of one case in a scene, which is given and never imported.

    Attributes
    ----------
    nodes : the lists by structure; landmarks without a structure share the list of the empty name.
    names_visible : whether every landmark has its name beside it, ``None`` where nobody said: then a few have.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self.nodes: dict[str, Node] = {}
        self.names_visible: bool | None = None
        self._scene, self._case_name = scene, case_name
        # Of each list by its ID: which landmark each control point is (a label can be changed by anybody), and how each
        # landmark was shown; None for a list that was not shown yet.
        self._names: dict[str, dict[str, str]] = {}
        self._shown: dict[str, dict[str, _Shown] | None] = {}

    def adopt(self, nodes: Mapping[str, Node], names: Mapping[str, Sequence[str]]) -> None:
        """Take over lists by structure that came with a saved scene; ``names`` are those of their rows when it was saved.

        Everything in them counts as moved that :meth:`gesture` finds elsewhere than the case says.
        """
        for structure, node in nodes.items():
            self.nodes[structure] = node
            count = node.GetNumberOfControlPoints()
            rows = list(names.get(structure, ()))
            if len(rows) != count:
                rows = [node.GetNthControlPointLabel(n) for n in range(count)]
            self._names[node.GetID()] = {node.GetNthControlPointID(n): rows[n] for n in range(count)}
            self._shown[node.GetID()] = None

    def show(self, state: CaseState, image: ImageInScene, but: str = "") -> None:
        """Bring the lists to what the case says; only what differs is touched.

        The landmark ``but`` is left as it is: it is being dragged.
        """
        landmarks, index_ijk = state.landmarks, state.index_ijk
        structures = dict.fromkeys(landmarks.structures)
        for structure in [structure for structure in self.nodes if structure not in structures]:
            self._forget(structure)
        for structure in structures:
            node = self.nodes.get(structure)
            if node is None or not is_in(self._scene, node):
                self._forget(structure)
                node = self.nodes[structure] = self._add_list(structure)
            image.take_along(node)
            was_modifying = node.StartModify()
            rows = [int(row) for row in landmarks.of_structure(structure)]
            self._match_points(node, [landmarks.names[row] for row in rows])
            points_ras_mm = image.local_ras_mm(node, index_ijk[rows])
            before = self._shown[node.GetID()] or {}
            shown = self._shown[node.GetID()] = {}
            for n, row in enumerate(rows):
                name = landmarks.names[row]
                if name == but and name in before:  # else its list was made anew
                    shown[name] = before[name]
                    continue
                if node.GetNthControlPointLabel(n) != name:
                    node.SetNthControlPointLabel(n, name)
                shown[name] = _Shown(points_ras_mm[n], _STATUS[landmarks.presence[row]])
                _show_point(node, n, *shown[name])
            if not but:
                show_measurements(node, landmarks, rows)
                self._set_style(node, state, structure)
            node.EndModify(was_modifying)

    def gesture(self, state: CaseState, image: ImageInScene, still_mm: float = STILL_MM) -> Gesture:
        """What a person did since the lists were shown, with the case as it is, which they need not show any more.

        What was not shown yet nobody took away, and what is shown still nobody placed.
        """
        landmarks = state.landmarks
        row_of = {name: row for row, name in enumerate(landmarks.names)}
        gesture = Gesture()
        present = {
            name
            for name, of, presence in zip(landmarks.names, landmarks.structures, landmarks.presence, strict=True)
            if presence is Presence.PRESENT and of in self.nodes
        }
        there: set[str] = set()
        for structure, node in self.nodes.items():
            count = node.GetNumberOfControlPoints()
            local_ras_mm = np.array([node.GetNthControlPointPosition(n) for n in range(count)]).reshape(-1, 3)
            points_lps_mm = lps_mm_from_index(state.geometry, image.index_ijk(node, local_ras_mm))
            names = [self._names[node.GetID()].get(node.GetNthControlPointID(n)) for n in range(count)]
            shown = self._shown[node.GetID()]
            of_list = [landmarks.names[row] for row in landmarks.of_structure(structure)]
            # Who was to be seen: as the case says, where nobody showed the list yet.
            seen = present.intersection(of_list) if shown is None else {n for n, how in shown.items() if how.is_seen}
            steps: dict[str, tuple[FloatArray, FloatArray]] = {}
            for n, name in enumerate(names):
                label, status = node.GetNthControlPointLabel(n), node.GetNthControlPointPositionStatus(n)
                if name is None or name not in row_of:
                    was_added = name is None or shown is None  # else the case does not have it any more
                    if was_added and status == _DEFINED:
                        gesture.added_lps_mm.append((structure, label, points_lps_mm[n]))
                    continue
                if label != name:
                    gesture.renamed[name] = label
                if status != _DEFINED:
                    continue
                there.add(name)
                row = row_of[name]
                # A hardened transform changes what a list says without moving anything, a neighbour that came along
                # is where it was shown though not where the case has it: only what is in neither place was moved.
                stayed = (
                    name in seen
                    and shown is not None
                    and np.abs(local_ras_mm[n] - shown[name].point_ras_mm).max() <= still_mm
                )
                if name not in present:
                    if not stayed:
                        gesture.placed_lps_mm[name] = points_lps_mm[n]
                    continue
                # What was set to no number at all was moved as well: nothing that is compared with it holds.
                if not stayed and not np.abs(points_lps_mm[n] - landmarks.points_lps_mm[row]).max() <= still_mm:
                    gesture.moved_lps_mm[name] = points_lps_mm[n]
                    steps[name] = landmarks.points_lps_mm[row], points_lps_mm[n]
            if len(steps) == len(seen & present) and is_whole(list(steps.values())):
                gesture.dragged_lists.append(structure)
                for name in steps:
                    del gesture.moved_lps_mm[name]
            gone = seen & present - there
            gesture.deleted.extend(name for name in of_list if name in gone)
        return gesture

    def set_names_visible(self, visible: bool) -> None:
        """Have the name of every landmark beside it or of none, also in lists that are made later."""
        self.names_visible = visible
        for node in self.nodes.values():
            if node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetPointLabelsVisibility(visible)

    def let_delete(self, node: Node, allowed: bool) -> None:
        """Let the Delete key take a point out of a list, or not.

        Slicer's key removes points and fails, with an error in its log, on lists whose number of points is fixed. So
        it is not fixed while the mouse is over a point: that is when the key means the point.
        """
        if node.GetFixedNumberOfControlPoints() == allowed:
            node.SetFixedNumberOfControlPoints(not allowed)

    def names_of(self, structure: str) -> list[str]:
        """The landmarks of a list, row by row."""
        node = self.nodes[structure]
        name_of = self._names[node.GetID()]
        return [name_of[node.GetNthControlPointID(n)] for n in range(node.GetNumberOfControlPoints())]

    def name_of(self, node: Node, n: int) -> str | None:
        """The landmark that a control point of one of the lists is."""
        return self._names.get(node.GetID(), {}).get(node.GetNthControlPointID(n))

    def remove(self) -> None:
        """Take our lists, and nothing else, out of the scene."""
        for structure in list(self.nodes):
            self._forget(structure)

    def _forget(self, structure: str) -> None:
        node = self.nodes.pop(structure, None)
        if node is not None:
            self._names.pop(node.GetID(), None)
            self._shown.pop(node.GetID(), None)
            remove_node(self._scene, node)

    def _add_list(self, structure: str) -> Node:
        with place_list_kept(self._scene):
            node = self._scene.AddNewNodeByClass(NODE_CLASS, node_name(f"{self._case_name} {structure or 'landmarks'}"))
        self._names[node.GetID()], self._shown[node.GetID()] = {}, {}
        node.SetUndoEnabled(False)  # the session's undo is the only one
        return node

    def _match_points(self, node: Node, names: list[str]) -> None:
        """Have one control point for each name, in order; those that are right keep their identity."""
        name_of = self._names[node.GetID()]
        have = [name_of.get(node.GetNthControlPointID(n)) for n in range(node.GetNumberOfControlPoints())]
        if have != names:
            node.SetFixedNumberOfControlPoints(False)
            for n in reversed(range(len(have))):
                if have[n] not in names:
                    node.RemoveNthControlPoint(n)
                    del have[n]
            for n, name in enumerate(names):
                if have[n : n + 1] == [name]:
                    continue
                if name in have[n:]:  # in another order: from here on anew
                    for last in reversed(range(n, len(have))):
                        node.RemoveNthControlPoint(last)
                    del have[n:]
                _insert_point(node, n, name)
                name_of[node.GetNthControlPointID(n)] = name
                have.insert(n, name)
        node.SetFixedNumberOfControlPoints(True)

    def _set_style(self, node: Node, state: CaseState, structure: str) -> None:
        """Colour by structure, labels off above :data:`MANY_POINTS`; also when somebody made the display node anew."""
        display = node.GetDisplayNode()
        many = len(state.landmarks) > MANY_POINTS
        style = (structure_style(state, structure).colour if structure else None, many)
        if display is None:
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
        if display.GetAttribute(_STYLE) == repr(style):
            return  # what a person changed since stays
        display.SetUndoEnabled(False)
        colour, _ = style
        if colour is not None:
            display.SetColor(*colour)
            display.SetSelectedColor(*colour)
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(not many if self.names_visible is None else self.names_visible)
        display.SetUseGlyphScale(True)
        display.SetGlyphScale(1.7 if many else 2.5)
        display.SetAttribute(_STYLE, repr(style))


# What a display node was given, on the node itself: a new one does not have it.
_STYLE = "DenseLandmarks.Style"


def _insert_point(node: Node, n: int, name: str) -> None:
    if n < node.GetNumberOfControlPoints():
        node.InsertControlPoint(n, [0.0, 0.0, 0.0], name)
    else:
        node.AddControlPoint(0.0, 0.0, 0.0, name)
    node.UnsetNthControlPointPosition(n)


def _show_point(node: Node, n: int, point_ras_mm: FloatArray, status: int) -> None:
    was = node.GetNthControlPointPositionStatus(n)
    if np.isfinite(point_ras_mm).all():
        moved = not np.abs(np.array(node.GetNthControlPointPosition(n)) - point_ras_mm).max() <= STILL_MM
        # An absent landmark keeps its best guess, unseen; setting a position makes it "defined" for a moment.
        if moved or (status == _DEFINED and was != _DEFINED):
            node.SetNthControlPointPosition(n, *point_ras_mm)
            was = _DEFINED
    if status == _MISSING and was != _MISSING:
        node.SetNthControlPointPositionMissing(n)
    elif status == _UNDEFINED and was != _UNDEFINED:
        node.UnsetNthControlPointPosition(n)
