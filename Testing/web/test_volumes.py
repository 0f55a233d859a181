"""A volume in the page: predicted by the worker, seen in four views, corrected with the mouse, saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.worker.client import Worker
from Testing.models.neck_finder import LEFT, NAMES, RIGHT, SPACING_MM, centres_lps_mm, marked_volume
from Testing.scene.open_cases import edits_on_disk, everything_is_on_its_voxel, point_lps_mm, world_ras_mm
from Testing.web.test_app import SIZE, Person
from Testing.web.with_model import come_with_model

# The balls are drawn on voxels of up to 2 mm.
NEAR_MM = 0.5
TO_RAS = np.array([-1.0, -1.0, 1.0])
SLICES, SPACE = ("Red", "Yellow", "Green"), "Space"


@pytest.fixture
def anna(tmp_path: Path, volume_bundle: Path, warm_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """At the page, with an oblique volume that the worker predicted at the press of the button."""
    sitk.WriteImage(marked_volume().volume, tmp_path / "neck.nrrd")
    anna = come_with_model(tmp_path, [tmp_path / "neck.nrrd"], volume_bundle, warm_worker, monkeypatch)
    assert anna.sees("predict_said").startswith("2 of 2 landmarks by neck-finder")
    yield anna
    anna.leaves()


def looks_at(anna: Person, view: str) -> None:
    """Have the mouse over another view."""
    anna.view = anna.page.views.views[view]


def picture(anna: Person, view: str) -> np.ndarray:
    pixels, *_ = anna.page.views.views[view].pictures.rca.img_cols_rows
    return np.array(pixels, int)


def test_landmarks_are_where_they_are_and_seen_in_four_views(anna: Person) -> None:
    case = anna.bench.case
    assert not anna.sees("is_radiograph")
    assert all(view.pictures.is_in_sight for view in anna.page.views.views.values())
    for name, centre in zip(NAMES, centres_lps_mm(case.session.state.geometry), strict=True):
        np.testing.assert_allclose(world_ras_mm(case, name), centre * TO_RAS, atol=NEAR_MM)
    assert everything_is_on_its_voxel(case)
    for name in NAMES:
        anna.does("pick", name, False, False)
        for view in SLICES:
            looks_at(anna, view)
            assert anna.pixel_of(name) == (SIZE // 2, SIZE // 2), view
    with_all = {view: picture(anna, view) for view in (*SLICES, SPACE)}
    anna.chooses(ellipses=False)
    for view, before in with_all.items():
        changed = np.abs(picture(anna, view) - before).sum(axis=2) > 30
        assert changed.sum() > 100, f"no ellipsoid in {view}"
        rows, columns = np.nonzero(changed)
        assert (np.median(rows), np.median(columns)) == (pytest.approx(SIZE / 2, abs=120),) * 2


@pytest.mark.parametrize("view", SLICES)
def test_a_landmark_that_is_dragged_in_a_slice_is_where_it_was_dropped(anna: Person, view: str, tmp_path: Path) -> None:
    case = anna.bench.case
    anna.does("pick", LEFT, False, False)
    looks_at(anna, view)
    before, other = point_lps_mm(case, LEFT), point_lps_mm(case, RIGHT)
    x, y = anna.pixel_of(LEFT)
    anna.drags((x, y), (x + 120, y + 80))
    dropped_ras_mm = np.array(anna.view.node.GetXYToRAS().MultiplyPoint((x + 120, y + 80, 0, 1))[:3])
    np.testing.assert_allclose(point_lps_mm(case, LEFT), dropped_ras_mm * TO_RAS, atol=min(SPACING_MM) / 2)
    assert np.linalg.norm(point_lps_mm(case, LEFT) - before) > 3
    np.testing.assert_array_equal(point_lps_mm(case, RIGHT), other)
    assert anna.row(LEFT)["state"] == "corrected"
    anna.does("undo")
    np.testing.assert_array_equal(point_lps_mm(case, LEFT), before)
    assert edits_on_disk(tmp_path / "user")[:2] == ["TakePrediction", "Move"]


def test_absent_saved_and_opened_again(anna: Person) -> None:
    anna.does("pick", RIGHT)
    anna.does("absent")
    assert anna.row(RIGHT)["state"] == "absent"
    anna.does("save")
    assert anna.sees("saved_line") == "neck: revision 1"
    expected = anna.bench.state.landmarks.points_lps_mm
    anna.bench.case.close()
    anna.page.tick()
    anna.opens("neck")
    assert anna.row(RIGHT)["state"] == "absent"
    np.testing.assert_array_equal(anna.bench.state.landmarks.points_lps_mm, expected)


def test_what_makes_no_sense_for_a_volume_is_not_offered_or_says_why(anna: Person) -> None:
    assert not anna.sees("can_be_turned")
    assert not anna.sees("can_type_spacing")
    assert not anna.sees("has_structures")
    assert "each landmark by itself" in anna.sees("why_no_strength")
    anna.chooses(new_name="hyoid")
    assert anna.sees("new_problem") == ""
    assert "of this image alone" in anna.sees("new_tip")
    assert [one["title"] for one in anna.sees("structures")] == ["None", "left carotid", "right carotid"]
    anna.does("pick", LEFT)
    looks_at(anna, "Green")
    anna.does("new_landmark")
    anna.clicks(300, 500)
    assert anna.row("hyoid")["state"] == "placed"
    assert not anna.sees("message").startswith("expected")
