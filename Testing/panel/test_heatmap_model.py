"""A radiograph in the panel whose model finds landmarks without masks: predicted, corrected, explained, added to, kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from Testing.annotation.test_heatmap_session import between
from Testing.geometry.dicom_files import write_dicom
from Testing.host import Host
from Testing.models.disc_finder import (
    FIELD_OF_VIEW_MM,
    GRID,
    NAMES,
    RADIUS_MM,
    SPACING_MM,
    lps_of,
    marked_hand,
    patient,
    write_disc_finder,
    write_hand,
)
from Testing.panel.seen import entries, shown
from Testing.panel.test_landmark_section import DOUBT, STATE, STRUCTURE, Work, click_in_view
from Testing.panel.test_why_here import brightest_ras_mm, change_in, pixels, wait_for_it
from Testing.scene.open_cases import edits_on_disk, everything_is_on_its_voxel, point_lps_mm, world_ras_mm

ROOT = Path(__file__).resolve().parents[2]
GRID_PIXEL_MM = FIELD_OF_VIEW_MM[0] / GRID[0]
TO_RAS = np.array([-1.0, -1.0, 1.0])
LOST = "ring"
MAPS = ["Heatmap", "Local appearance", "Spatial configuration"]
Hands = Callable[..., Work]


@pytest.fixture
def hands(tmp_path: Path, heatmap_bundle: Path, request: pytest.FixtureRequest) -> Hands:
    """``hands(host, *files)``: the panel of a host with these radiographs in its library, the first predicted."""

    def open_them(host: Host, *files: Path, model: Path = heatmap_bundle) -> Work:
        library = Library.create(tmp_path / "library", "hands")
        for path in files:
            library.add(path)
        widget = host.create_widget(ROOT / "DenseLandmarks", "DenseLandmarks")
        request.getfixturevalue("warm")  # the panel can be imported only now
        panel = widget.panel
        panel.bench.open_library(library.folder)
        panel.parameters.model = str(model)
        work = Work(host, panel)
        open_and_predict(work, files[0].stem)
        return work

    return open_them


def open_and_predict(work: Work, name: str) -> None:
    """Press Predict with a case of the library in hand."""
    host, bench = work.host, work.panel.bench
    bench.open_case(next(entry.id for entry in bench.library.cases() if entry.name == name))
    host.process(0.1)
    assert not work.ui.missingLabel.text
    host.click(work.ui.predictButton)
    host.process(90, until=lambda: not bench.predicting.is_under_way)
    host.process(0.1)
    if host.screen is not None:
        host.screen.look_at(work.case.image.volume)


@pytest.fixture
def hand(host_with_view: Host, hands: Hands, tmp_path: Path) -> Work:
    """A hand without a ring finger, and another, in the red view."""
    first = write_hand(tmp_path / "hand-1.nrrd", 1, lost=(LOST,))
    return hands(host_with_view, first, write_hand(tmp_path / "hand-2.nrrd", 2))


def test_its_landmarks_are_listed_and_seen_where_they_are(hand: Work) -> None:
    ui = hand.ui
    assert "6 of 7 landmarks by disc-finder" in ui.statusLabel.text
    assert not ui.doubtFrame.visible
    assert ui.leftLabel.text == "7 of 7 left"
    table = ui.landmarkTable
    assert {table.item(n, STRUCTURE).text() for n in range(7)} == {"hand"}
    assert table.item(0, STATE).text() == "absent?"  # the most doubtful first
    for name, truth in zip(NAMES, lps_of(patient(1)), strict=True):
        if name != LOST:
            np.testing.assert_allclose(world_ras_mm(hand.case, name), truth * TO_RAS, atol=SPACING_MM)
            assert hand.state(name) == "predicted"
            assert table.item(hand.row(name), DOUBT).text().startswith("±")
    assert everything_is_on_its_voxel(hand.case)


def test_what_needs_masks_is_grey_and_says_why(hand: Work) -> None:
    ui = hand.ui
    assert not ui.editStructuresButton.enabled
    assert ui.editStructuresButton.toolTip == "This case has no structures."
    assert not ui.strengthSlider.enabled
    assert ui.strengthSlider.toolTip == "This model says each landmark by itself: a correction moves no other."
    assert hand.host.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert "7 landmarks" in ui.modelSummary.text
    assert "overlap" not in ui.modelSummary.text
    hand.host.click(ui.acceptAllButton)
    assert hand.panel.bench.lines[-1] == "7 landmarks accepted. One Undo takes it back."


def test_what_is_dragged_moves_alone_and_undo_brings_it_back(hand: Work, user: Path) -> None:
    screen = hand.host.screen
    before = {name: point_lps_mm(hand.case, name) for name in NAMES}
    screen.render()
    x, y = screen.display_xy(world_ras_mm(hand.case, "thumb"))
    screen.drag((x, y), (x + 12, y + 6))
    hand.host.process(0.2)
    assert (hand.state("thumb"), hand.current) == ("corrected", "thumb")
    assert np.linalg.norm(point_lps_mm(hand.case, "thumb") - before["thumb"]) > 3
    for name in set(NAMES) - {"thumb"}:
        np.testing.assert_array_equal(point_lps_mm(hand.case, name), before[name])
    assert edits_on_disk(user) == ["TakePrediction", "Move"]
    hand.host.click(hand.ui.undoButton)
    np.testing.assert_array_equal(point_lps_mm(hand.case, "thumb"), before["thumb"])


def test_an_absent_landmark_is_confirmed_or_placed(hand: Work) -> None:
    hand.panel.parameters.goOn = False
    hand.select(LOST)
    hand.host.click(hand.ui.absentButton)
    assert hand.state(LOST) == "absent"
    hand.host.click(hand.ui.undoButton)
    hand.host.click(hand.ui.placeButton)
    click_in_view(hand, lps_of(patient(1))[NAMES.index(LOST)] * TO_RAS)
    assert hand.state(LOST) == "placed"
    at = point_lps_mm(hand.case, LOST)
    np.testing.assert_allclose(at, lps_of(patient(1))[NAMES.index(LOST)], atol=1.0)


@pytest.mark.parametrize("name", ["palm", LOST])
def test_three_maps_say_why(hand: Work, name: str) -> None:
    screen, ui = hand.host.screen, hand.ui
    hand.select(name)
    before, seen = pixels(screen), []
    hand.host.click(ui.whyHereButton)
    wait_for_it(hand.host, hand.panel)
    assert entries(ui.whyHereSelector) == MAPS
    truth = lps_of(patient(1))[NAMES.index(name)] * TO_RAS
    for which in MAPS:
        hand.host.pick(ui.whyHereSelector, which)
        assert shown(ui.whyHereSelector) == which
        seen.append(str(ui.whyHereLabel.text))
        if name != LOST:
            assert change_in(screen, before).max() > 100
            # The local appearance of a disc is the same all over it.
            near_mm = GRID_PIXEL_MM if which == MAPS[0] else RADIUS_MM
            assert np.linalg.norm(brightest_ras_mm(hand.panel.bench) - truth) < near_mm, which
    assert len(set(seen)) == 3
    if name == LOST:
        assert hand.panel.bench.why.evidence.maps[0].values.max() < 0.5  # a peak that is missing stays dark
    hand.host.click(ui.whyHereButton)
    np.testing.assert_array_equal(pixels(screen), before)


def test_a_landmark_clicked_in_one_hand_is_found_in_the_other(hand: Work) -> None:
    ui, host = hand.ui, hand.host
    host.type(ui.newNameEdit, "web")
    assert "found in all other cases" in ui.newLandmarkButton.toolTip
    assert entries(ui.newStructureSelector) == ["Automatic", "hand"]
    host.click(ui.newLandmarkButton)
    click_in_view(hand, between(1) * TO_RAS)
    assert (hand.state("web"), hand.current) == ("placed", "web")
    assert ui.landmarkTable.item(hand.row("web"), STRUCTURE).text() == "hand"
    assert ui.strengthSlider.enabled  # the new one goes with those around it
    host.click(ui.saveButton)
    open_and_predict(hand, "hand-2")
    host.process(0.3)
    assert hand.state("web") == "predicted"
    missed_mm = np.linalg.norm(point_lps_mm(hand.case, "web") - between(2))
    stated = str(ui.landmarkTable.item(hand.row("web"), DOUBT).text())
    radius_mm = float(stated.removeprefix("±").removesuffix(" mm"))
    assert missed_mm < 2
    assert missed_mm < radius_mm < 20
    assert f"at most {radius_mm:.1f} mm" in ui.landmarkTable.item(hand.row("web"), DOUBT).toolTip()


def test_saved_opened_again_and_exported(hand: Work, tmp_path: Path) -> None:
    host, ui, bench = hand.host, hand.ui, hand.panel.bench
    hand.panel.parameters.goOn = False
    hand.select("index")
    host.click(ui.acceptButton)
    hand.select(LOST)
    host.click(ui.absentButton)
    host.click(ui.saveButton)
    assert ui.savedState.text == "hand-1: revision 1"
    expected = hand.landmarks.points_lps_mm
    hand.case.close()
    host.process(0.1)
    bench.open_case(next(entry.id for entry in bench.library.cases() if entry.name == "hand-1"))
    host.process(0.1)
    assert (hand.state("index"), hand.state(LOST), hand.state("palm")) == ("verified", "absent", "predicted")
    np.testing.assert_array_equal(hand.landmarks.points_lps_mm, expected)
    hand.select("index")
    host.click(ui.whyHereButton)
    wait_for_it(host, hand.panel)
    assert entries(ui.whyHereSelector) == MAPS
    out = tmp_path / "out"
    out.mkdir()
    host.answer("folder", str(out))
    host.click(ui.exportButton)
    host.process(0.2)
    (path,) = out.rglob("*.mrk.json")
    points = {p["label"]: p for p in json.loads(path.read_text())["markups"][0]["controlPoints"]}
    np.testing.assert_allclose(points["index"]["position"], lps_of(patient(1))[NAMES.index("index")], atol=SPACING_MM)
    assert points[LOST]["positionStatus"] == "missing"


@pytest.mark.parametrize("either_side", [True, False])
def test_a_hand_of_the_other_side_is_looked_at_mirrored_and_a_line_says_so(
    host: Host, hands: Hands, tmp_path: Path, either_side: bool
) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=either_side)
    work = hands(host, write_hand(tmp_path / "right.nrrd", 1, is_mirrored=True), model=model)
    ui = work.ui
    if either_side:
        assert not ui.doubtFrame.visible
        said = "The model saw it mirrored: it knows either side, and this one looked better."
    else:
        assert ui.doubtFrame.visible
        assert "the image looks mirrored" in ui.doubtLabel.text
        host.click(ui.advisedButton)
        host.process(90, until=lambda: not work.panel.bench.predicting.is_under_way)
        host.process(0.1)
        said = "The model saw it mirrored (as asked for)."
    assert said in ui.sideBadge.text
    assert "7 of 7 landmarks" in ui.statusLabel.text
    # It is the model that looks through a mirror: the landmarks are where the image has them.
    truth = lps_of(patient(1)) * [-1, 1, 1] + [-SPACING_MM, 0, 0]
    for name, at in zip(NAMES, truth, strict=True):
        np.testing.assert_allclose(point_lps_mm(work.case, name), at, atol=2 * SPACING_MM)


def test_whoever_says_how_to_look_is_obeyed(host: Host, hands: Hands, tmp_path: Path) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=True)
    files = [write_hand(tmp_path / f"{name}.nrrd", 1, name == "right") for name in ("left", "right")]
    work = hands(host, *files, model=model)
    assert "The model saw it as stored." in work.ui.sideBadge.text
    bench = work.panel.bench
    bench.open_case(next(entry.id for entry in bench.library.cases() if entry.name == "right"))
    host.process(0.1)
    assert "see it as stored, or mirrored where that looks better" in work.ui.sideBadge.text
    host.pick(work.ui.flipSelector, "As stored")
    assert "The model will see it as stored." in work.ui.sideBadge.text
    host.click(work.ui.predictButton)
    host.process(90, until=lambda: not bench.predicting.is_under_way)
    host.process(0.1)
    assert "The model saw it as stored." in work.ui.sideBadge.text
    assert "the image looks mirrored" in work.ui.doubtLabel.text


def test_only_a_side_that_the_file_does_not_state_is_looked_for(host: Host, hands: Hands, tmp_path: Path) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=True, expects={"laterality": "L"})
    told = write_dicom(tmp_path / "told.dcm", pixels=marked_hand().pixels_yx, Laterality="R")
    work = hands(host, write_hand(tmp_path / "first.nrrd", 1), told, model=model)
    bench = work.panel.bench
    bench.open_case(next(entry.id for entry in bench.library.cases() if entry.name != "first"))
    host.process(0.1)
    assert "The model will see it mirrored (for the right side)." in work.ui.sideBadge.text
