"""Section 1, how large a pixel is: the badge, a typed size, a ruler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image
from Testing.host import Host
from Testing.panel.seen import load
from Testing.scene.open_cases import everything_is_on_its_voxel

Open = Callable[[Any], Any]


# ---- spacing ----

SOURCES = {
    SpacingSource.CALIBRATED: "2.8 x 2.8 mm · calibrated",
    SpacingSource.DETECTOR: "2.8 x 2.8 mm · detector",
    SpacingSource.GIVEN: "2.8 x 2.8 mm · given",
    SpacingSource.UNKNOWN: "unknown: lengths are in pixels",
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_badge_says_where_the_spacing_came_from(
    host: Host, widget: Any, chest_template: Template, source: SpacingSource
) -> None:
    panel = widget.panel
    film = replace(chest_image(chest_template), spacing_source=source)
    case = panel.bench.need_library().add_pixels(film, "film")
    panel.bench.open_case(case.id)
    host.process(0.1)
    assert panel.ui.spacingBadge.text == SOURCES[source]
    assert panel.ui.spacingBadge.toolTip.endswith(".")


def test_an_image_without_a_case_shows_its_spacing_as_loaded_and_makes_no_case(
    host: Host, widget: Any, chest_template: Template
) -> None:
    panel = widget.panel
    assert panel.ui.spacingBadge.text == "no image"
    assert not panel.ui.spacingButton.enabled
    host.pick(panel.ui.imageSelector, load(host, chest_image(chest_template)))
    assert panel.ui.spacingBadge.text == "2.8 x 2.8 mm · as loaded"
    assert panel.bench.case is None


def test_a_size_that_slicer_made_up_is_not_called_millimetres(
    host: Host, widget: Any, chest_template: Template
) -> None:
    panel, film = widget.panel, chest_image(chest_template)
    film.volume.SetSpacing((1.0, 1.0, 1.0))
    host.pick(panel.ui.imageSelector, load(host, film))
    assert panel.ui.spacingBadge.text == "not stated, as loaded"
    assert panel.ui.spacingBox.text == "unknown"


def test_a_typed_pixel_size_keeps_every_point_on_its_pixel_and_one_undo_takes_it_back(
    host: Host, widget: Any, open_chest: Open
) -> None:
    panel = open_chest(widget)
    ui, case = panel.ui, panel.bench.case
    before = case.session.state.geometry.spacing_mm
    index = case.session.state.index_ijk.copy()
    host.type(ui.spacingBox, "0.35")
    host.click(ui.spacingButton)
    assert case.session.state.geometry.spacing_mm == pytest.approx((0.35, 0.35, before[2]))
    assert ui.spacingBadge.text == "0.35 x 0.35 mm · given"
    np.testing.assert_allclose(case.session.state.index_ijk, index, atol=1e-9)
    assert everything_is_on_its_voxel(case)
    panel.bench.undo()
    host.process(0.1)
    assert case.session.state.geometry.spacing_mm == pytest.approx(before)
    assert ui.spacingBox.value == pytest.approx(2.8)


def test_what_is_being_typed_stays_while_something_else_changes(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    host.type(panel.ui.spacingBox, "0.35")
    panel.bench.do(Session.accept, panel.bench.state.landmarks.names[0])
    host.process(0.1)
    assert panel.ui.spacingBox.value == pytest.approx(0.35)


def test_pixels_that_are_not_square_keep_their_shape(host: Host, widget: Any, chest_template: Template) -> None:
    panel = widget.panel
    film = chest_image(chest_template)
    film.volume.SetSpacing((0.2, 0.3, 1.0))
    host.pick(panel.ui.imageSelector, load(host, film))
    host.type(panel.ui.spacingBox, "0.1")
    host.click(panel.ui.spacingButton)
    assert panel.bench.case is not None
    assert panel.bench.state.geometry.spacing_mm == pytest.approx((0.1, 0.15, 1.0))
    assert panel.ui.spacingBadge.text == "0.1 x 0.15 mm · given"
    assert panel.ui.libraryName.text == "my cases · 0 of 1 cases finished"


def test_a_calibrated_size_that_is_typed_as_it_is_stays_calibrated(
    host: Host, widget: Any, chest_template: Template
) -> None:
    panel, film = widget.panel, replace(chest_image(chest_template), spacing_source=SpacingSource.CALIBRATED)
    film.volume.SetSpacing((0.17512345, 0.17512345, 1.0))
    panel.bench.open_case(panel.bench.need_library().add_pixels(film, "film").id)
    host.process(0.1)
    host.click(panel.ui.spacingButton)
    assert panel.bench.state.geometry.spacing_source is SpacingSource.CALIBRATED
    assert panel.bench.state.geometry.spacing_mm[0] == pytest.approx(0.17512345)
    assert panel.ui.messageLabel.text == "The pixel size is this already."


def test_a_size_of_one_can_be_typed_where_it_was_unknown(host: Host, widget: Any, chest_template: Template) -> None:
    panel, film = widget.panel, replace(chest_image(chest_template), spacing_source=SpacingSource.UNKNOWN)
    film.volume.SetSpacing((1.0, 1.0, 1.0))
    panel.bench.open_case(panel.bench.need_library().add_pixels(film, "film").id)
    host.process(0.1)
    assert panel.ui.spacingBox.text == "unknown"
    host.type(panel.ui.spacingBox, "1")
    host.click(panel.ui.spacingButton)
    assert panel.ui.spacingBadge.text == "1 x 1 mm · given"


def test_no_pixel_size_is_told_in_one_line(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    host.type(panel.ui.spacingBox, "0")
    host.click(panel.ui.spacingButton)
    assert panel.ui.messageLabel.text == "expected the size of a pixel in mm, got none. Type it, or draw a ruler."


def test_the_spacing_of_a_volume_is_not_typed(host: Host, widget: Any) -> None:
    scan = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16))
    scan.SetSpacing((0.7, 0.7, 1.25))
    panel = widget.panel
    host.pick(panel.ui.imageSelector, load(host, MedicalImage(scan, SpacingSource.GIVEN, "scan")))
    assert panel.ui.spacingBadge.text == "0.7 x 0.7 x 1.25 mm · as loaded"
    assert not panel.ui.spacingBox.enabled
    assert not panel.ui.spacingButton.enabled
    assert "scanner" in panel.ui.spacingButton.toolTip
    assert not panel.ui.turnSelector.enabled
    assert panel.image_section.view is None


# ---- the ruler ----


def draw(host: Host, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Two clicks in the red view."""
    screen = host.screen
    assert screen is not None
    for at in (start, end):
        screen.press(*at)
        screen.release(*at)
    host.process(0.1)


def test_a_ruler_over_a_known_length_calibrates_and_is_gone(
    host_with_view: Host, widget_with_view: Any, open_chest: Open
) -> None:
    host, panel = host_with_view, open_chest(widget_with_view)
    ui, case = panel.ui, panel.bench.case
    assert host.screen is not None
    host.screen.look_at(case.image.volume)
    host.click(ui.rulerButton)
    assert ui.rulerButton.checked
    assert ui.rulerMeasured.text == "click both ends"
    assert not ui.calibrateButton.enabled
    draw(host, (50, 128), (200, 128))
    assert ui.calibrateButton.enabled
    assert ui.rulerMeasured.text.startswith("now ")
    now_mm = float(ui.rulerMeasured.text.split()[1])
    host.type(ui.rulerLength, "100")
    before = case.session.state.geometry.spacing_mm
    host.click(ui.calibrateButton)
    after = case.session.state.geometry
    assert after.spacing_mm[0] == pytest.approx(before[0] * 100 / now_mm, rel=1e-3)
    assert after.spacing_source is SpacingSource.GIVEN
    assert not ui.rulerButton.checked
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 0
    assert everything_is_on_its_voxel(case)
    panel.bench.undo()
    assert case.session.state.geometry.spacing_mm == pytest.approx(before)


def test_a_ruler_is_given_up_by_the_button_another_case_or_leaving(
    host_with_view: Host, widget_with_view: Any, open_chest: Open
) -> None:
    host, panel = host_with_view, open_chest(widget_with_view)
    ui = panel.ui

    def lines() -> int:
        return host.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode")

    host.click(ui.rulerButton)
    assert lines() == 1
    host.click(ui.rulerButton)
    assert (lines(), ui.rulerButton.checked) == (0, False)
    host.click(ui.rulerButton)
    host.click(ui.nextCaseButton)
    assert panel.bench.session.case.name == "chest-1"
    assert (lines(), ui.rulerButton.checked) == (0, False)
    host.click(ui.rulerButton)
    host.select("Data")
    assert lines() == 0
    host.select("DenseLandmarks")
    host.process(0.1)
    assert not ui.rulerButton.checked
    host.click(ui.rulerButton)
    host.close_scene()
    host.process(0.1)
    assert not ui.rulerButton.checked
    assert not ui.rulerButton.enabled


def test_a_ruler_without_a_true_length_is_told_in_one_line(
    host_with_view: Host, widget_with_view: Any, open_chest: Open
) -> None:
    host, panel = host_with_view, open_chest(widget_with_view)
    assert host.screen is not None
    host.screen.look_at(panel.bench.case.image.volume)
    host.click(panel.ui.rulerButton)
    draw(host, (50, 128), (200, 128))
    host.click(panel.ui.calibrateButton)
    assert panel.ui.messageLabel.text.startswith("expected the length of the ruler in mm, got 0")
    assert panel.ui.rulerButton.checked


def test_a_ruler_on_an_image_without_a_case_makes_one(
    host_with_view: Host, widget_with_view: Any, chest_template: Template
) -> None:
    host, panel = host_with_view, widget_with_view.panel
    ui, volume = panel.ui, load(host, chest_image(chest_template))
    host.pick(ui.imageSelector, volume)
    assert host.screen is not None
    host.screen.look_at(volume)
    host.click(ui.rulerButton)
    draw(host, (50, 128), (200, 128))
    assert ui.rulerMeasured.text == "drawn"
    assert panel.bench.case is None
    host.click(ui.calibrateButton)
    assert ui.messageLabel.text.startswith("expected the length")
    assert ui.rulerMeasured.text.startswith("now ")
    host.type(ui.rulerLength, "100")
    host.click(ui.calibrateButton)
    assert panel.bench.state.geometry.spacing_source is SpacingSource.GIVEN
    assert panel.bench.state.geometry.spacing_mm[0] != pytest.approx(2.8)
    assert ui.spacingBadge.text.endswith("mm · given")
