"""A real browser shows what came of a retraining, and a person decides there which version predicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.retraining.original_cases import to_replay
from DenseLandmarksLib.annotation.retraining.retraining import Retraining, new_run_folder
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import active_bundle
from Testing.annotation.retraining.runs import launch, taught_library
from Testing.annotation.retraining.runs import until as wait_for
from Testing.training.blob_radiographs import write_blob_radiographs
from Testing.web.chromium import FLAGS, SIZE, Served, find_chromium, until

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed: there is no page", exc_type=ImportError)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser can be driven")
if find_chromium() is None:
    pytest.skip("no Chromium is installed: the page cannot be opened", allow_module_level=True)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """What the tiny model is said to have been trained on."""
    return write_blob_radiographs(tmp_path / "blobs", 1, 0)


@pytest.fixture
def served(tmp_path: Path, tiny_bundle: Path, chest_template: Template, cases: Path) -> Iterator[Served]:
    """A library from which a tiny model has learnt, as the stand-in learns."""
    data, library = tmp_path / "data" / "DenseLandmarks", taught_library(tmp_path, chest_template)
    add_version(tiny_bundle, data)
    hold = tmp_path / "none"
    run = Retraining.start(launch(hold), "tiny", library, new_run_folder("tiny", data), data)
    wait_for(lambda: run.status.phase == "done")
    served = Served(tmp_path, library.folder, "--original-cases", "tiny", cases)
    yield served
    served.stop()


@pytest.fixture
def page(served: Served) -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(viewport=SIZE)
        page.goto(served.link)
        page.wait_for_selector("#case-name", state="attached")
        yield page
        browser.close()


def test_curves_table_and_versions_are_there_to_see_and_to_press(page: Any, served: Served) -> None:
    page.click("button:has-text('6 Retrain')")
    until(lambda: "To learn from: 6 corrected" in page.inner_text("#lessons"), page, "the count of lessons")
    until(lambda: page.locator(".chart svg").count() == 2, page, "two curves")
    for n, (colour, title) in enumerate((("#e69f5b", "Error (mm)"), ("#64b5f6", "Loss"))):
        picture = page.locator(".chart svg").nth(n)
        assert title in picture.text_content()
        assert picture.locator("circle").count() == 4
        assert picture.locator("path").nth(1).get_attribute("stroke") == colour
        assert picture.bounding_box()["height"] > 60
    assert "2.50 mm" in page.inner_text("#before-after")
    before = active_bundle("tiny", served.data_folder)
    page.click("#model", force=True)
    page.click(".v-list-item:has-text('tiny')")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.click("#make-active")
    until(lambda: asked, page, "the question")
    assert "Use it anyway?" in asked[0]
    assert active_bundle("tiny", served.data_folder) == before
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#make-active")
    until(lambda: active_bundle("tiny", served.data_folder) != before, page, "the new version in use")
    until(lambda: page.is_enabled("#roll-back"), page, "the way back")
    page.click("#roll-back")
    until(lambda: active_bundle("tiny", served.data_folder) == before, page, "the old version in use")


def test_original_cases_are_named_when_the_server_starts_and_forgotten_in_the_page(
    page: Any, served: Served, cases: Path
) -> None:
    page.click("button:has-text('6 Retrain')")
    until(lambda: "none given" in page.inner_text("#original-cases"), page, "the line about the other model")
    assert page.locator("#forget-original-cases").count() == 0
    page.click("#model", force=True)
    page.click(".v-list-item:has-text('tiny')")
    line = "Original cases: blobs, replayed so that nothing is forgotten."
    until(lambda: page.inner_text("#original-cases") == line, page, "the line about them")
    assert to_replay("tiny", served.data_folder) == cases
    page.click("#forget-original-cases")
    until(lambda: "none given" in page.inner_text("#original-cases"), page, "the line without them")
    assert to_replay("tiny", served.data_folder) is None
