"""A person presses "Why here?" in the page and sees over the image what spoke for the selected landmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.worker.client import Worker
from Testing.annotation.perfect_answer import perfect_answer
from Testing.models.neck_finder import LEFT, NAMES, RIGHT, centres_lps_mm, marked_volume
from Testing.scene.open_cases import chest_library, edits_on_disk
from Testing.scene.test_ellipses import node_ids
from Testing.web.test_app import SIZE, Person
from Testing.web.with_model import come_with_model

TO_RAS = np.array([-1.0, -1.0, 1.0])
SLICES = ("Red", "Yellow", "Green")
FINE, COARSE = "Fine heatmap", "Coarse heatmap"


@pytest.fixture
def chest(tmp_path: Path, chest_template: Template) -> Iterator[Person]:
    """At the page, with a chest whose model made no error, and is as sure as the shipped one."""
    library = chest_library(tmp_path, chest_template, 2)
    anna = Person(library.folder, tmp_path / "user")
    anna.opens("chest-0")
    session = anna.bench.session
    image, _ = session.case.read_image(session.state.geometry)
    answer = perfect_answer(chest_template, image)
    field = answer.prediction.uv_field
    assert field is not None
    unsure = replace(field, uv_scale=np.full_like(field.uv, 0.05))
    session.take(replace(answer, prediction=replace(answer.prediction, uv_field=unsure)), image.geometry)
    anna.page.tick()
    yield anna
    anna.leaves()


@pytest.fixture
def neck(tmp_path: Path, volume_bundle: Path, warm_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """At the page, with an oblique volume that the worker predicted."""
    sitk.WriteImage(marked_volume().volume, tmp_path / "neck.nrrd")
    anna = come_with_model(tmp_path, [tmp_path / "neck.nrrd"], volume_bundle, warm_worker, monkeypatch)
    yield anna
    anna.leaves()


def picture(anna: Person, view: str = "Red") -> np.ndarray:
    """What the browser is sent, the first row on top."""
    anna.page.views.views[view].pictures._catch_up()
    pixels, columns, rows = anna.page.views.views[view].pictures.rca.img_cols_rows
    return np.array(pixels, float).reshape(rows, columns, -1)[:, :, :3]


def middle_of(change: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(change.shape)
    weight = change**2
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def pixel_of(anna: Person, view: str, world_ras_mm: np.ndarray) -> np.ndarray:
    """Column and row, the first row on top, where a point of the world is seen."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    vtkMatrix4x4.Invert(anna.page.views.views[view].node.GetXYToRAS(), matrix)
    x, y = matrix.MultiplyPoint((*world_ras_mm, 1.0))[:2]
    return np.array([x, SIZE - 1 - y])


def test_a_press_shows_it_on_the_landmark_and_another_takes_it_away(chest: Person, tmp_path: Path) -> None:
    assert chest.sees("why_problem") == "Choose a landmark in the table first."
    name = "heart_05"
    chest.does("pick", name)
    assert chest.sees("why_problem") == ""
    before, nodes = picture(chest), node_ids(chest.scene)
    chest.does("why_here")
    assert chest.sees("why_on")
    assert not chest.sees("why_busy")
    assert chest.sees("why_maps") == ["Template coordinate"]
    assert chest.sees("why_line").startswith("How likely each pixel of heart is this point of the template")
    change = np.abs(picture(chest) - before).sum(axis=2)
    assert change.max() > 100
    at = pixel_of(chest, "Red", chest.bench.case.world_ras_mm(name))
    field_pixel = 2.8 / chest.view.node.GetFieldOfView()[0] * SIZE
    assert np.linalg.norm(middle_of(change) - at) < 4 * field_pixel
    assert change[round(at[1]) - 12 : round(at[1]) + 12, round(at[0]) - 12 : round(at[0]) + 12].max() == change.max()
    assert (change == 0).mean() > 0.7
    chest.does("why_here")
    assert not chest.sees("why_on")
    assert chest.sees("why_line") == ""
    np.testing.assert_array_equal(picture(chest), before)
    assert node_ids(chest.scene) == nodes
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction"]


def test_it_goes_with_its_landmark_and_with_its_case(chest: Person) -> None:
    chest.does("pick", "heart_05")
    nodes = node_ids(chest.scene)
    chest.does("why_here")
    assert len(node_ids(chest.scene) - nodes) == 2
    chest.does("pick", "heart_06")
    assert not chest.sees("why_on")
    assert node_ids(chest.scene) == nodes
    chest.does("why_here")
    overlay = node_ids(chest.scene) - nodes
    chest.opens("chest-1")
    assert not chest.sees("why_on")
    assert chest.sees("why_problem") == "Predict first: only a model can say why."
    assert not overlay & node_ids(chest.scene)


def test_opacity_is_the_persons_and_nonsense_is_not_taken(chest: Person) -> None:
    chest.does("pick", "heart_05")
    before = picture(chest)
    chest.does("why_here")
    strong = np.abs(picture(chest) - before).sum(axis=2)
    chest.does("why_strength", 20)
    assert chest.sees("why_percent") == 20
    faint = np.abs(picture(chest) - before).sum(axis=2)
    seen = strong > 60
    assert faint[seen].mean() == pytest.approx(strong[seen].mean() * 20 / 70, rel=0.15)
    for nonsense in ("much", None, -5, 900):
        chest.does("why_strength", nonsense)
        assert 10 <= chest.sees("why_percent") <= 100
    chest.does("why_map", "no such map")
    assert chest.sees("why_shown") == "Template coordinate"


def test_both_heatmaps_of_a_volume_lie_on_the_landmark_in_all_views(neck: Person, tmp_path: Path) -> None:
    centres = dict(zip(NAMES, centres_lps_mm(neck.bench.state.geometry), strict=True))
    for name in NAMES:
        neck.does("pick", name)
        before = {view: picture(neck, view) for view in SLICES}
        neck.does("why_here")
        assert neck.sees("why_busy")
        assert neck.sees("why_line")
        neck.until(lambda: not neck.sees("why_busy"))
        assert neck.sees("why_maps") == [FINE, COARSE]
        for which, spacing_mm in ((FINE, 2.0), (COARSE, 4.0)):
            neck.does("why_map", which)
            assert neck.sees("why_shown") == which
            assert f"{spacing_mm:g} mm" in neck.sees("why_line")
            for view in SLICES:
                change = np.abs(picture(neck, view) - before[view]).sum(axis=2)
                assert change.max() > 100, (name, which, view)
                mm_per_pixel = neck.page.views.views[view].node.GetFieldOfView()[0] / SIZE
                off_mm = (middle_of(change) - pixel_of(neck, view, centres[name] * TO_RAS)) * mm_per_pixel
                assert np.linalg.norm(off_mm) < spacing_mm, (name, which, view)
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction"]


def test_a_question_is_given_up_at_a_second_press_and_with_its_landmark(neck: Person) -> None:
    neck.does("pick", LEFT)
    for give_up in (("why_here",), ("pick", RIGHT)):
        neck.does("why_here")
        assert neck.sees("why_busy")
        neck.does(*give_up)
        assert not neck.sees("why_busy")
        assert not neck.sees("why_on")
    neck.does("why_here")  # the worker answers the next
    neck.until(lambda: not neck.sees("why_busy"))
    assert neck.sees("why_shown") == FINE
