"""Where a case is in the tree of the Data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.annotation.perfect_answer import chest_image
from Testing.scene.open_cases import predict
from Testing.scene.saved_scene import read_scene, save_scene


@pytest.fixture
def tree(scene: Any) -> Any:
    """The subject hierarchy, which the application puts into each scene."""
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def children(tree: Any, item: int) -> list[str]:
    from vtkmodules.vtkCommonCore import vtkIdList

    ids = vtkIdList()
    tree.GetItemChildren(item, ids)
    return [tree.GetItemName(ids.GetId(n)) for n in range(ids.GetNumberOfIds())]


def opened(desk: Desk, library: Library, tree: Any, scene: Any, template: Template) -> tuple[Any, int]:
    """A case of a volume that is in a study, predicted; and the study's item."""
    volume = add_volume_node(scene, chest_image(template, 128, 0))
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "study")
    tree.CreateItem(study, volume)
    case = desk.open_volume(volume, library)
    predict(case.session, template)
    case.settle()
    return case, study


def test_a_case_is_in_the_study_of_its_image(
    scene: Any, desk: Desk, library: Library, tree: Any, chest_template: Template
) -> None:
    case, study = opened(desk, library, tree, scene, chest_template)
    assert len(children(tree, study)) == 2
    folder = tree.GetItemParent(tree.GetItemByDataNode(case.segments.node))
    assert tree.GetItemParent(folder) == study
    assert len(children(tree, folder)) == len(case.lists.nodes) + 1
    case.close()
    assert len(children(tree, study)) == 1, "the folder is left behind"


def test_what_a_person_moves_elsewhere_stays_there(
    scene: Any, desk: Desk, library: Library, tree: Any, chest_template: Template
) -> None:
    case, study = opened(desk, library, tree, scene, chest_template)
    item = tree.GetItemByDataNode(case.segments.node)
    folder = tree.GetItemParent(item)
    tree.SetItemParent(item, study)
    mine = scene.AddNewNodeByClass("vtkMRMLTextNode", "notes")
    tree.CreateItem(folder, mine)
    case.session.mark_absent(case.session.state.landmarks.names[0])
    assert tree.GetItemParent(item) == study
    case.close()
    assert tree.GetItemByDataNode(mine) != tree.GetInvalidItemID(), "a person's own node was taken out of the tree"
    assert tree.GetItemParent(tree.GetItemByDataNode(mine)) == folder


def test_a_saved_scene_keeps_one_folder(
    scene: Any, desk: Desk, library: Library, tree: Any, chest_template: Template, tmp_path: Path
) -> None:
    opened(desk, library, tree, scene, chest_template)
    path = save_scene(scene, tmp_path / "saved.mrb")
    desk.close()
    scene.Clear(False)
    read_scene(path, scene)
    (case,) = desk.reopen()
    tree = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    folder = tree.GetItemParent(tree.GetItemByDataNode(case.segments.node))
    study = tree.GetItemParent(folder)
    assert tree.GetItemName(study) == "study"
    assert len(children(tree, study)) == 2
