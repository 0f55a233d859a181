"""The page, without a browser: what it shows of the work, and what its buttons and the mouse do."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import METADATA
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import SHIPPED, list_versions
from Testing.geometry.dicom_files import write_dicom
from Testing.scene.open_cases import chest_library, edits_on_disk, point_lps_mm, predict
from Testing.scene.saved_scene import read_scene, save_scene

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed: there is no page", exc_type=ImportError)
if find_library("EGL") is None:
    pytest.skip("libEGL is not installed: no view can be drawn without a screen", allow_module_level=True)

SIZE = 800


class Person:
    """Somebody at the page, whose browser is not there: they see the state and press what there is."""

    def __init__(self, folder: Path, user: Path) -> None:
        from trame.app import get_server
        from trame_slicer.core import SlicerApp
        from vtkmodules.vtkCommonCore import vtkObject

        from DenseLandmarksLib.scene.workbench import Workbench
        from DenseLandmarksLib.web.app import BrowserApp
        from DenseLandmarksLib.web.downloads import Downloads

        vtkObject.GlobalWarningDisplayOff()  # about the X server that is not there
        app = self.app = SlicerApp()  # without it the colours go, and no image is seen
        self.scene = app.scene
        self.server = get_server(secrets.token_hex(8), client_type="vue3")
        self.bench = Workbench(app.scene, "anna", lambda line: None, data_folder=user)
        self.bench.open_library(folder)
        self.downloads = Downloads()
        self.page = BrowserApp(self.server, app, self.bench, self.downloads)
        self.view = self.page.views.views["Red"]
        self.resizes(SIZE, SIZE)
        vtkObject.GlobalWarningDisplayOn()

    def sees(self, name: str) -> Any:
        return self.server.state[name]

    def does(self, command: str, *arguments: Any) -> None:
        """Press something."""
        self.server.controller.trigger_fn(command)(*arguments)
        self.page.tick()

    def chooses(self, **wishes: Any) -> None:
        """Type or tick something."""
        self.page.frame.choose(**wishes)
        self.page.show()

    def resizes(self, width: int, height: int, pixel_ratio: float = 1) -> None:
        """Give the view another size."""
        self.size = width, height
        self.view.area.update_size("", {"w": width, "h": height, "p": pixel_ratio})

    def opens(self, name: str) -> None:
        self.does("open_case", next(case["value"] for case in self.sees("cases") if case["title"].startswith(name)))

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.sees("rows") if row["name"] == name)

    def pixel_of(self, name: str) -> tuple[int, int]:
        """Where a landmark is seen, as trame-rca counts."""
        from vtkmodules.vtkCommonMath import vtkMatrix4x4

        matrix = vtkMatrix4x4()
        vtkMatrix4x4.Invert(self.view.node.GetXYToRAS(), matrix)
        x, y = matrix.MultiplyPoint((*self.bench.case.world_ras_mm(name), 1.0))[:2]
        return round(x), round(y)

    def mouse(self, kind: str, x: int, y: int, **more: Any) -> None:
        """As trame-rca's part of the page says it."""
        keys = dict.fromkeys(
            ("shiftKey", "altKey", "ctrlKey", "metaKey", "buttonLeft", "buttonMiddle", "buttonRight"), 0
        )
        self.view.area.on_interaction(
            "", {"type": kind, "x": x, "y": y, "w": self.size[0], "h": self.size[1], **keys, **more}
        )

    def drags(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        self.mouse("MouseMove", *start)
        self.draws()
        self.mouse("LeftButtonPress", *start)
        for part in (0.25, 0.5, 0.75, 1.0):
            x, y = (round(a + (b - a) * part) for a, b in zip(start, end, strict=True))
            self.mouse("MouseMove", x, y)
            self.draws()
        self.mouse("LeftButtonRelease", *end)
        self.page.tick()

    def clicks(self, x: int, y: int) -> None:
        self.drags((x, y), (x, y))

    def draws(self) -> None:
        """What the program does for one picture."""
        self.view.pictures._catch_up()
        _ = self.view.pictures.rca.img_cols_rows

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not done():
            assert time.monotonic() < end, self.bench.predicting.log
            self.page.tick()
            time.sleep(0.01)

    def leaves(self) -> None:
        self.page.close()
        self.bench.close()
        self.downloads.close()


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    """A library of two chests."""
    return chest_library(tmp_path, chest_template, 2)


@pytest.fixture
def anna(tmp_path: Path, library: Library) -> Iterator[Person]:
    """At the page, with the library."""
    anna = Person(library.folder, tmp_path / "user")
    yield anna
    anna.leaves()


@pytest.fixture
def at_work(anna: Person, chest_template: Template) -> Person:
    """With chest-0 as a perfect model predicted it."""
    anna.opens("chest-0")
    predict(anna.bench.session, chest_template)
    anna.page.tick()
    return anna


def test_an_empty_page_says_what_to_do(anna: Person) -> None:
    assert anna.sees("library_name") == "chests · 0 of 2 cases finished"
    assert [case["title"] for case in anna.sees("cases")] == ["chest-0 · new", "chest-1 · new"]
    assert anna.sees("left_text") == "Choose an image above, or a case of the library."
    assert anna.sees("missing").startswith("expected an image")
    assert not anna.sees("has_case")
    assert not anna.sees("can_undo")


def test_a_radiograph_fills_one_view(anna: Person) -> None:
    anna.opens("chest-0")
    assert anna.sees("is_radiograph")
    assert anna.sees("case_name") == "chest-0"
    assert [name for name, view in anna.page.views.views.items() if view.pictures.is_in_sight] == ["Red"]
    x, y, _ = anna.view.node.GetFieldOfView()
    assert (x, y) == pytest.approx((anna.bench.case.image.larger_side_mm,) * 2)
    anna.resizes(SIZE, SIZE // 2)
    assert anna.view.node.GetFieldOfView()[1] == pytest.approx(y)


def test_a_volume_is_in_four_views(anna: Person, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (6, 40, 50)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "head.nrrd"))
    case = anna.bench.library.add(tmp_path / "head.nrrd")
    anna.does("added", [case.id], [])
    assert anna.sees("message") == "Added: 1 of 1 images."
    assert anna.sees("case_name") == "head"
    assert not anna.sees("is_radiograph")
    assert all(view.pictures.is_in_sight for view in anna.page.views.views.values())
    before = anna.view.node.GetSliceOffset(), anna.view.node.GetFieldOfView()[0]
    anna.mouse("MouseWheel", 300, 300, spinY=-1.0)
    assert anna.view.node.GetSliceOffset() != before[0]
    assert anna.view.node.GetFieldOfView()[0] == pytest.approx(before[1])


def test_the_wheel_zooms_a_radiograph(at_work: Person) -> None:
    before = at_work.view.node.GetFieldOfView()[0]
    at_work.mouse("MouseWheel", 300, 300, spinY=-1.0)
    assert at_work.view.node.GetFieldOfView()[0] < before
    at_work.does("fit")
    assert at_work.view.node.GetFieldOfView()[0] == pytest.approx(before)


def test_a_row_that_is_clicked_is_looked_at(at_work: Person) -> None:
    name = at_work.sees("rows")[3]["name"]
    at_work.does("pick", name, False, False)
    assert at_work.sees("current") == name
    assert at_work.sees("selected") == [name]
    assert at_work.pixel_of(name) == (SIZE // 2, SIZE // 2)
    assert min(at_work.view.node.GetFieldOfView()[:2]) == pytest.approx(0.3 * at_work.bench.case.image.larger_side_mm)


def test_a_landmark_that_is_dragged_is_where_it_was_dropped(at_work: Person) -> None:
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name, False, False)
    before = point_lps_mm(at_work.bench.case, name)
    x, y = at_work.pixel_of(name)
    mm_per_pixel = at_work.view.node.GetFieldOfView()[0] / SIZE
    at_work.drags((x, y), (x + 40, y - 30))
    moved = point_lps_mm(at_work.bench.case, name) - before
    assert moved[:2] == pytest.approx([40 * mm_per_pixel, 30 * mm_per_pixel], abs=2 * mm_per_pixel)
    assert at_work.row(name)["state"] == "corrected"
    at_work.does("undo")
    assert point_lps_mm(at_work.bench.case, name) == pytest.approx(before)
    assert at_work.row(name)["state"] == "predicted"


def test_a_quick_drag_ends_where_the_button_was_let_go(at_work: Person) -> None:
    """Between the press and the release no picture is drawn, and the mouse says where it is only by its moves."""
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name, False, False)
    x, y = at_work.pixel_of(name)
    at_work.mouse("MouseMove", x, y)
    at_work.mouse("LeftButtonPress", x, y)
    at_work.mouse("MouseMove", x + 20, y - 15)
    at_work.mouse("MouseMove", x + 40, y - 30)
    at_work.mouse("LeftButtonRelease", x + 40, y - 30)
    at_work.page.tick()
    assert at_work.row(name)["state"] == "corrected"
    assert at_work.pixel_of(name) == pytest.approx((x + 40, y - 30), abs=1)


def test_empty_parts_of_layers_are_left_out_and_nobody_sees_it(
    at_work: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DenseLandmarksLib.web import layers

    name = at_work.sees("rows")[0]["name"]

    def drag() -> None:
        x, y = at_work.pixel_of(name)
        at_work.drags((x, y), (x + 20, y - 15))

    def see() -> Any:
        return at_work.view.pictures.rca.img_cols_rows[0]

    for step in (
        lambda: at_work.resizes(SIZE, SIZE // 2),
        drag,
        lambda: at_work.mouse("MouseWheel", 300, 300, spinY=-1.0),
        lambda: at_work.does("undo"),
        lambda: at_work.does("fit"),
    ):
        step()
        at_work.draws()
        cropped = see()
        boxes = [part.box for part in at_work.view._layers._parts.values()]
        drawn = sum((right - left + 1) * (top - bottom + 1) for left, right, bottom, top in boxes)
        assert 0.01 < drawn / (len(boxes) * cropped[..., 0].size) < 0.3
        with monkeypatch.context() as patch:
            patch.setattr(layers, "_part_of", lambda picture, before: None)
            assert np.array_equal(see(), cropped)


def test_two_drags_in_quick_succession_are_two_corrections(at_work: Person, tmp_path: Path) -> None:
    """The second press comes before the program looked again."""
    names = [row["name"] for row in at_work.sees("rows") if row["structure"] == "heart"]
    for name in (names[0], names[len(names) // 2]):
        x, y = at_work.pixel_of(name)
        at_work.mouse("MouseMove", x, y)
        at_work.draws()
        at_work.mouse("LeftButtonPress", x, y)
        at_work.mouse("MouseMove", x + 6, y + 4)
        at_work.draws()
        at_work.mouse("LeftButtonRelease", x + 6, y + 4)
    assert edits_on_disk(tmp_path / "user").count("Move") == 2


def test_only_the_newest_place_of_the_mouse_counts(at_work: Person) -> None:
    moves = []
    at_work.view.slicer_view.interactor().AddObserver("MouseMoveEvent", lambda *_: moves.append(1), 99.0)
    for x in range(100, 200):
        at_work.mouse("MouseMove", x, 300)
    assert not moves
    at_work.draws()
    assert len(moves) == 1
    assert at_work.view.slicer_view.interactor().GetEventPosition()[0] == 199


def test_a_key_that_is_typed_into_a_field_deletes_nothing(at_work: Person) -> None:
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name, False, False)
    at_work.mouse("MouseMove", *at_work.pixel_of(name))
    at_work.draws()
    for kind in ("KeyDown", "KeyPress", "KeyUp"):
        at_work.mouse(kind, *at_work.pixel_of(name), key="Delete", keyCode=127)
    at_work.page.tick()
    assert not at_work.sees("can_redo")
    assert at_work.row(name)["state"] == "predicted"


def test_delete_over_a_landmark_says_that_it_is_absent(at_work: Person, tmp_path: Path) -> None:
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name, False, False)
    x, y = at_work.pixel_of(name)
    at_work.drags((x, y), (x + 40, y - 30))
    at_work.does("undo")
    before = edits_on_disk(tmp_path / "user")
    at_work.mouse("MouseMove", x + 200, y + 150)
    at_work.draws()
    at_work.does("delete_point", "Red")  # beside every point
    assert edits_on_disk(tmp_path / "user") == before
    at_work.drags((x, y), (x + 40, y - 30))
    at_work.does("undo")
    at_work.mouse("MouseMove", x, y)
    at_work.draws()
    at_work.does("delete_point", "../Red")
    at_work.does("delete_point", "Red")
    assert at_work.row(name)["state"] == "absent"
    assert edits_on_disk(tmp_path / "user")[-1] == "Absent"
    at_work.does("undo")
    assert at_work.row(name)["state"] == "predicted"


def test_the_buttons_decide_and_go_on(at_work: Person) -> None:
    first, second, third, fourth = (row["name"] for row in at_work.sees("rows")[:4])
    at_work.does("pick", first)
    at_work.does("accept")
    assert at_work.sees("current") == second
    at_work.does("absent")
    at_work.does("unsure")
    assert at_work.sees("current") == fourth
    assert [at_work.row(name)["state"] for name in (first, second, third)] == ["verified", "absent", "unsure"]
    total = len(at_work.sees("rows"))
    assert at_work.sees("left_text") == f"{total - 3} of {total} left"
    at_work.does("pick", third)
    at_work.does("reset")
    assert at_work.row(third)["state"] == "predicted"
    at_work.does("accept_all")
    assert at_work.sees("left_text") == f"0 of {total} left: all decided"
    assert "One Undo takes it back" in at_work.sees("message")
    at_work.does("undo")
    assert at_work.sees("left_text") == f"{total - 2} of {total} left"


def test_more_than_one_landmark_is_decided_at_once(at_work: Person) -> None:
    names = [row["name"] for row in at_work.sees("rows")[:5]]
    at_work.does("pick", names[0])
    at_work.does("pick", names[3], False, True)
    assert at_work.sees("selected") == names[:4]
    at_work.does("pick", names[1], True, False)
    at_work.does("absent")
    assert [at_work.row(name)["state"] == "absent" for name in names] == [True, False, True, True, False]


def test_a_structure_is_accepted_as_a_whole(at_work: Person) -> None:
    first = at_work.sees("rows")[0]
    at_work.does("pick", first["name"])
    at_work.does("accept_structure")
    mine = {row["state"] for row in at_work.sees("rows") if row["structure"] == first["structure"]}
    assert mine == {"verified"}
    assert at_work.bench.state.structure_review(first["structure"]) is Review.VERIFIED


def test_what_the_filter_leaves_out_is_not_gone_to(at_work: Person) -> None:
    at_work.chooses(filter="HEART")
    assert {row["structure"] for row in at_work.sees("rows")} == {"heart"}
    at_work.does("next")
    assert at_work.sees("current").startswith("heart")
    at_work.chooses(filter="", shown="decided")
    assert at_work.sees("rows") == []
    at_work.does("next")
    assert at_work.sees("message").startswith("None of the landmarks that the table shows is left")


def test_a_click_places_a_landmark(at_work: Person) -> None:
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name)
    at_work.does("place")
    assert at_work.sees("placing") == name
    at_work.does("give_up")
    assert at_work.sees("placing") == ""
    at_work.does("place")
    at_work.clicks(500, 500)
    assert at_work.sees("placing") == ""
    assert at_work.row(name)["state"] == "corrected"
    assert at_work.pixel_of(name) == pytest.approx((500, 500), abs=1)


def test_a_click_is_where_it_was_on_a_screen_of_many_pixels(at_work: Person) -> None:
    at_work.resizes(2000, 1500, 2)
    width, height = at_work.view.slicer_view.render_window().GetSize()
    assert 2_000_000 < width * height <= 2_500_000
    name = at_work.sees("rows")[0]["name"]
    at_work.does("pick", name)
    at_work.does("place")
    at_work.clicks(1200, 900)
    assert at_work.pixel_of(name) == pytest.approx((1200 * width / 2000, 900 * height / 1500), abs=2)
    at_work.resizes(600, 500, 2)
    assert at_work.view.slicer_view.render_window().GetSize() == (1200, 1000)  # as sharp as the screen
    at_work.does("place")
    at_work.clicks(400, 300)
    assert at_work.pixel_of(name) == pytest.approx((800, 600), abs=2)
    at_work.resizes(10**9, 1, 99)
    assert max(at_work.view.slicer_view.render_window().GetSize()) <= 4 * 8192


def test_a_new_landmark_is_found_in_the_other_case(at_work: Person, chest_template: Template) -> None:
    assert at_work.sees("new_problem")
    at_work.chooses(new_name="carina", new_structure="heart")
    at_work.does("new_landmark")
    assert at_work.sees("placing_new") == "carina"
    heart = next(row["name"] for row in at_work.sees("rows") if row["structure"] == "heart")
    at_work.clicks(*at_work.pixel_of(heart))
    assert at_work.sees("new_name") == ""
    assert at_work.row("carina")["structure"] == "heart"
    at_work.does("save")
    at_work.opens("chest-1")
    predict(at_work.bench.session, chest_template)
    at_work.page.tick()
    assert at_work.row("carina")["presence"] == Presence.PRESENT.value
    at_work.chooses(new_name="carina")
    assert at_work.sees("new_problem").startswith("There is a landmark of this name")


def test_saved_left_and_come_back_to(at_work: Person) -> None:
    at_work.does("pick", at_work.sees("rows")[0]["name"])
    at_work.does("accept")
    at_work.chooses(why="first look")
    at_work.does("save")
    assert at_work.sees("saved_line") == "chest-0: revision 1"
    assert at_work.sees("why") == ""
    assert at_work.sees("revisions")[0]["title"].endswith("- first look")
    at_work.does("accept_all")
    at_work.does("next_case")
    assert at_work.sees("case_name") == "chest-1"
    assert at_work.sees("case_reason")
    at_work.does("previous_case")
    assert at_work.sees("saved_line") == "chest-0: revision 2"
    at_work.chooses(revision=1)
    at_work.does("restore")
    total = len(at_work.sees("rows"))
    assert at_work.sees("left_text") == f"{total - 1} of {total} left"


def test_unsaved_work_of_a_session_that_broke_off_is_offered(at_work: Person, library: Library, tmp_path: Path) -> None:
    at_work.does("pick", at_work.sees("rows")[0]["name"])
    at_work.does("absent")
    at_work.leaves()
    again = Person(library.folder, tmp_path / "user")
    again.opens("chest-0")
    assert again.sees("notice").startswith("anna worked on this case")
    again.does("notice_yes")
    assert again.sees("notice") == ""
    assert "absent" in {row["state"] for row in again.sees("rows")}
    again.leaves()


@pytest.mark.parametrize(("answer", "states"), [("notice_yes", {"verified"}), ("notice_no", {"predicted"})])
def test_a_scene_older_than_its_library_asks_which_to_keep(
    at_work: Person, library: Library, tmp_path: Path, answer: str, states: set[str]
) -> None:
    at_work.does("save")
    save_scene(at_work.scene, tmp_path / "scene.mrb")
    at_work.does("accept_all")
    at_work.does("save")
    at_work.leaves()
    again = Person(library.folder, tmp_path / "user")
    again.scene.SetDataIOManager(None)  # it has no place to unpack a bundle in
    read_scene(tmp_path / "scene.mrb", again.scene)
    again.bench.reopen()
    again.page.tick()
    assert "Both are shown: keep the library's, or the scene's (faint)." in again.sees("notice")
    assert (again.sees("notice_yes"), again.sees("notice_no")) == ("Keep the library's", "Keep the scene's")
    assert not again.sees("notice_discards")
    again.does(answer)
    assert again.sees("notice") == ""
    assert {row["state"] for row in again.sees("rows")} == states
    again.leaves()


def test_lost_work_is_discarded_for_good(at_work: Person, library: Library, tmp_path: Path) -> None:
    at_work.leaves()
    again = Person(library.folder, tmp_path / "user")
    again.opens("chest-0")
    assert again.sees("notice_discards")  # the browser asks once more
    again.does("notice_no")
    assert again.sees("notice") == ""
    assert again.bench.session.recoverable == ()
    again.leaves()


def test_what_became_of_images_that_were_sent_is_told(anna: Person) -> None:
    case_id = anna.bench.library.cases()[1].id
    anna.does("added", [case_id], ["a.png: expected an image, got a letter."])
    assert anna.sees("message") == "Added: 1 of 2 images. a.png: expected an image, got a letter."
    assert anna.sees("case_name") == "chest-1"
    anna.does("added", [], ["a.csv: expected landmarks, got none."])
    assert anna.sees("message") == "a.csv: expected landmarks, got none."
    anna.does("added", ["../other"], [])
    assert anna.sees("message").startswith("expected a case of this library")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second version of the shipped model, 9.0, in the user's data folder; returns the folder of that model's versions."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    shutil.copytree(SHIPPED / "chest-xray", tmp_path / "retrained")
    path = tmp_path / "retrained" / METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "9.0"}))
    return add_version(tmp_path / "retrained").folder.parent


def test_one_version_alone_shows_no_row(tmp_path: Path, anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    anna.page.show()
    assert len(anna.sees("versions")) == 1


def test_another_version_is_used_and_deleted(models: Path, anna: Person) -> None:
    shipped = json.loads((SHIPPED / "chest-xray" / METADATA).read_text())["version"]
    assert [one["title"] for one in anna.sees("versions")] == [f"{shipped} (shipped) · in use", "9.0"]
    assert anna.sees("version") == 0
    assert not anna.sees("can_use_version")
    anna.chooses(version=1)
    assert anna.sees("can_use_version")
    assert anna.sees("can_delete_version")
    assert anna.sees("version_name") == "chest-xray 9.0"
    anna.does("use_version")
    assert anna.sees("model_about")["name"] == "chest-xray 9.0"
    assert [one["title"] for one in anna.sees("versions")] == [f"{shipped} (shipped)", "9.0 · in use"]
    anna.does("delete_version")
    assert "not active" in anna.sees("message")
    anna.chooses(version=0)
    assert not anna.sees("can_delete_version")
    anna.does("delete_version")
    assert "came with the program" in anna.sees("message")
    anna.does("use_version")
    anna.chooses(version=1)
    anna.does("delete_version")
    assert [one.version for one in list_versions("chest-xray")] == [shipped]
    assert len(anna.sees("versions")) == 1
    assert not (models / "9.0").exists()
    for row in (-1, 1, "../..", None, [0]):
        anna.chooses(version=row)
        anna.does("delete_version")
    assert len(list_versions("chest-xray")) == 1


def test_the_model_that_knows_what_the_file_states_is_offered(anna: Person, tmp_path: Path) -> None:
    anna.opens("chest-0")
    assert (anna.sees("fitting_model"), anna.sees("fitting_model_tip")) == ("", "")
    film = anna.bench.library.add(write_dicom(tmp_path / "film.dcm", BodyPartExamined="HAND"))
    anna.does("added", [film.id], [])
    assert anna.sees("fitting_model") == "hand-xray"
    assert anna.sees("fitting_model_tip") == "The image's file states body part HAND, which this model knows."
    anna.chooses(model="hand-xray")
    assert anna.sees("fitting_model") == ""


def test_the_model_card_is_read_in_the_page(models: Path, anna: Person) -> None:
    card = (SHIPPED / "chest-xray" / "docs" / "README.md").read_text()
    assert anna.sees("card") == ""
    anna.chooses(card_open=True, model="../../etc")
    assert anna.sees("card") == card
    assert anna.sees("model_about")["rows"][-1]["has_card"]
    (models / "9.0" / "docs" / "README.md").write_bytes(b"by others \xff")
    anna.chooses(version=1, model="chest-xray")
    anna.does("use_version")
    assert anna.sees("card") == "by others \ufffd"
    anna.chooses(card_open=False)
    assert anna.sees("card") == ""


def test_exported_files_can_be_fetched(at_work: Person, tmp_path: Path) -> None:
    at_work.does("export")
    key = at_work.sees("export_link").removeprefix("download/")
    with zipfile.ZipFile(at_work.downloads._offers[key].path) as archive:
        (name,) = archive.namelist()
        points = json.loads(archive.read(name))["markups"][0]["controlPoints"]
    assert name == "chest-0.mrk.json"
    assert len(points) <= len(at_work.sees("rows"))
    at_work.chooses(export_format="datalist")
    assert at_work.sees("why_no_export").startswith("Training data is a list of cases")
    at_work.does("save")
    at_work.chooses(export_scope="library", export_format="csv")
    at_work.does("export")
    at_work.until(lambda: not at_work.sees("exporting"))
    assert at_work.sees("message").startswith("Exported: cases 1")


def test_a_pixel_size_is_typed(at_work: Person) -> None:
    badge = at_work.sees("spacing_badge")
    at_work.chooses(spacing_typed="0,5")
    at_work.does("set_spacing")
    assert at_work.sees("spacing_badge") == "0.5 x 0.5 mm · given"
    at_work.does("undo")
    assert at_work.sees("spacing_badge") == badge
    at_work.chooses(spacing_typed="wide")
    at_work.does("set_spacing")
    assert at_work.sees("message").startswith("expected the size of a pixel in mm, got none")


def test_a_ruler_measures_the_pixel_size(at_work: Person) -> None:
    at_work.does("ruler")
    at_work.clicks(200, 300)
    at_work.clicks(600, 300)
    assert at_work.sees("ruler_done")
    width_mm = at_work.bench.state.geometry.spacing_mm[0]
    length_mm = 400 * at_work.view.node.GetFieldOfView()[0] / SIZE
    at_work.chooses(ruler_length=str(2 * length_mm))
    at_work.does("calibrate")
    assert at_work.bench.state.geometry.spacing_mm[0] == pytest.approx(2 * width_mm, rel=0.01)
    assert not at_work.sees("ruling")


def test_predicting_as_a_person_does_it(anna: Person, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from DenseLandmarksLib.web import state

    monkeypatch.setattr(state, "model_names", lambda: (str(tiny_bundle),))
    anna.chooses(model=str(tiny_bundle), device="cpu", log_open=True)
    anna.opens("chest-0")
    assert anna.sees("missing") == ""
    anna.does("predict")
    assert anna.sees("predicting")
    anna.does("predict")  # it is Cancel now
    anna.until(lambda: not anna.sees("predicting"))
    assert anna.sees("rows") == []
    anna.does("predict")
    anna.until(lambda: not anna.sees("predicting"))
    assert len(anna.sees("rows")) > 0
    assert "landmarks by" in anna.sees("predict_said")
    anna.does("check")
    anna.until(lambda: not anna.sees("checking"))
    assert anna.sees("check_found").startswith("Everything works on cpu")


def test_what_no_page_of_ours_sends_changes_nothing(at_work: Person) -> None:
    at_work.chooses(model="../../etc", shown=["x"], close_up="wide", go_on="yes")
    assert at_work.page.frame.chosen("model") == "chest-xray"
    assert at_work.page.frame.chosen("shown") == "all"
    assert at_work.page.frame.chosen("close_up") == 0.3
    for command, arguments in (
        ("open_case", ["../other"]),
        ("pick", [{"name": 1}]),
        ("set_view", [[], {}]),
        ("set_strength", ["wide"]),
    ):
        at_work.does(command, *arguments)
    assert at_work.sees("case_name") == "chest-0"
    assert not at_work.sees("can_redo")


def test_one_picture_is_under_way_at_a_time(at_work: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from DenseLandmarksLib.web import pictures as module

    monkeypatch.setattr(module, "_GIVEN_UP_S", 60.0)
    pictures, sent, drawn = at_work.view.pictures, [], []
    at_work.view.slicer_view.render_window().AddObserver("EndEvent", lambda *_: drawn.append(1))
    pictures.set_push_callback(lambda picture, about: sent.append(about["quality"]))

    async def until(count: int) -> None:
        async with asyncio.timeout(30):
            while len(sent) < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # nothing more comes
        assert len(sent) == count

    async def watch() -> None:
        task = asyncio.get_running_loop().create_task(pictures.run())
        pictures.schedule_render()
        await until(1)
        pictures.schedule_render()
        await until(1)  # the browser did not say that it showed the first
        pictures.seen()
        await until(2)
        pictures.seen()
        await until(3)  # sharp, once it is still
        pictures.seen()
        await until(3)
        task.cancel()

    asyncio.run(watch())
    assert sent[0] == sent[1] < sent[2]
    assert len(drawn) == 2, "what is sent sharp was drawn before"
