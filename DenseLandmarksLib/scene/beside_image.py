"""The nodes of a case in a folder beside its image, in the tree of Slicer's Data module.

The tree is the subject hierarchy: with DICOM images patient, study and series. A case belongs to the image's study.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vtkmodules.vtkCommonCore import vtkIdList

from DenseLandmarksLib.scene.nodes import Node, is_in
from DenseLandmarksLib.scene.scene_text import node_name

_TREE = "vtkMRMLSubjectHierarchyNode"
_OURS = "DenseLandmarks.Case"


class BesideImage:
    """The folder of one case; nothing happens in a scene without the tree."""

    def __init__(self, scene: Any, case_name: str) -> None:
        self._scene, self._name = scene, node_name(case_name)
        self._folder: int | None = None
        # Where a person moves them they stay.
        self._placed: set[str] = set()

    def show(self, volume: Node, nodes: Iterable[Node]) -> None:
        """Have ``nodes`` in the folder, each once; those that came with a saved scene bring their folder along."""
        tree = self._scene.GetFirstNodeByClass(_TREE)
        if tree is None:
            return
        self._forget_what_is_gone(tree)
        for node in nodes:
            item = tree.GetItemByDataNode(node)
            if item == tree.GetInvalidItemID():
                tree.CreateItem(self._need_folder(tree, volume), node)
            elif node.GetID() not in self._placed:
                above = tree.GetItemParent(item)
                if self._is_ours(tree, above):
                    self._folder = above
                else:
                    tree.SetItemParent(item, self._need_folder(tree, volume))
            self._placed.add(node.GetID())

    def remove(self) -> None:
        """Take the folder away unless a person keeps something else in it."""
        tree = self._scene.GetFirstNodeByClass(_TREE)
        if tree is not None and self._is_ours(tree, self._folder) and not self._has_other_nodes(tree):
            tree.RemoveItem(self._folder, False, True)
        self._folder = None
        self._placed.clear()

    def _need_folder(self, tree: Any, volume: Node) -> int:
        if self._folder is None or not self._is_ours(tree, self._folder):
            item = tree.GetItemByDataNode(volume)
            known = item != tree.GetInvalidItemID()
            self._folder = tree.CreateFolderItem(
                tree.GetItemParent(item) if known else tree.GetSceneItemID(), self._name
            )
            tree.SetItemAttribute(self._folder, _OURS, self._name)
        return self._folder

    def _is_ours(self, tree: Any, item: int | None) -> bool:
        if item is None or item == tree.GetInvalidItemID() or item == tree.GetSceneItemID():
            return False
        return bool(tree.HasItemAttribute(item, _OURS)) and tree.GetItemAttribute(item, _OURS) == self._name

    def _has_other_nodes(self, tree: Any) -> bool:
        """Whether a node is in the folder that is still in the scene: ours are not any more."""
        return any(self._is_there(tree, item) for item in _below(tree, self._folder))

    def _is_there(self, tree: Any, item: int) -> bool:
        """Whether an item of the tree is a node of the scene; one that was removed may still be known to it."""
        node = tree.GetItemDataNode(item)
        return node is not None and is_in(self._scene, node)

    def _forget_what_is_gone(self, tree: Any) -> None:
        """The application takes a node out of the tree when it is removed; a scene without it does not."""
        if not self._is_ours(tree, self._folder):
            return
        for item in _below(tree, self._folder):
            if not tree.GetItemLevel(item) and not self._is_there(tree, item):
                tree.RemoveItem(item, False, False)


def _below(tree: Any, folder: int | None) -> list[int]:
    items = vtkIdList()
    tree.GetItemChildren(folder, items, True)
    return [items.GetId(n) for n in range(items.GetNumberOfIds())]
