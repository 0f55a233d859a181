"""A radiograph in the page whose model finds landmarks without masks: predicted, corrected, explained, added to, kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.worker.client import Worker
from Testing.annotation.test_heatmap_session import between
from Testing.geometry.dicom_files import write_dicom
from Testing.models.disc_finder import (
    NAMES,
    RADIUS_MM,
    SPACING_MM,
    lps_of,
    marked_hand,
    patient,
    write_disc_finder,
    write_hand,
)
from Testing.panel.test_heatmap_model import GRID_PIXEL_MM, LOST, MAPS, TO_RAS
from Testing.panel.test_why_here import brightest_ras_mm
from Testing.scene.open_cases import edits_on_disk, everything_is_on_its_voxel, point_lps_mm
from Testing.web.test_app import SIZE, Person
from Testing.web.test_why_here import picture, pixel_of
from Testing.web.with_model import come_with_model, open_and_predict

Hands = Callable[..., Person]


@pytest.fixture
def hands(
    tmp_path: Path, heatmap_bundle: Path, warm_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hands]:
    """``hands(*files)``: at the page with these radiographs in the library, the first predicted."""
    there = []

    def come(*files: Path, model: Path = heatmap_bundle) -> Person:
        there.append(come_with_model(tmp_path, list(files), model, warm_worker, monkeypatch))
        return there[-1]

    yield come
    for anna in there:
        anna.leaves()


@pytest.fixture
def hand(hands: Hands, tmp_path: Path) -> Person:
    """With a hand without a ring finger, and another."""
    first = write_hand(tmp_path / "hand-1.nrrd", 1, lost=(LOST,))
    return hands(first, write_hand(tmp_path / "hand-2.nrrd", 2))


def test_its_landmarks_are_listed_where_they_are_and_corrected_alone(hand: Person, tmp_path: Path) -> None:
    assert hand.sees("predict_said").startswith("6 of 7 landmarks by disc-finder")
    assert hand.sees("doubts") == ""
    assert hand.sees("left_text") == "7 of 7 left"
    assert hand.sees("rows")[0]["state"] == "absent?"  # the most doubtful first
    assert {row["structure"] for row in hand.sees("rows")} == {"hand"}
    assert all(row["doubt"].startswith("±") for row in hand.sees("rows") if row["name"] != LOST)
    case = hand.bench.case
    assert everything_is_on_its_voxel(case)
    before = {name: point_lps_mm(case, name) for name in NAMES}
    x, y = hand.pixel_of("thumb")
    hand.drags((x, y), (x + 40, y + 20))
    assert hand.row("thumb")["state"] == "corrected"
    assert np.linalg.norm(point_lps_mm(case, "thumb") - before["thumb"]) > 3
    for name in set(NAMES) - {"thumb"}:
        np.testing.assert_array_equal(point_lps_mm(case, name), before[name])
    hand.does("undo")
    np.testing.assert_array_equal(point_lps_mm(case, "thumb"), before["thumb"])
    assert edits_on_disk(tmp_path / "user")[:2] == ["TakePrediction", "Move"]


def test_what_needs_masks_is_not_offered_or_says_why(hand: Person) -> None:
    assert not hand.sees("has_structures")
    assert hand.sees("why_no_strength") == "This model says each landmark by itself: a correction moves no other."
    assert (hand.sees("model_about")["structures"], hand.sees("model_about")["landmarks"]) == ([], 7)
    assert hand.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    hand.does("accept_all")
    assert hand.sees("message") == "7 landmarks accepted. One Undo takes it back."


def test_three_maps_say_why(hand: Person) -> None:
    hand.chooses(close_up=1.0)
    hand.does("pick", "palm")
    before, lines = picture(hand), []
    at = lps_of(patient(1))[NAMES.index("palm")] * TO_RAS
    hand.does("why_here")
    hand.until(lambda: not hand.sees("why_busy"))
    assert hand.sees("why_maps") == MAPS
    for which in MAPS:
        hand.does("why_map", which)
        assert hand.sees("why_shown") == which
        lines.append(hand.sees("why_line"))
        change = np.abs(picture(hand) - before).sum(axis=2)
        assert change.max() > 100
        # The local appearance of a disc is the same all over it.
        near_mm = GRID_PIXEL_MM if which == MAPS[0] else RADIUS_MM
        assert np.linalg.norm(brightest_ras_mm(hand.bench) - at) < near_mm, which
    assert len(set(lines)) == 3
    hand.does("why_here")
    np.testing.assert_array_equal(picture(hand), before)


def test_a_landmark_clicked_in_one_hand_is_found_in_the_other(hand: Person) -> None:
    hand.chooses(new_name="web")
    assert "found in all other cases" in hand.sees("new_tip")
    assert [one["title"] for one in hand.sees("structures")] == ["Automatic", "hand"]
    hand.does("new_landmark")
    x, y = np.rint(pixel_of(hand, "Red", between(1) * TO_RAS)).astype(int)
    hand.clicks(int(x), SIZE - 1 - int(y))  # the mouse counts from below
    assert hand.row("web")["state"] == "placed"
    assert hand.sees("why_no_strength") == ""  # the new one goes with those around it
    hand.does("save")
    open_and_predict(hand, "hand-2")
    hand.until(lambda: any(row["name"] == "web" for row in hand.sees("rows")))
    assert hand.row("web")["state"] == "predicted"
    missed_mm = np.linalg.norm(point_lps_mm(hand.bench.case, "web") - between(2))
    radius_mm = float(hand.row("web")["doubt"].removeprefix("±").removesuffix(" mm"))
    assert missed_mm < 2
    assert missed_mm < radius_mm < 20


def test_absent_saved_and_opened_again(hand: Person) -> None:
    hand.does("pick", LOST)
    hand.does("absent")
    hand.does("save")
    assert hand.sees("saved_line") == "hand-1: revision 1"
    expected = hand.bench.state.landmarks.points_lps_mm
    hand.bench.case.close()
    hand.page.tick()
    hand.opens("hand-1")
    assert (hand.row(LOST)["state"], hand.row("palm")["state"]) == ("absent", "predicted")
    np.testing.assert_array_equal(hand.bench.state.landmarks.points_lps_mm, expected)


def test_a_hand_of_the_other_side_is_looked_at_mirrored_and_a_line_says_so(hands: Hands, tmp_path: Path) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=True)
    hand = hands(write_hand(tmp_path / "right.nrrd", 1, is_mirrored=True), model=model)
    assert hand.sees("doubts") == ""
    said = "The model saw it mirrored: it knows either side, and this one looked better."
    assert hand.sees("side_seen") == said
    wrist = point_lps_mm(hand.bench.case, "wrist")
    np.testing.assert_allclose(wrist, lps_of(patient(1))[0] * [-1, 1, 1] + [-SPACING_MM, 0, 0], atol=2 * SPACING_MM)
    hand.does("set_view", "", "no")
    assert hand.sees("side_seen") == "The model saw it mirrored; next time as stored."
    hand.does("predict")
    hand.until(lambda: not hand.sees("predicting"))
    assert hand.sees("side_seen") == "The model saw it as stored."
    assert "the image looks mirrored" in hand.sees("doubts")


def test_only_a_side_that_the_file_does_not_state_is_looked_for(hands: Hands, tmp_path: Path) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=True, expects={"laterality": "L"})
    told = write_dicom(tmp_path / "told.dcm", pixels=marked_hand().pixels_yx, Laterality="R")
    hand = hands(write_hand(tmp_path / "first.nrrd", 1), write_hand(tmp_path / "other.nrrd", 2), told, model=model)
    hand.opens("other")
    assert hand.sees("side_seen") == "The model will see it as stored, or mirrored where that looks better."
    hand.opens("told")
    assert hand.sees("side_seen") == "The model will see it mirrored (for the right side)."
