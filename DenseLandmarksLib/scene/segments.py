"""The structures of a case as a segmentation node: a segment each, shown as the session says and compared with it.

Structures overlap, so each segment gets a label map of its own, as large as its mask. It does not stay like that: Slicer
merges label maps whenever it saves, and a person paints, crops, moves and resamples them. So what a segment holds is always
read through its label value and its place in the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import mutable

from DenseLandmarksLib.annotation.case_masks import structure_mask, structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.exports.segmentation import terminology_entry
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.scene.cropped_mask import CroppedMask
from DenseLandmarksLib.scene.image_in_scene import ImageInScene, to_world
from DenseLandmarksLib.scene.label_map import EXACT, LABEL_MAP, holds, label_map_of, mask_in, stamp
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.scene_text import node_name
from DenseLandmarksLib.scene.slicer_classes import class_beside

NODE_CLASS = "vtkMRMLSegmentationNode"
# Ribs and vessels are seen through it, at 0.25 they fade; the border is what is judged.
FILL_OPACITY, OUTLINE_OPACITY = 0.15, 1.0
# What Slicer calls them (vtkSegmentationConverter, vtkSlicerSegmentationsModuleLogic), in memory and in files.
_SURFACE = "Closed surface"
_REFERENCE_GEOMETRY = "Reference image geometry"
_STATUS, _REVIEW = "Segmentation.Status", "DenseLandmarks.Review"
# The place of what was not shown yet: no other is the same.
_NOWHERE = np.full((4, 4), np.nan)
# What a mask follows from: objects that nobody changes, compared by identity, and values, compared by equality.
_Source = tuple[tuple[Any, ...], tuple[Any, ...]]


class Segments:
    """The structures of one case in a scene: a segmentation node with a segment per structure, compared with what was shown.

    Attributes
    ----------
    node : ``None`` before the case has a structure. Segments are called by their structure; for their ID see
        :func:`segment_id`.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self.node: Node | None = None
        self._scene, self._case_name = scene, case_name
        self._shown: dict[str, _Shown] = {}
        # Segments that a person added, by the name under which they were told.
        self._added: dict[str, str] = {}
        self._lattice = ""  # as Slicer has it
        # Where image and node were when they were shown last.
        self._index_to_world = self._node_to_world = np.eye(4)
        self._index_to_node = _NOWHERE
        # Whether the fill, and which borders, are to be seen again when nothing is dragged any more; ``None`` while nothing is.
        self._before_drag: tuple[bool, dict[str, bool]] | None = None

    def adopt(self, node: Node, state: CaseState, image: ImageInScene) -> None:
        """Take over a node that came with a saved scene; what it holds is compared with ``state`` by :meth:`painted`."""
        self.node = node
        node.SetUndoEnabled(False)
        self._shown = {structure: _Shown.of(state, structure) for structure in state.structures}
        self._remember_place(image.index_to(node))
        self._index_to_node = _NOWHERE

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Bring the segments to what the case says; only what differs is touched.

        A segment that a person added stays until the case has its structure, see :meth:`painted`.
        """
        if not is_in(self._scene, self.node):
            self.node = None
            if not state.structures:
                return
            self._add_node()
        node = self.node
        assert node is not None
        image.take_along(node)
        _set_display(node)
        index_to_node = image.index_to(node)
        segmentation = node.GetSegmentation()
        reference = node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole())
        # A transform that is hardened takes it along.
        lattice = segmentation.GetConversionParameter(_REFERENCE_GEOMETRY)
        if (reference, lattice) != (image.volume.GetID(), self._lattice) or not np.array_equal(
            index_to_node, self._index_to_node
        ):
            # What is painted from now on, in the Segment Editor, is painted on the image's voxels, and merged on them when
            # the scene is saved.
            node.SetReferenceImageGeometryParameterFromVolumeNode(image.volume)
            self._lattice = segmentation.GetConversionParameter(_REFERENCE_GEOMETRY)
        self._index_to_node = index_to_node
        for structure in [structure for structure in self._shown if structure not in state.structures]:
            segmentation.RemoveSegment(segment_id(structure))
            del self._shown[structure]
        has_surfaces = segmentation.ContainsRepresentation(_SURFACE)
        if segmentation.GetSourceRepresentationName() != LABEL_MAP:  # somebody made surfaces of it all
            # Also of segments that a person added: one that has neither ends the process when Slicer saves the scene.
            segmentation.CreateRepresentation(LABEL_MAP)
            segmentation.SetSourceRepresentationName(LABEL_MAP)
        for structure in state.structures:
            self._show_segment(state, structure, index_to_node)
        ids = tuple(segmentation.GetSegmentIDs())
        ours = tuple(map(segment_id, state.structures))
        order = (*ours, *(other for other in ids if other not in ours))
        if ids != order:
            segmentation.ReorderSegments(order)
        if has_surfaces:
            segmentation.CreateRepresentation(_SURFACE)  # of the segments that lack it: those that changed
        self._remember_place(index_to_node)

    def painted(self, state: CaseState, image: ImageInScene) -> dict[str, NDArray[np.bool_]]:
        """Masks (Z, Y, X), on the image's voxels, of the structures whose segment a person changed since it was shown.

        A segment that a person added counts when it is not empty. It goes by its own name, made unique; once the case has a
        structure of that name, :meth:`show` makes the segment that structure's. Where only the image was moved, or its
        spacing corrected, nothing was painted: the segments follow when they are shown. Where only the segments were moved,
        all were painted.
        """
        node = self.node
        if node is None or not is_in(self._scene, node):
            return {}
        node_to_world = to_world(node)
        if node_to_world is None:  # under a transform that bends: it is put back where it belongs
            return {}
        stays = np.allclose(node_to_world, self._node_to_world, rtol=0, atol=EXACT)
        # A person's strokes lie on the image where it is now; a spacing that was just corrected moved it away from them.
        places = [image.index_to(node), np.asarray(np.linalg.solve(node_to_world, self._index_to_world))]
        segmentation, size = node.GetSegmentation(), state.geometry.size
        masks: dict[str, NDArray[np.bool_]] = {}
        for structure, shown in self._shown.items():
            segment = segmentation.GetSegment(segment_id(structure))
            if segment is None or (stays and shown.stamp == stamp(segment)):
                continue
            mask = mask_in(segment, places, size)
            if mask is None:
                continue
            if not mask.same_as(shown.mask):
                masks[structure] = mask.on_image(size)
            elif stays:  # merged, or the like; whether it lies exactly where it should is looked at when it is shown
                shown.stamp, shown.index_to_node = stamp(segment), _NOWHERE
        self._added = {}
        ours = set(map(segment_id, self._shown))
        for other in segmentation.GetSegmentIDs():
            if other in ours:
                continue
            segment = segmentation.GetSegment(other)
            mask = mask_in(segment, places, size)
            if mask is not None and mask.voxels.size:
                name = _unique(segment.GetName().strip() or other, {*state.structures, *self._added})
                self._added[name] = other
                masks[name] = mask.on_image(size)
        return masks

    def removed(self, state: CaseState) -> tuple[str, ...]:
        """Structures whose segment a person took away; none when the whole node is gone, which comes back when shown."""
        if self.node is None or not is_in(self._scene, self.node):
            return ()
        there = self.node.GetSegmentation().GetSegmentIDs()
        ours = (structure for structure in state.structures if structure in self._shown)
        return tuple(structure for structure in ours if segment_id(structure) not in there)

    def thin_out(self, but: str) -> None:
        """While a point is dragged leave only the border of its structure, ``but``: the image is seen.

        Slicer draws fill and border of each segment as a picture as large as the view, which takes most of the time.
        """
        display = self._display()
        if display is None or self._before_drag is not None:
            return
        others = [segment_id(structure) for structure in self._shown if structure != but]
        borders = {other: bool(display.GetSegmentVisibility2DOutline(other)) for other in others}
        self._before_drag = bool(display.GetVisibility2DFill()), borders
        was_modifying = display.StartModify()
        display.SetVisibility2DFill(False)
        for other in borders:
            display.SetSegmentVisibility2DOutline(other, False)
        display.EndModify(was_modifying)

    def fill_in(self) -> None:
        """Nothing is dragged any more: what a person chose to see is back."""
        display = self._display()
        if display is None or self._before_drag is None:
            return
        (fill, borders), self._before_drag = self._before_drag, None
        was_modifying = display.StartModify()
        display.SetVisibility2DFill(fill)
        for other, seen in borders.items():
            display.SetSegmentVisibility2DOutline(other, seen)
        display.EndModify(was_modifying)

    def _display(self) -> Node | None:
        return None if self.node is None or not is_in(self._scene, self.node) else self.node.GetDisplayNode()

    def remove(self) -> None:
        """Take our node, and nothing else, out of the scene."""
        remove_node(self._scene, self.node)
        self.node = None
        self._shown.clear()
        self._added.clear()

    def _add_node(self) -> None:
        self.node = self._scene.AddNewNodeByClass(
            NODE_CLASS, self._scene.GenerateUniqueName(node_name(f"{self._case_name} structures"))
        )
        self.node.SetUndoEnabled(False)  # the session's undo is the only one
        self._shown.clear()
        self._added.clear()
        self._index_to_node = _NOWHERE

    def _show_segment(self, state: CaseState, structure: str, index_to_node: FloatArray) -> None:
        assert self.node is not None
        segmentation = self.node.GetSegmentation()
        shown = self._shown[structure] = _Shown.of(state, structure, self._shown.get(structure))
        segment = self._claimed(structure) or segmentation.GetSegment(segment_id(structure))
        is_new = segment is None
        if is_new:
            segment = class_beside(segmentation, "vtkSegment")()
        _set_style(segment, state, structure)
        untouched = shown.stamp == stamp(segment) and np.array_equal(shown.index_to_node, index_to_node)
        if is_new or not (untouched or holds(segment, shown.mask, index_to_node, state.geometry.size)):
            labelmap = segment.GetRepresentation(LABEL_MAP)
            others = (segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments()))
            if any(other is not segment and other.GetRepresentation(LABEL_MAP) is labelmap for other in others):
                # Else its voxels stay behind in that of the others.
                segmentation.SeparateSegmentLabelmap(segment_id(structure))
            segment.RemoveRepresentation(_SURFACE)
            segment.SetLabelValue(1)
            segment.AddRepresentation(LABEL_MAP, label_map_of(segmentation, shown.mask, index_to_node))
        if is_new:
            segmentation.AddSegment(segment, segment_id(structure))
        shown.stamp, shown.index_to_node = stamp(segment), index_to_node

    def _claimed(self, structure: str) -> Any:
        """The segment that a person added and that has become this structure's, if there is one, called by its ID."""
        assert self.node is not None
        segmentation, wanted, now = self.node.GetSegmentation(), segment_id(structure), self._added.pop(structure, "")
        segment = segmentation.GetSegment(now)
        if segment is not None and now != wanted:
            if segmentation.GetSegment(wanted) is not None:  # added as well, and renamed to something else
                spare = segmentation.GenerateUniqueSegmentID(wanted)
                self._change_id(wanted, spare)
                self._added = {name: spare if added == wanted else added for name, added in self._added.items()}
            self._change_id(now, wanted)
        return segment

    def _change_id(self, now: str, wanted: str) -> None:
        """Have a segment go by another ID; who paints in it goes on painting in it."""
        assert self.node is not None
        segmentation = self.node.GetSegmentation()
        editors = [
            editor
            for editor in _nodes(self._scene, "vtkMRMLSegmentEditorNode")
            if editor.GetSegmentationNode() is self.node and editor.GetSelectedSegmentID() == now
        ]
        segment = segmentation.GetSegment(now)
        segmentation.RemoveSegment(now)
        segmentation.AddSegment(segment, wanted)
        for editor in editors:
            editor.SetSelectedSegmentID(wanted)

    def _remember_place(self, index_to_node: FloatArray) -> None:
        node_to_world = None if self.node is None else to_world(self.node)
        self._node_to_world = np.eye(4) if node_to_world is None else node_to_world
        self._index_to_world = self._node_to_world @ index_to_node


def segment_id(structure: str) -> str:
    """The ID of a structure's segment: its name, with what a scene file does not survive in an ID percent-encoded.

    Slicer writes ``&`` and control characters of an ID into the file as they are, which nobody can read back then, and takes
    ``|`` for the end of the segment.
    """
    return "".join(letter if letter.isprintable() and letter not in "%&|" else _percent(letter) for letter in structure)


def _percent(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())


@dataclass(eq=False)
class _Shown:
    """What is shown of a structure.

    Attributes
    ----------
    mask : of the structure.
    made_from : what it follows from, to see at little cost that it is the same as before.
    stamp : of the segment that holds it, ``None`` where nobody looked.
    index_to_node : from the image's voxels to the node's coordinates, when it was shown.
    """

    mask: CroppedMask
    made_from: _Source
    stamp: tuple[Any, ...] | None = None
    index_to_node: FloatArray = field(default_factory=lambda: _NOWHERE)

    @classmethod
    def of(cls, state: CaseState, structure: str, before: _Shown | None = None) -> _Shown:
        """A structure as the case says; ``before`` where nothing changed."""
        made_from = _made_from(state, structure)
        if before is not None and _is_same(made_from, before.made_from):
            return before
        return cls(CroppedMask.of(structure_mask(state, structure)), made_from)


def _made_from(state: CaseState, structure: str) -> _Source:
    """What :func:`structure_mask` looks at."""
    if structure in state.painted:
        return (state.painted[structure],), ()
    assert state.answer is not None
    prediction, landmarks = state.answer.prediction, state.landmarks
    rows = landmarks.of_structure(structure)
    values = (
        structure,
        state.geometry,
        landmarks.points_lps_mm[rows].tobytes(),
        landmarks.predicted_lps_mm[rows].tobytes(),
        [(landmarks.presence[row], landmarks.review[row]) for row in rows],
    )
    return (prediction.masks, prediction.grid), values


def _is_same(made_from: _Source, other: _Source) -> bool:
    (objects, values), (other_objects, other_values) = made_from, other
    return len(objects) == len(other_objects) and all(map(is_, objects, other_objects)) and values == other_values


def _set_style(segment: Any, state: CaseState, structure: str) -> None:
    """Name, colour, terms and review; the status that a person gave a segment stays until its review is another."""
    style, review = structure_style(state, structure), state.structure_review(structure)
    segment.SetNameAutoGenerated(False)  # else choosing other terms renames it
    segment.SetColorAutoGenerated(False)
    if segment.GetName() != structure:
        segment.SetName(structure)
    if not np.allclose(segment.GetColor(), style.colour, atol=1e-6):
        segment.SetColor(*style.colour)
    tags = {segment.GetTerminologyEntryTagName(): terminology_entry(style.terminology)}
    if _tag(segment, _REVIEW) != review:
        tags |= {_REVIEW: str(review), _STATUS: "notstarted" if review is Review.PREDICTED else "completed"}
    for name, value in tags.items():
        if _tag(segment, name) != value:
            segment.SetTag(name, value)


def _tag(segment: Any, name: str) -> str:
    value = mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _set_display(node: Node) -> None:
    """Choose how a node is shown for which nobody did."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetOpacity2DFill(FILL_OPACITY)
        node.GetDisplayNode().SetOpacity2DOutline(OUTLINE_OPACITY)


def _unique(name: str, taken: set[str]) -> str:
    made, number = name, 2
    while made in taken:
        made, number = f"{name} {number}", number + 1
    return made


def _nodes(scene: Any, node_class: str) -> list[Node]:
    return [scene.GetNthNodeByClass(n, node_class) for n in range(scene.GetNumberOfNodesByClass(node_class))]
