"""To Slicer's own Segment Editor and back: what is painted there is taken over."""

from __future__ import annotations

from typing import Any

import slicer

from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.segments import segment_id

# By these the Segment Editor finds its node (SegmentEditor.py).
_TAG, _CLASS = "SegmentEditor", "vtkMRMLSegmentEditorNode"


def edit_structures(scene: Any, segmentation: Node, volume: Node, structure: str) -> None:
    """Open the Segment Editor on a case's segmentation and image, with a structure's segment selected where it has one."""
    editor = _editor_node(scene)
    editor.SetAndObserveSegmentationNode(segmentation)
    editor.SetAndObserveSourceVolumeNode(volume)
    segment = segment_id(structure)
    if segmentation.GetSegmentation().GetSegment(segment) is not None:
        editor.SetSelectedSegmentID(segment)
    slicer.util.selectModule("SegmentEditor")


def _editor_node(scene: Any) -> Node:
    node = scene.GetSingletonNode(_TAG, _CLASS)
    if node is None:
        node = scene.CreateNodeByClass(_CLASS)
        node.UnRegister(None)
        node.SetSingletonTag(_TAG)
        node = scene.AddNode(node)
    return node
