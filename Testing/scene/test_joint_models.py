"""A chest whose model has masks and landmarks but no uv maps, in a scene: corrected, added to, saved and opened again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from Testing.annotation.perfect_answer import perfect_answer
from Testing.models.same_prediction import assert_same
from Testing.scene.open_cases import chest_library, everything_is_on_its_voxel, point_lps_mm
from Testing.scene.test_landmarks_only import drag, nodes

DRAGGED = "heart_05"


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    return chest_library(tmp_path, chest_template, 2)


def open_predicted(desk: Desk, library: Library, number: int, template: Template) -> CaseInScene:
    """A case of the library as a joint model says it; no revision holds it yet."""
    case = desk.open(library.case(library.cases()[number].id))
    image, _ = case.session.case.read_image(case.session.state.geometry)
    answer = perfect_answer(template, image)
    case.session.take(replace(answer, prediction=replace(answer.prediction, uv_field=None)), image.geometry)
    case.poll()
    return case


@pytest.fixture
def case(desk: Desk, library: Library, chest_template: Template) -> CaseInScene:
    return open_predicted(desk, library, 0, chest_template)


def mask_of(case: CaseInScene, structure: str) -> np.ndarray:
    """Which pixels of the image a structure has."""
    return structure_mask(case.session.state, structure)[0]


def contour_px(case: CaseInScene, structure: str) -> np.ndarray:
    landmarks = case.session.state.landmarks
    rows = [row for row, one in enumerate(landmarks.structures) if one == structure]
    return case.session.state.index_ijk[rows][:, :2]


def test_structures_and_lists_are_shown_and_no_field(case: CaseInScene, scene: Any, chest_template: Template) -> None:
    assert set(case.lists.nodes) == set(chest_template.structure_names)
    assert nodes(scene, "vtkMRMLVectorVolumeNode") == 0
    assert case.segments.node.GetSegmentation().GetNumberOfSegments() == len(chest_template.structure_names)
    assert everything_is_on_its_voxel(case)


def test_a_drag_takes_its_neighbours_and_the_outline_along_and_undo_brings_all_back(case: CaseInScene) -> None:
    before, mask = case.session.state.landmarks.points_lps_mm.copy(), mask_of(case, "heart").copy()
    drag(case, DRAGGED, (-12.0, 0.0, 0.0))
    moved = np.linalg.norm(case.session.state.landmarks.points_lps_mm - before, axis=1)
    names = case.session.state.landmarks.names
    assert moved[names.index(DRAGGED)] == pytest.approx(12)
    assert 3 < moved[names.index("heart_06")] < 12
    assert moved[[name.startswith("left_lung") for name in names]].max() == 0
    after = mask_of(case, "heart")
    outline = polygon_mask(contour_px(case, "heart"), after.shape)
    assert (after != mask).sum() > 10
    assert (after != outline).sum() < 0.1 * outline.sum()
    assert everything_is_on_its_voxel(case)
    case.undo()
    np.testing.assert_array_equal(case.session.state.landmarks.points_lps_mm, before)
    np.testing.assert_array_equal(mask_of(case, "heart"), mask)


def test_a_new_landmark_is_found_in_the_next_case_by_the_warp_of_the_template(
    case: CaseInScene, desk: Desk, library: Library, chest_template: Template
) -> None:
    at = case.session.state.landmarks.points_lps_mm[:50].mean(axis=0)
    case.session.define_landmark("hilum", at, "right_lung")
    case.save()
    other = open_predicted(desk, library, 1, chest_template)
    landmarks = other.session.state.landmarks
    row = landmarks.names.index("hilum")
    assert landmarks.presence[row] is Presence.PRESENT
    # Both are the template's mean pose.
    np.testing.assert_allclose(point_lps_mm(other, "hilum"), at, atol=0.5)
    assert np.trace(landmarks.covariance_mm2[row]) > 0


def test_it_is_saved_and_opened_again_as_it_was(case: CaseInScene, desk: Desk, library: Library) -> None:
    drag(case, DRAGGED, (-6.0, 0.0, 3.0))
    case.save()
    state = case.session.state
    again = Session(library.case(case.session.case.id), "somebody else", data_folder=desk.data_folder)
    assert again.state.answer is not None
    assert state.answer is not None
    assert again.state.answer.prediction.uv_field is None
    assert_same(again.state.answer.prediction, state.answer.prediction)
    np.testing.assert_array_equal(again.state.landmarks.points_lps_mm, state.landmarks.points_lps_mm)
    for structure in state.structures:
        np.testing.assert_array_equal(structure_mask(again.state, structure), structure_mask(state, structure))
    again.close()
