"""A radiograph whose model finds landmarks without masks, in a scene: one list, no segments, a new landmark by a click."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from Testing.models.disc_finder import NAMES, STRUCTURE, lps_of, marked_hand, patient
from Testing.scene.open_cases import control_point, everything_is_on_its_voxel, point_lps_mm, world_ras_mm


@pytest.fixture
def case(desk: Desk, tmp_path: Path, heatmap_bundle: Path) -> CaseInScene:
    """The radiograph of a hand without a ring finger, predicted by the real model; no revision holds it yet."""
    library = Library.create(tmp_path / "library", "hands")
    path = tmp_path / "hand.nrrd"
    sitk.WriteImage(marked_hand(patient(1), lost=("ring",)).volume, str(path))
    case = desk.open(library.add(path))
    model = read_description(heatmap_bundle)
    image, _ = case.session.case.read_image()
    prediction = open_predictor(str(heatmap_bundle), "cpu").predict(image)
    case.session.take(ModelAnswer(prediction, model.template, model.styles), image.geometry)
    case.poll()
    return case


def test_the_landmarks_are_in_one_list_where_they_are(case: CaseInScene, scene: Any) -> None:
    assert set(case.lists.nodes) == {STRUCTURE}
    assert everything_is_on_its_voxel(case)
    for name, truth in zip(NAMES, lps_of(patient(1)), strict=True):
        if name != "ring":
            assert np.linalg.norm(world_ras_mm(case, name) * [-1, -1, 1] - truth) < 0.25
    assert scene.GetNumberOfNodesByClass("vtkMRMLVectorVolumeNode") == 0, "there is no uv field"
    segments = case.segments.node
    assert segments is None or segments.GetSegmentation().GetNumberOfSegments() == 0


def test_what_is_dragged_is_corrected_and_what_is_defined_joins_the_list(case: CaseInScene) -> None:
    before = point_lps_mm(case, "thumb")
    node, row = control_point(case, "thumb")
    node.SetNthControlPointPosition(row, *(np.array(node.GetNthControlPointPosition(row)) + [3.0, 0.0, 2.0]))
    case.settle()
    np.testing.assert_allclose(point_lps_mm(case, "thumb") - before, [-3.0, 0.0, 2.0], atol=1e-6)
    landmarks = case.session.state.landmarks
    assert landmarks.review[landmarks.names.index("thumb")] is Review.CORRECTED
    case.session.define_landmark("web", lps_of(patient(1))[[0, 5, 6]].mean(axis=0))
    case.poll()
    assert everything_is_on_its_voxel(case)
    assert "web" in case.lists.names_of(STRUCTURE)
