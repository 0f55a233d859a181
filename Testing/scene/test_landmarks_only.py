"""A volume whose model finds landmarks only, in a scene: lists, ellipsoids and no segments; saved and opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.predicting import Predicting
from DenseLandmarksLib.scene.volume_node import add_volume_node
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.worker.client import Worker
from Testing.annotation.perfect_answer import chest_image
from Testing.models.same_prediction import assert_same
from Testing.models.volume_model import NAMES, PerfectVolumeModel, neck_volume, write_volume_bundle
from Testing.scene.open_cases import (
    control_point,
    edits_on_disk,
    everything_is_on_its_voxel,
    point_lps_mm,
)
from Testing.scene.saved_scene import read_scene, save_scene

LEFT, RIGHT, SPINE, HYOID = NAMES


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library of one volume."""
    library = Library.create(tmp_path / "library", "necks")
    path = tmp_path / "neck.nrrd"
    sitk.WriteImage(neck_volume().volume, str(path))
    library.add(path)
    return library


@pytest.fixture
def case(desk: Desk, library: Library) -> CaseInScene:
    """The volume, predicted; no revision holds it yet."""
    case = desk.open(library.case(library.cases()[0].id))
    take(case.session)
    case.poll()
    return case


def take(session: Session) -> None:
    image, _ = session.case.read_image(session.state.geometry)
    session.take(ModelAnswer(PerfectVolumeModel().predict(image), None, ()), image.geometry)


def drag(case: CaseInScene, name: str, by_ras_mm: tuple[float, float, float]) -> None:
    """As Slicer does it: an interaction begins, the point is elsewhere, the interaction ends."""
    node, row = control_point(case, name)
    node.SetNthControlPointPosition(row, *(np.array(node.GetNthControlPointPosition(row)) + by_ras_mm))
    case.settle()


def nodes(scene: Any, node_class: str) -> int:
    return int(scene.GetNumberOfNodesByClass(node_class))


def test_each_structure_has_its_list_and_there_are_no_masks(case: CaseInScene, scene: Any) -> None:
    assert set(case.lists.nodes) == {"carotids", "spine", "neck"}
    assert everything_is_on_its_voxel(case)
    assert nodes(scene, "vtkMRMLVectorVolumeNode") == 0, "there is no uv field"
    segments = case.segments.node
    assert segments is None or segments.GetSegmentation().GetNumberOfSegments() == 0


def test_a_dragged_landmark_is_corrected_alone(case: CaseInScene, user: Path) -> None:
    before = case.session.state.landmarks.points_lps_mm.copy()
    drag(case, LEFT, (4.0, 2.0, -3.0))
    assert edits_on_disk(user)[-1] == "Move"
    np.testing.assert_allclose(point_lps_mm(case, LEFT) - before[0], [-4.0, -2.0, -3.0], atol=1e-6)
    np.testing.assert_array_equal(case.session.state.landmarks.points_lps_mm[1:], before[1:])
    assert everything_is_on_its_voxel(case)
    case.undo()
    np.testing.assert_array_equal(case.session.state.landmarks.points_lps_mm, before)
    assert everything_is_on_its_voxel(case)


def test_a_saved_scene_goes_on(case: CaseInScene, desk: Desk, library: Library, tmp_path: Path, user: Path) -> None:
    drag(case, LEFT, (4.0, 2.0, -3.0))
    case.save("first look")
    case.session.mark_absent(SPINE)
    case.poll()
    expected = case.session.state
    scene = read_scene(save_scene(case.image.volume.GetScene(), tmp_path / "scene.mrb"))
    desk.close()
    (again,) = Desk(scene, "an annotator", [].append, tmp_path / "elsewhere").reopen(library)
    landmarks = again.session.state.landmarks
    assert landmarks.presence[NAMES.index(SPINE)] is Presence.ABSENT
    assert landmarks.review[NAMES.index(LEFT)] is Review.CORRECTED
    np.testing.assert_allclose(landmarks.points_lps_mm, expected.landmarks.points_lps_mm, atol=1e-6)
    assert_same(again.session.state.answer, expected.answer)
    assert everything_is_on_its_voxel(again)


def test_a_workbench_follows_a_volume(scene: Any, library: Library, user: Path, launch: Any) -> None:
    told: list[str] = []
    bench = Workbench(scene, "an annotator", told.append, lambda: Worker(launch), user)
    bench.open_library(library.folder)
    case = bench.desk.open(library.case(library.cases()[0].id))
    volume = case.image.volume
    assert bench.take_volume(volume) is case
    take(case.session)
    bench.poll()
    assert bench.worklist.names[0] == HYOID
    before = bench.version
    assert bench.do(Session.accept, LEFT)
    bench.poll()
    assert bench.version > before
    take(case.session)  # the same once more is another prediction
    bench.poll()
    assert bench.worklist.names[0] == HYOID
    bench.close()


def test_a_model_for_other_images_is_told_before_a_worker_is_asked(
    scene: Any, tiny_bundle: Path, chest_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_worker() -> Worker:
        raise AssertionError("a worker was asked")

    write_volume_bundle(tmp_path / "shipped" / "neck")
    write_volume_bundle(tmp_path / "shipped" / "a-phantom", demonstration=True)
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    predicting = Predicting(no_worker)
    film, scan = add_volume_node(scene, chest_image(chest_template, 64)), add_volume_node(scene, neck_volume())
    assert predicting.missing(film, str(tiny_bundle)) == predicting.missing(scan, "neck") == ""
    assert "Choose a model for volumes: neck, a-phantom; or" in predicting.missing(scan, str(tiny_bundle))
    assert predicting.missing(film, "neck").startswith("expected a volume for the model neck, got")
