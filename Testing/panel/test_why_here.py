"""A person presses "Why here?" in the panel and sees over the image what spoke for the selected landmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import perfect_answer
from Testing.host import Host
from Testing.models.neck_finder import LEFT, NAMES, RIGHT, centres_lps_mm, marked_volume
from Testing.panel.seen import entries, shown
from Testing.panel.test_landmark_section import A, B, Work
from Testing.scene.open_cases import edits_on_disk, world_ras_mm
from Testing.scene.test_ellipses import node_ids

ROOT = Path(__file__).resolve().parents[2]
TO_RAS = np.array([-1.0, -1.0, 1.0])
FINE, COARSE = "Fine heatmap", "Coarse heatmap"


@pytest.fixture
def chest(host_with_view: Host, widget_with_view: Any, library: Library, chest_template: Template) -> Work:
    """A chest in the red view; its model made no error, and is as sure as the shipped one."""
    panel = widget_with_view.panel
    panel.bench.open_library(library.folder)
    session = panel.bench.open_case(library.cases()[0].id).session
    image, _ = session.case.read_image(session.state.geometry)
    answer = perfect_answer(chest_template, image)
    field = answer.prediction.uv_field
    assert field is not None
    unsure = replace(field, uv_scale=np.full_like(field.uv, 0.05))
    session.take(replace(answer, prediction=replace(answer.prediction, uv_field=unsure)), image.geometry)
    panel.refresh()
    host_with_view.screen.look_at(panel.bench.case.image.volume)
    return Work(host_with_view, panel)


def pixels(screen: Any) -> NDArray[np.float64]:
    return np.asarray(screen.pixels(), float)


def middle_of(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column and row, the first row at the bottom, of the middle of what changed."""
    rows, columns = np.indices(change.shape)
    weight = change**2
    return np.array([(columns * weight).sum(), ((len(change) - 1 - rows) * weight).sum()]) / weight.sum()


def change_in(screen: Any, before: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(pixels(screen) - before).sum(axis=2))


def brightest_ras_mm(bench: Any) -> NDArray[np.float64]:
    """Where in the world (3,) the shown map is highest."""
    one = bench.why.shown_map
    kji = np.argwhere(one.values == one.values.max()).mean(axis=0)
    return np.asarray(bench.case.image.world_ras_mm((one.to_index @ [*kji[::-1], 1.0])[None, :3])[0])


def brightest(work: Work) -> NDArray[np.float64]:
    """Column and row of the view where the shown map is highest."""
    return np.array(work.host.screen.display_xy(brightest_ras_mm(work.panel.bench)))


# ---- a model whose answer is in the case ------------------------------------------------------------------------------


def test_a_click_shows_it_on_the_landmark_and_another_takes_it_away(chest: Work) -> None:
    screen = chest.host.screen
    chest.select(A)
    before, nodes = pixels(screen), node_ids(chest.host.scene)
    chest.host.click(chest.ui.whyHereButton)
    assert chest.ui.whyHereButton.checked
    assert chest.ui.whyHereFrame.visible
    assert "How likely each pixel of right_lung is this point of the template" in chest.ui.whyHereLabel.text
    assert not chest.ui.whyHereSelector.visible  # there is nothing to choose
    assert not chest.ui.whyHereProgress.visible
    change = change_in(screen, before)
    assert change.max() > 100
    # Of a landmark on a border only the half within the structure can be likely.
    at = np.array(screen.display_xy(world_ras_mm(chest.case, A)))
    field_pixel = abs(screen.display_xy(world_ras_mm(chest.case, A) + [2.8, 0, 0])[0] - at[0])
    assert np.linalg.norm(brightest(chest) - at) < field_pixel
    assert np.linalg.norm(middle_of(change) - at) < 4 * field_pixel
    assert (change == 0).mean() > 0.7
    chest.host.click(chest.ui.whyHereButton)
    assert not chest.ui.whyHereButton.checked
    assert not chest.ui.whyHereFrame.visible
    np.testing.assert_array_equal(pixels(screen), before)
    assert node_ids(chest.host.scene) == nodes


def test_it_is_about_one_landmark_and_goes_with_it(chest: Work) -> None:
    chest.select(A)
    chest.host.click(chest.ui.whyHereButton)
    nodes = node_ids(chest.host.scene)
    chest.select(B)
    chest.host.process(0.1)
    assert not chest.ui.whyHereButton.checked
    assert len(node_ids(chest.host.scene)) == len(nodes) - 2
    chest.host.click(chest.ui.whyHereButton)
    assert chest.panel.bench.why.evidence.landmark == B


def test_it_is_no_edit_and_the_landmark_can_be_dragged_under_it(chest: Work, user: Path) -> None:
    screen = chest.host.screen
    chest.select(A)
    chest.host.click(chest.ui.whyHereButton)
    assert edits_on_disk(user) == ["TakePrediction"]
    shown_map = chest.panel.bench.why.shown_map
    screen.render()
    x, y = screen.display_xy(world_ras_mm(chest.case, A))
    screen.drag((x, y), (x + 30, y - 20))
    chest.host.process(0.2)
    assert chest.state(A) == "corrected"
    assert chest.panel.bench.why.shown_map is shown_map  # what the model saw stays where it saw it
    assert chest.ui.whyHereButton.checked
    chest.host.click(chest.ui.undoButton)
    assert chest.ui.whyHereButton.checked
    assert edits_on_disk(user) == ["TakePrediction"] or chest.state(A) == "predicted"
    chest.host.click(chest.ui.undoButton)  # the prediction itself
    chest.host.process(0.1)
    assert not chest.ui.whyHereButton.checked
    assert not chest.ui.whyHereButton.enabled
    assert "Predict first" in chest.ui.whyHereButton.toolTip


def test_it_goes_with_its_case(chest: Work, library: Library) -> None:
    chest.select(A)
    nodes = node_ids(chest.host.scene)
    chest.host.click(chest.ui.whyHereButton)
    overlay = node_ids(chest.host.scene) - nodes
    chest.panel.bench.open_case(library.cases()[1].id)
    chest.host.process(0.1)
    assert not overlay & node_ids(chest.host.scene)
    assert not chest.panel.bench.why.is_on
    assert not chest.ui.whyHereButton.checked


def test_it_goes_when_the_scene_is_closed(chest: Work) -> None:
    chest.select(A)
    nodes = node_ids(chest.host.scene)
    chest.host.click(chest.ui.whyHereButton)
    overlay = node_ids(chest.host.scene) - nodes
    chest.host.close_scene()
    chest.host.process(0.1)
    assert not overlay & node_ids(chest.host.scene)
    assert not chest.ui.whyHereButton.checked


def test_the_slider_says_how_much_of_the_image_it_hides(chest: Work) -> None:
    chest.select(A)
    before = pixels(chest.host.screen)
    chest.host.click(chest.ui.whyHereButton)
    assert chest.ui.whyHereSlider.value == 70
    strong = change_in(chest.host.screen, before)
    chest.host.show(chest.ui.whyHereSlider)
    for _ in range(5):
        chest.host.key("PgDown")
    assert chest.ui.whyHereSlider.value == 20
    faint = change_in(chest.host.screen, before)
    seen = strong > 60
    assert faint[seen].mean() == pytest.approx(strong[seen].mean() * 20 / 70, rel=0.15)


def test_it_cannot_be_asked_without_a_landmark(host: Host, widget: Any, open_chest: Callable[[Any], Any]) -> None:
    ui = widget.panel.ui
    assert not ui.whyHereButton.enabled
    assert ui.whyHereButton.toolTip == "Choose an image first."
    open_chest(widget)
    host.process(0.1)
    assert not ui.whyHereButton.enabled
    assert ui.whyHereButton.toolTip == "Choose a landmark in the table first."


# ---- a model that has to be asked -------------------------------------------------------------------------------------


@pytest.fixture
def neck(host_with_views: Host, tmp_path: Path, volume_bundle: Path, request: pytest.FixtureRequest) -> Any:
    """The panel with an oblique volume that the worker predicted, in three slice views."""
    host = host_with_views
    sitk.WriteImage(marked_volume().volume, tmp_path / "neck.nrrd")
    library = Library.create(tmp_path / "necks", "necks")
    library.add(tmp_path / "neck.nrrd")
    widget = host.create_widget(ROOT / "DenseLandmarks", "DenseLandmarks")
    request.getfixturevalue("warm")  # the panel can be imported only now
    panel = widget.panel
    panel.bench.open_library(library.folder)
    panel.bench.open_case(library.cases()[0].id)
    panel.parameters.model = str(volume_bundle)
    host.process(0.1)
    host.click(panel.ui.predictButton)
    host.process(90, until=lambda: not panel.bench.predicting.is_under_way)
    return panel


def select(host: Host, panel: Any, name: str) -> None:
    table = panel.ui.landmarkTable
    host.click(table.item(next(n for n in range(table.rowCount) if table.item(n, 0).text() == name), 0))


def wait_for_it(host: Host, panel: Any) -> None:
    host.process(60, until=lambda: not panel.bench.why.is_under_way)
    host.process(0.1)


def test_both_heatmaps_of_a_volume_lie_on_the_landmark_in_all_views(
    host_with_views: Host, neck: Any, user: Path
) -> None:
    host, ui, case = host_with_views, neck.ui, neck.bench.case
    centres = dict(zip(NAMES, centres_lps_mm(case.session.state.geometry), strict=True))
    for name in NAMES:
        select(host, neck, name)
        before = {view: pixels(screen) for view, screen in host.screens.items()}
        host.click(ui.whyHereButton)
        assert ui.whyHereProgress.visible
        assert ui.whyHereLabel.text
        wait_for_it(host, neck)
        assert not ui.whyHereProgress.visible
        assert entries(ui.whyHereSelector) == [FINE, COARSE]
        for which in (FINE, COARSE):
            host.pick(ui.whyHereSelector, which)
            assert shown(ui.whyHereSelector) == which
            spacing_mm = 2.0 if which == FINE else 4.0
            assert f"{spacing_mm:g} mm" in ui.whyHereLabel.text
            for view, screen in host.screens.items():
                change = change_in(screen, before[view])
                assert change.max() > 100, (name, which, view)
                mm_per_pixel = screen.view._view_node.GetFieldOfView()[0] / 256
                off_mm = (middle_of(change) - screen.display_xy(centres[name] * TO_RAS)) * mm_per_pixel
                assert np.linalg.norm(off_mm) < spacing_mm, (name, which, view)
    assert edits_on_disk(user) == ["TakePrediction"]


def test_what_was_answered_once_comes_at_once(host_with_views: Host, neck: Any) -> None:
    host, ui = host_with_views, neck.ui
    select(host, neck, LEFT)
    host.click(ui.whyHereButton)
    wait_for_it(host, neck)
    first = neck.bench.why.evidence
    host.pick(ui.whyHereSelector, COARSE)
    select(host, neck, RIGHT)
    host.process(5, until=lambda: not neck.bench.why.is_on)
    select(host, neck, LEFT)
    host.click(ui.whyHereButton)
    assert not neck.bench.why.is_under_way
    assert neck.bench.why.evidence is first
    assert shown(ui.whyHereSelector) == COARSE  # what was chosen is what a person wants to see of the next


def test_a_press_right_after_another_landmark_was_chosen_asks_about_that_one(host_with_views: Host, neck: Any) -> None:
    host, ui = host_with_views, neck.ui
    select(host, neck, LEFT)
    host.click(ui.whyHereButton)
    wait_for_it(host, neck)
    select(host, neck, RIGHT)
    host.click(ui.whyHereButton)
    wait_for_it(host, neck)
    assert neck.bench.why.evidence.landmark == RIGHT


def test_a_question_is_given_up_at_a_second_press_and_with_its_landmark(host_with_views: Host, neck: Any) -> None:
    host, ui = host_with_views, neck.ui
    nodes = node_ids(host.scene)
    select(host, neck, LEFT)
    for give_up in (lambda: host.click(ui.whyHereButton), lambda: select(host, neck, RIGHT)):
        nodes = node_ids(host.scene)
        host.click(ui.whyHereButton)
        assert neck.bench.why.is_under_way
        give_up()
        host.process(1.0)
        assert not neck.bench.why.is_on
        assert not ui.whyHereButton.checked
        assert len(node_ids(host.scene)) <= len(nodes) + 1  # the mark of the landmark


def test_a_model_that_is_gone_cannot_be_asked_and_says_so(host_with_views: Host, neck: Any) -> None:
    host, ui = host_with_views, neck.ui
    neck.parameters.model = "chest-xray"
    host.process(0.1)
    select(host, neck, LEFT)
    host.click(ui.whyHereButton)
    host.process(0.1)
    assert "expected neck-finder 1.0.0, which predicted this case, on this computer" in ui.messageLabel.text
    assert not ui.whyHereButton.checked
    assert not neck.bench.why.is_on


def test_a_worker_that_is_ended_leaves_no_question_open(host_with_views: Host, neck: Any) -> None:
    host = host_with_views
    select(host, neck, LEFT)
    host.click(neck.ui.whyHereButton)
    neck.bench.restart_worker()
    host.process(0.2)
    assert not neck.bench.why.is_on
    assert not neck.ui.whyHereButton.checked
