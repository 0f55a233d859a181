"""Section 1, the side that the model sees, and what happens around the section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image
from Testing.host import Host
from Testing.panel.seen import entries, load, shown

Open = Callable[[Any], Any]


# ---- side ----


def test_the_view_for_the_next_prediction_is_what_the_lists_say(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    ui, section = panel.ui, panel.image_section
    assert section.view is None
    assert ui.sideBadge.text.endswith("The model saw it as stored.")
    host.pick(ui.turnSelector, "90°")
    assert section.view == View(90)
    assert ui.sideBadge.text.endswith(
        "The model saw it as stored; next time turned by 90 degrees clockwise (as asked for)."
    )
    host.pick(ui.flipSelector, "Mirrored")
    assert section.view == View(90, flip=True)
    host.pick(ui.caseSelector, "chest-1 · new")
    assert section.view is None
    assert shown(ui.turnSelector) == "Automatic"
    host.click(ui.previousCaseButton)
    assert section.view == View(90, flip=True)
    assert shown(ui.flipSelector) == "Mirrored"


def test_a_wish_for_an_image_outlives_the_making_of_its_case(host: Host, widget: Any, chest_template: Template) -> None:
    from DenseLandmarksLib.panel.need_case import need_case

    panel = widget.panel
    host.pick(panel.ui.imageSelector, load(host, chest_image(chest_template)))
    host.pick(panel.ui.flipSelector, "Mirrored")
    need_case(panel)
    host.process(0.1)
    assert panel.bench.case is not None
    assert panel.image_section.view == View(0, flip=True)
    assert shown(panel.ui.flipSelector) == "Mirrored"


def test_a_wish_is_not_for_the_next_image_that_has_no_case(host: Host, widget: Any, chest_template: Template) -> None:
    panel = widget.panel
    host.pick(panel.ui.imageSelector, load(host, chest_image(chest_template)))
    host.pick(panel.ui.flipSelector, "Mirrored")
    host.close_scene()
    host.pick(panel.ui.imageSelector, load(host, chest_image(chest_template, seed=1)))
    assert panel.image_section.view is None
    assert shown(panel.ui.flipSelector) == "Automatic"


def test_the_models_advice_is_shown_in_the_lists(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    panel.image_section.advise(View(270))
    panel.refresh()
    assert shown(panel.ui.turnSelector) == "270°"
    assert shown(panel.ui.flipSelector) == "As stored"
    assert panel.image_section.view == View(270)


def test_what_the_file_says_of_the_side_turns_the_view(host: Host, widget: Any, chest_template: Template) -> None:
    panel = widget.panel
    stated = Acquisition("DX", "CHEST", "PA", "R", ("F", "R"))
    film = replace(chest_image(chest_template), acquisition=stated)
    case = panel.bench.need_library().add_pixels(film, "film")
    panel.bench.open_case(case.id)
    host.process(0.1)
    first, second = panel.ui.sideBadge.text.splitlines()
    assert first == "File: right side · PA · rows run to the feet, columns to the right"
    assert second == "The model will see it turned by 90 degrees clockwise (from the orientation that the file states)."
    assert panel.image_section.view is None


# ---- robustness ----


def test_a_closed_scene_leaves_an_empty_section(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    host.pick(panel.ui.turnSelector, "90°")
    host.close_scene()
    host.process(0.1)
    ui = panel.ui
    assert ui.spacingBadge.text == "no image"
    assert ui.sideBadge.text == "no image"
    assert shown(ui.caseSelector) == "choose a case"
    assert entries(ui.caseSelector)[1] == "chest-0 · 154 of 154 left · r1"
    host.pick(ui.caseSelector, entries(ui.caseSelector)[1])
    assert panel.bench.session.case.name == "chest-0"


def test_an_image_that_was_chosen_before_the_library_finds_its_case(
    host: Host, widget: Any, library: Library, chest_template: Template
) -> None:
    panel = widget.panel
    host.pick(panel.ui.imageSelector, load(host, chest_image(chest_template, seed=1)))
    assert panel.bench.case is None
    host.answer("folder", str(library.folder))
    host.click(panel.ui.openLibraryButton)
    assert panel.bench.session.case.name == "chest-1"
    assert panel.ui.spacingBadge.text == "2.8 x 2.8 mm · given"
