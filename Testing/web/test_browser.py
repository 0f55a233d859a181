"""A person at work in a real browser: what they see, and what is on the disk afterwards."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle
from Testing.geometry.dicom_files import write_ct_slices, write_dicom
from Testing.web.chromium import FLAGS, SIZE, Served, find_chromium, until
from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image

CHROMIUM = find_chromium()
if CHROMIUM is None:
    pytest.skip("Chromium is not installed: no page can be opened", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nobody drives Chromium")

FILM = (512, 512)
# The darkest grey of an image that is not the view's black.
SEEN = 12


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def films(tmp_path: Path) -> Library:
    """A library of two chests."""
    template = read_description(find_bundle("chest-xray")).template
    library = Library.create(tmp_path / "library", "films")
    for number, seed in enumerate((DEMO_SEEDS[0], DEMO_SEEDS[1])):
        path = tmp_path / f"film-{number}.nrrd"
        sitk.WriteImage(phantom_image(draw_phantom(template, seed, FILM)).volume, str(path))
        library.add(path, copy=True)
    return library


@pytest.fixture
def served(tmp_path: Path, films: Library) -> Iterator[Served]:
    served = Served(tmp_path, films.folder)
    yield served
    assert served.stop() == 0, "".join(served.said)
    # The page asks for commands that there are, by their names.
    assert [line for line in served.said if "seems to be missing" in line] == []


@pytest.fixture
def page(chromium: Any, served: Served) -> Iterator[Any]:
    context = chromium.new_context(viewport=SIZE, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.link)
    page.wait_for_selector("#case-name", state="attached")
    yield page
    context.close()
    assert errors == []


class View:
    """The red view as it is seen, with a film fitted in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.box = page.locator(".views").first.bounding_box()

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3)."""
        shot = Image.open(io.BytesIO(self.page.screenshot(clip=self.box))).convert("RGB")
        return np.asarray(shot)

    def film(self) -> tuple[float, float, float]:
        """Left, top and screen pixels per film pixel, as the screenshot shows the film."""
        grey = self.pixels().max(axis=2)
        columns, rows = (np.flatnonzero(np.median(grey, axis=axis) > SEEN) for axis in (0, 1))
        width = columns[-1] - columns[0] + 1
        height = rows[-1] - rows[0] + 1
        scale = max(width / FILM[1], height / FILM[0])
        centre_x, centre_y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
        return centre_x - scale * FILM[1] / 2, centre_y - scale * FILM[0] / 2, scale

    def screen(self, index_ij: NDArray[np.float64]) -> tuple[float, float]:
        """Where a continuous pixel of the film is on the screen."""
        left, top, scale = self.film()
        return self.box["x"] + left + (index_ij[0] + 0.5) * scale, self.box["y"] + top + (index_ij[1] + 0.5) * scale


def predict(page: Any) -> None:
    page.click("#predict")
    until(lambda: "of 166" in page.inner_text("#left") or "of 167" in page.inner_text("#left"), page, "a prediction")
    page.wait_for_timeout(500)


def save(page: Any, library: Library, name: str) -> int:
    """Save, and wait for the revision; returns its number."""
    before = revision(library, name)
    page.click("#save")
    until(lambda: revision(library, name) > before, page, "a new revision")
    return revision(library, name)


def case_of(library: Library, name: str) -> Any:
    return library.case(next(entry.id for entry in library.cases() if entry.name == name))


def revision(library: Library, name: str) -> int:
    return max(case_of(library, name).revision_numbers(), default=0)


def index_on_disk(library: Library, name: str, landmark: str) -> NDArray[np.float64]:
    """The continuous pixel (i, j) of a landmark in the newest .mrk.json."""
    case = case_of(library, name)
    folder = case.revision_folder(revision(library, name))
    for markup in json.loads((folder / "landmarks.mrk.json").read_text())["markups"]:
        assert markup["coordinateSystem"] == "LPS"
        for point in markup["controlPoints"]:
            if point["label"] == landmark:
                geometry: ImageGeometry = case.geometry
                offset = np.array(point["position"]) - geometry.origin_lps_mm
                return np.asarray(np.linalg.solve(geometry.index_to_lps_mm, offset))[:2]
    raise AssertionError(f"{landmark} is not in {folder}")


def open_case(page: Any, name: str) -> None:
    page.click("#next-case")
    until(lambda: page.inner_text("#case-name") == name, page, f"{name} is open")
    page.wait_for_timeout(700)


def test_a_case_from_the_list_to_the_disk(page: Any, films: Library) -> None:
    """Predict, see, drag, take back, define, go on, find it there, save, download."""
    open_case(page, "film-0")
    view = View(page)
    before = view.pixels()
    predict(page)
    assert page.inner_text("#left").startswith("166 of 166")
    coloured = view.pixels().astype(int)
    spread = coloured.max(axis=2) - coloured.min(axis=2)
    assert (spread > 60).sum() > 2000, "neither masks nor landmarks are seen"
    assert np.abs(coloured - before).max() > 60
    assert save(page, films, "film-0") == 1

    # A landmark is dragged, and lies on the disk where the screenshot says that it was dropped.
    name = "heart_04"
    start_ij = index_on_disk(films, "film-0", name)
    drop_ij = start_ij + [14.0, -9.0]
    x, y = view.screen(start_ij)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    page.mouse.down()
    to_x, to_y = view.screen(drop_ij)
    for step in range(1, 9):
        page.mouse.move(x + (to_x - x) * step / 8, y + (to_y - y) * step / 8)
        page.wait_for_timeout(60)
    page.mouse.up()
    until(lambda: page.inner_text("#left").startswith("165 of 166"), page, "the drag is a correction")
    assert save(page, films, "film-0") == 2
    assert np.abs(index_on_disk(films, "film-0", name) - drop_ij).max() <= 1.0

    # One undo takes it back.
    page.click("#undo")
    until(lambda: page.inner_text("#left").startswith("166 of 166"), page, "the drag is taken back")
    save(page, films, "film-0")
    assert np.allclose(index_on_disk(films, "film-0", name), start_ij, atol=1e-3)

    # Slicer's own key over a landmark says that it is absent, and not while somebody types.
    page.mouse.move(*view.screen(start_ij))
    page.wait_for_timeout(500)
    page.focus("#filter")
    page.keyboard.press("Delete")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Delete")
    until(lambda: page.inner_text("#left").startswith("165 of 166"), page, "the landmark under the mouse is absent")
    page.click("#undo")
    until(lambda: page.inner_text("#left").startswith("166 of 166"), page, "it is there again")

    # One is absent, by its key.
    page.click("#landmarks .v-virtual-scroll__item >> nth=0")
    page.keyboard.press("x")
    until(lambda: page.inner_text("#left").startswith("165 of 166"), page, "one is absent")

    # A new landmark by one click, and in the next case without another.
    page.click("#fit")
    page.fill("#new-name", "hilum")
    page.click("#new-landmark")
    page.wait_for_timeout(300)
    x, y = View(page).screen(np.array([200.0, 250.0]))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()
    until(lambda: "of 167" in page.inner_text("#left"), page, "a new landmark")
    save(page, films, "film-0")
    assert np.abs(index_on_disk(films, "film-0", "hilum") - [200.0, 250.0]).max() <= 1.0
    open_case(page, "film-1")
    predict(page)
    until(lambda: "of 167" in page.inner_text("#left"), page, "the new landmark is found in the next case")
    save(page, films, "film-1")
    assert np.isfinite(index_on_disk(films, "film-1", "hilum")).all()

    # What is exported is downloaded.
    page.click("#export")
    page.wait_for_selector("#download", state="visible")
    with page.expect_download() as downloading:
        page.click("#download")
    with zipfile.ZipFile(downloading.value.path()) as files:
        assert [name for name in files.namelist() if name.endswith(".mrk.json")]


def test_a_reload_and_a_closed_tab_come_back_to_the_same_work(chromium: Any, served: Served, page: Any) -> None:
    open_case(page, "film-0")
    predict(page)
    page.click("#landmarks .v-virtual-scroll__item >> nth=0")
    page.click("#accept")
    until(lambda: page.inner_text("#left").startswith("165"), page, "one is accepted")
    page.reload()
    page.wait_for_selector("#case-name", state="attached")
    until(lambda: page.inner_text("#left").startswith("165"), page, "the work is there after a reload")
    page.close()
    context = chromium.new_context(viewport=SIZE)
    again = context.new_page()
    again.goto(served.link)
    again.wait_for_selector("#case-name", state="attached")
    until(lambda: again.inner_text("#left").startswith("165"), again, "the work is there in another tab")
    until(lambda: View(again).pixels().max() > 100, again, "the film is seen there")
    context.close()


def test_a_worker_that_is_killed_costs_nothing(page: Any, served: Served) -> None:
    open_case(page, "film-0")
    page.click("#predict")
    children = until(lambda: _children(served.pid), page, "a worker")
    os.kill(children[0], signal.SIGKILL)
    until(lambda: "of 166" in page.inner_text("#left"), page, "the prediction comes from another worker")


def test_a_file_that_is_no_image_is_told_in_one_line(page: Any, tmp_path: Path, films: Library) -> None:
    (tmp_path / "letter.png").write_bytes(b"Dear colleague")
    page.set_input_files("#upload", str(tmp_path / "letter.png"))
    until(lambda: "expected" in page.inner_text("#message"), page, "it is told")
    assert len(films.cases()) == 2


@pytest.fixture
def slow(page: Any, tmp_path: Path) -> list[str]:
    """Three images of 4 MB, and a line that takes 2 MB in a second."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2_000_000}
    line.send("Network.emulateNetworkConditions", speed)
    paths = [str(tmp_path / f"large-{number}.png") for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 255, (2000, 2000), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)
    return paths


def test_slices_that_are_chosen_together_become_a_volume_for_each_series(
    page: Any, films: Library, tmp_path: Path
) -> None:
    chosen = []
    for uid, count in (("1.2.3.40", 12), ("1.2.3.41", 9)):
        heights_mm = [2.5 * number for number in range(count)]
        # As in PET, each says first of which other series it is a companion.
        other = Dataset()
        other.StudyInstanceUID, other.SeriesInstanceUID = "1.2", "1.2.3.99"
        chosen += write_ct_slices(tmp_path, heights_mm, uid, RelatedSeriesSequence=[other])
    (tmp_path / "letter.png").write_bytes(b"Dear colleague")
    page.set_input_files("#upload", [*chosen[::2], tmp_path / "letter.png", *chosen[1::2]])
    until(lambda: "Added: 2 of 3 images." in page.inner_text("#message"), page, "both come in")
    assert "letter.png: expected an image" in page.inner_text("#message")
    added = {entry.id for entry in films.cases() if not entry.name.startswith("film")}
    assert sorted(films.case(case).read_image()[0].geometry.size[2] for case in added) == [9, 12]


def is_adding(page: Any) -> bool:
    return bool(page.is_disabled("#add-images"))


def test_images_that_are_added_say_how_far_they_are_and_can_be_stopped(
    page: Any, films: Library, slow: list[str]
) -> None:
    page.set_input_files("#upload", slow)
    seen: list[float] = []

    def look() -> bool:
        seen.append(float(page.get_attribute("#adding [role=progressbar]", "aria-valuenow")))
        return "1 of 3 images" in page.inner_text("#adding") and seen[-1] > 40

    until(lambda: page.is_visible("#adding"), page, "it is seen that images are added")
    until(look, page, "the second file is on its way")
    assert seen == sorted(seen)
    assert len({part for part in seen if part < 33}) > 2, "the bytes of a file are not counted"
    page.click("#cancel-adding")
    until(lambda: page.inner_text("#message") == "Added: 1 of 1 images.", page, "it is told what came in")
    assert not page.is_visible("#adding")
    assert page.inner_text("#case-name") == "large-0"
    until(lambda: not list(films.folder.glob(".writing-*")), page, "nothing is left of the second file")
    assert sorted(entry.name for entry in films.cases()) == ["film-0", "film-1", "large-0"]


def test_a_tab_that_is_reloaded_while_images_are_added_can_add_again(page: Any, slow: list[str]) -> None:
    page.set_input_files("#upload", slow)
    until(lambda: is_adding(page), page, "images are added")
    page.reload()
    page.wait_for_selector("#case-name", state="attached")
    until(lambda: not is_adding(page), page, "images can be added again")


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in path.read_text().split()]


def test_the_model_that_knows_what_the_file_states_is_taken_with_one_click(
    page: Any, films: Library, tmp_path: Path
) -> None:
    hand = films.add(write_dicom(tmp_path / "hand.dcm", BodyPartExamined="HAND"), copy=True)
    page.evaluate(f"window.trame.trigger('added', [['{hand.id}'], []])")  # as after an upload
    until(lambda: page.locator("#fitting-model").count() == 1, page, "another model is offered")
    assert page.inner_text("#fitting-model").casefold() == "use hand-xray"
    page.click("#fitting-model")
    until(lambda: "hand-xray" in page.inner_text("#model-summary"), page, "it is taken")
    assert page.locator("#fitting-model").count() == 0
