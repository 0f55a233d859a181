"""Nodes of ours in somebody else's scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Node = Any
"""A vtkMRML node: this room makes them by name through the scene it is given, and never imports Slicer."""


def is_in(scene: Any, node: Node | None) -> bool:
    """Whether a node is in the scene still; anybody can remove it."""
    return node is not None and scene.IsNodePresent(node) != 0


def remove_node(scene: Any, node: Node | None) -> None:
    """Take a node out of the scene, with the display and storage nodes that nothing else uses."""
    if node is None or not is_in(scene, node):
        return
    attached = []
    for role in ("display", "storage"):
        attached += [node.GetNthNodeReference(role, n) for n in range(node.GetNumberOfNodeReferences(role))]
    scene.RemoveNode(node)
    for other in attached:
        if other is not None and is_in(scene, other) and not _is_used(scene, other):
            scene.RemoveNode(other)


@contextmanager
def place_list_kept(scene: Any) -> Iterator[None]:
    """Lists that are added meanwhile are not those that the next point is placed in, which Slicer makes every new one."""
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    before = None if selection is None else (selection.GetActivePlaceNodeID(), selection.GetActivePlaceNodeClassName())
    yield
    if before is not None:
        selection.SetReferenceActivePlaceNodeID(before[0])
        selection.SetReferenceActivePlaceNodeClassName(before[1])


def _is_used(scene: Any, node: Node) -> bool:
    """Whether another node of the scene refers to this one."""
    others = (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes()))
    return any(scene.IsNodeReferencingNodeID(other, node.GetID()) for other in others)
