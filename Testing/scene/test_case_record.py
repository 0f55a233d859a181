"""A saved scene is the whole case: whoever opens it, wherever, goes on where it was left."""

from __future__ import annotations

import base64
import io
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from vtkmodules.util.numpy_support import vtk_to_numpy

from DenseLandmarksLib import __version__
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.array_file import MemoryStore
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Define, LookUp, Move, Paint, Place
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.state_record import state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene import case_record
from DenseLandmarksLib.scene.case_record import CaseNodes, CaseRecord
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.record_text import NODE_CLASS
from DenseLandmarksLib.scene.saved_case import SavedCase, names_of, same, saved_cases, structure_of
from DenseLandmarksLib.scene.uv_volumes import STRUCTURE, UvVolumes
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.scene.saved_scene import files_in, new_scene, nodes_of, read_scene, said_in_new_process, save_scene
from Testing.test_privacy import CR, found_in, radiograph

A = "right_lung_10"
HILUM = NewLandmark("hilum", "right_lung", (0.1, 0.2))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "library", "Thorax, Bär & Söhne")


def open_session(library: Library, template: Template, folder: Path, seed: int = 0) -> Session:
    """A case with something of everything that can be lost."""
    image = chest_image(template, seed=seed)
    film = folder / f"film-{seed}.nrrd"
    sitk.WriteImage(image.volume, str(film))
    session = Session(library.add(film), "an annotator", data_folder=folder / "user")
    answer = perfect_answer(template, image, lost=("left_clavicle",), shift_px=(0.3 + 2 * seed, -0.7))
    session.take(answer, session.state.geometry)
    session.set_strength(0.37)
    points = dict(zip(session.state.landmarks.names, session.state.landmarks.points_lps_mm, strict=True))
    session.move({A: points[A] + [5, 1 / 3, 0], "heart_03": points["heart_03"] + [2, 1, 0]})
    session.mark_absent("right_clavicle_01")
    session.mark_unsure("heart_12")
    session.accept_structure("heart")
    session.place("by hand", points["heart_01"] + [9, 9, 0], "heart")
    session.define_landmark("Apex ä", points["heart_05"] + [1, 0, 0], "heart", "lowest", ("SCT", "1", "Apex"))
    session.correct_spacing((1 / 3, 0.7, 1.1))
    mask = np.zeros(session.state.geometry.size[::-1], bool)
    mask[0, 40:90, 55:70] = np.random.default_rng(seed).random((50, 15)) > 0.4
    session.paint("right_lung", mask)
    return session


@pytest.fixture
def session(library: Library, chest_template: Template, tmp_path: Path) -> Session:
    return open_session(library, chest_template, tmp_path)


class Shown:
    """A session in a scene: the image, a list per structure as Slicer's lists are, the uv field and the record."""

    def __init__(self, scene: Any, session: Session, volume: MedicalImage | None = None) -> None:
        self.scene, self.session, name = scene, session, session.case.name
        image = volume or session.case.read_image(session.state.geometry)[0]
        self.image = ImageInScene(add_volume_node(scene, image), image.geometry)
        self.lists = {
            structure: scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"list {n}")
            for n, structure in enumerate(dict.fromkeys(session.state.landmarks.structures))
        }
        self.volumes, self.record = UvVolumes(scene, name), CaseRecord(scene, name)
        self.write()

    @property
    def nodes(self) -> CaseNodes:
        return CaseNodes(self.image.volume, self.lists, None, self.volumes.nodes)

    def write(self) -> Any:
        self.image.show(self.session.state.geometry)
        self.volumes.show(self.session.state, self.image)
        return self.record.write(self.session, self.nodes)


def only_case(scene: Any) -> SavedCase:
    (case,) = saved_cases(scene)
    return case


def record_of(case: SavedCase) -> Any:
    assert case.record is not None
    return case.record


def test_a_saved_scene_gives_the_case_back_to_the_last_bit(scene: Any, session: Session, tmp_path: Path) -> None:
    session.save("a first look")
    session.move({A: session.state.landmarks.points_lps_mm[9] + [1 / 7, 0, 0]})
    shown = Shown(scene, session)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    shown.record.write(session, replace(shown.nodes, segmentation=segmentation))
    scene.RemoveNode(scene.GetNodeByID(segmentation.GetID()))
    path = save_scene(scene, tmp_path / "case.mrb")
    case = only_case(read_scene(path))
    found, wanted = (state_to_record(state, MemoryStore()) for state in (case.state(), session.state))
    assert json.dumps(found) == json.dumps(wanted)
    assert (case.library_id, case.library_name) == (session.case.library_id, "Thorax, Bär & Söhne")
    assert (case.case_id, case.case_name) == (session.case.id, "film-0")
    assert (case.revision, case.unsaved, case.who) == (1, True, "an annotator")
    assert case.when.endswith("+00:00")
    assert case.volume.GetName() == "film-0"
    assert [structure_of(node) for node in case.lists] == list(dict.fromkeys(session.state.landmarks.structures))
    assert list(case.uv) == list(session.state.answer.prediction.structures)  # type: ignore[union-attr]
    assert case.segmentation is None


def test_the_segmentation_of_a_saved_case_is_found(scene: Any, session: Session) -> None:
    shown = Shown(scene, session)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    shown.record.write(session, replace(shown.nodes, segmentation=segmentation))
    assert only_case(scene).segmentation is segmentation


IN_A_NEW_PROCESS = """
import json, sys
from pathlib import Path
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.array_file import MemoryStore
from DenseLandmarksLib.annotation.state_record import state_to_record
from DenseLandmarksLib.scene.saved_case import saved_cases
from Testing.scene.saved_scene import read_scene
from Testing.scene.test_case_record import going_on
scene = read_scene(Path(sys.argv[1]))
(case,) = saved_cases(scene)
state = case.state()
print("RECORDS", json.dumps([state_to_record(one, MemoryStore()) for one in (state, *going_on(state))]))
"""


def going_on(state: CaseState) -> list[CaseState]:
    """What is done to the case later: a landmark looked up that nobody knew, one defined, one corrected."""
    looked_up = apply_edit(state, LookUp((HILUM,)))
    defined = apply_edit(looked_up, Define(NewLandmark("root", "heart", (0.2, -0.1)), (66.0, 80.0, 0.0)))
    return [looked_up, defined, apply_edit(defined, Move((("heart_20", (60.0, 61.0, 0.0)),)))]


def test_who_opens_the_scene_elsewhere_looks_up_the_same_place_and_goes_on(
    scene: Any, session: Session, tmp_path: Path
) -> None:
    Shown(scene, session)
    path = save_scene(scene, tmp_path / "case.mrb")
    said = said_in_new_process(IN_A_NEW_PROCESS, path).split("RECORDS ")[1]
    states = [session.state, *going_on(session.state)]
    assert said.strip() == json.dumps([state_to_record(state, MemoryStore()) for state in states])
    assert "hilum" in states[1].landmarks.names


def test_scenes_that_are_added_to_others_keep_their_cases_apart(
    scene: Any, library: Library, chest_template: Template, tmp_path: Path
) -> None:
    one, two, three = (open_session(library, chest_template, tmp_path, seed) for seed in range(3))
    Shown(scene, one)
    other = new_scene()
    Shown(other, two)
    Shown(other, three)
    first, pair = save_scene(scene, tmp_path / "one.mrb"), save_scene(other, tmp_path / "pair.mrb")
    for path in (pair, first, first):
        read_scene(path, into=other)

    def has_all(there: Any) -> None:
        cases = saved_cases(there)
        assert sorted(case.case_name for case in cases) == sorted(["film-0"] * 2 + ["film-1", "film-2"] * 2)
        of = {session.case.id: session.state for session in (one, two, three)}
        for case in cases:
            assert same(case.state(), of[case.case_id])
            assert case.volume.GetName().startswith(case.case_name)
        nodes = [node for case in cases for node in (*case.lists, *case.uv.values(), record_of(case))]
        assert len({node.GetID() for node in nodes}) == len(nodes) == 6 * (5 + 5 + 1)

    has_all(other)
    has_all(read_scene(save_scene(other, tmp_path / "all.mrb")))


ODD_NAMES = {
    "path": "../../etc/passwd",
    "windows": "C:\\films\\a|b*?",
    "xml": "<a href=\"x\"> 'b' & c;",
    "unicode": "Ärztin 肺 😀 \u200b",
    "long": "x" * 200,
    "long unicode": "肺" * 200,
    "dots": "..",
    "leading spaces": "  film",
    "dot at the end": "film. ",
    "control": "a\x01b\tc\nd\x7f",
    "no text": "film\udc80",
    "no character": "film\ufffe",
    "encoded": "%2e%41%3B;:{}=,",
    "device": "con",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_no_name_keeps_a_scene_from_being_saved_and_opened(
    scene: Any, session: Session, tmp_path: Path, name: str
) -> None:
    session.case = replace(session.case, name=name)
    # The journal takes text only, the names of files are not always that.
    text = name.encode("utf-8", "replace").decode()
    session.place(f"landmark {text}", session.state.landmarks.points_lps_mm[0], f"list {text}")
    session.paint(f"painted {text}", np.ones(session.state.geometry.size[::-1], bool))
    session.who = name
    Shown(scene, session)
    case = only_case(read_scene(save_scene(scene, tmp_path / "case.mrb")))
    assert same(case.state(), session.state)
    assert (case.case_name, case.who) == (name, name)
    names = {structure_of(node): names_of(node) for node in case.lists}
    assert names[f"list {text}"] == (f"landmark {text}",)
    assert {*case.uv} == {*session.state.answer.prediction.structures}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_no_name_of_a_structure_keeps_a_scene_from_being_opened(
    scene: Any, session: Session, tmp_path: Path, name: str
) -> None:
    answer = session.state.answer
    assert answer is not None
    assert answer.prediction.uv_field is not None
    renamed = replace(answer.prediction.uv_field, structures=(name, *answer.prediction.uv_field.structures[1:]))
    session.take(replace(answer, prediction=replace(answer.prediction, uv_field=renamed)), session.state.geometry)
    Shown(scene, session)
    case = only_case(read_scene(save_scene(scene, tmp_path / "case.mrb")))
    assert same(case.state(), session.state)
    assert name in case.uv


def without_a_field(state: CaseState) -> CaseState:
    assert state.answer is not None
    return replace(
        state, answer=replace(state.answer, prediction=replace(state.answer.prediction, uv_field=None), template=None)
    )


def unplaced(state: CaseState) -> CaseState:
    later = LandmarkSet.unplaced(["later"], ["heart"])
    return state.with_predicted(state.landmarks.joined(later))


WITH_LITTLE: Mapping[str, Callable[[CaseState], CaseState]] = {
    "nothing": lambda state: CaseState(state.geometry),
    "by hand": lambda state: apply_edit(CaseState(state.geometry), Place("tip", "finger", (3.5, 4.25, 0.0))),
    "painted": lambda state: apply_edit(CaseState(state.geometry), Paint("devices", np.eye(128, dtype=bool)[None])),
    "no uv field": without_a_field,
    "not placed": unplaced,
}


@pytest.mark.parametrize("change", WITH_LITTLE.values(), ids=WITH_LITTLE)
def test_a_case_with_little_in_it_comes_back(
    scene: Any, session: Session, tmp_path: Path, change: Callable[[CaseState], CaseState]
) -> None:
    session._states = [change(session.state)]
    session._history = type(session._history)()
    Shown(scene, session)
    case = only_case(read_scene(save_scene(scene, tmp_path / "case.mrb")))
    assert same(case.state(), session.state)
    assert (case.revision, case.unsaved) == (0, False)
    assert len(case.uv) == (5 if session.state.answer and session.state.answer.prediction.uv_field else 0)


def test_a_volume_without_structures_comes_back(scene: Any, library: Library, tmp_path: Path) -> None:
    volume = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (12, 50, 40)).astype(np.int16))
    volume.SetSpacing((0.5, 0.8, 2.0))
    sitk.WriteImage(volume, str(tmp_path / "ct.nrrd"))
    session = Session(library.add(tmp_path / "ct.nrrd"), "", data_folder=tmp_path / "user")
    session.place("carina", (3.0, 4.0, 5.0))
    Shown(scene, session, MedicalImage(volume, SpacingSource.GIVEN, "ct"))
    case = only_case(read_scene(save_scene(scene, tmp_path / "case.mrb")))
    assert same(case.state(), session.state)
    assert [(structure_of(node), names_of(node)) for node in case.lists] == [("", ("carina",))]


def test_the_provenance_can_be_read_by_people(scene: Any, session: Session) -> None:
    anchor = Shown(scene, session).write()
    assert anchor.GetName() == "film-0 provenance"
    assert not anchor.GetHideFromEditors()
    assert record_of(only_case(scene)).GetHideFromEditors()
    assert not any(node.GetUndoEnabled() for node in nodes_of(scene, NODE_CLASS))
    said = json.loads(anchor.GetText())
    assert "\n" in anchor.GetText()
    assert "Thorax, Bär & Söhne" in anchor.GetText()
    assert said["model"] == {"name": "perfect", "version": "1"}
    assert said["image"]["pixel_hash"] == session.case.id
    assert said["image"]["geometry"] == session.state.geometry.to_dict()
    assert (said["format"], said["written_by"]) == (1, f"DenseLandmarks {__version__}")


def test_the_scene_follows_the_session_from_edit_to_edit(scene: Any, session: Session) -> None:
    shown = Shown(scene, session)
    for command in (session.undo, session.redo, lambda: session.reset(A), session.save, session.undo):
        command()
        shown.write()
        case = only_case(scene)
        assert same(case.state(), session.state)
        assert (case.revision, case.unsaved) == (session.revision, session.unsaved)
    assert len(nodes_of(scene, NODE_CLASS)) == 2


def test_a_case_says_when_it_was_changed_last_not_when_it_was_looked_at(scene: Any, session: Session) -> None:
    shown, long_ago = Shown(scene, session), "2020-01-01T00:00:00+00:00"
    for do, same_time in ((lambda: None, True), (lambda: session.mark_unsure(A), False), (session.save, False)):
        set_text(shown.record.anchor, only_case(scene).when, long_ago)
        do()
        shown.write()
        assert (only_case(scene).when == long_ago) == same_time


def test_writing_the_same_again_touches_nothing(scene: Any, session: Session) -> None:
    shown = Shown(scene, session)
    heard: list[str] = []
    for n in range(scene.GetNumberOfNodes()):
        scene.GetNthNode(n).AddObserver("AnyEvent", lambda node, event: heard.append(event))
    shown.write()
    assert not heard
    session.mark_unsure(A)
    shown.write()
    assert heard


def test_an_edit_of_a_landmark_does_not_encode_field_and_masks_again(
    scene: Any, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(scene, session)
    encode, encoded = case_record.array_bytes, []

    def counting(header: Mapping[str, Any], arrays: Any) -> tuple[str, bytes]:
        encoded.append(header["kind"])
        return encode(header, arrays)

    monkeypatch.setattr(case_record, "array_bytes", counting)
    session.mark_unsure(A)
    shown.write()
    assert encoded == ["covariance"]
    session.correct_spacing((0.5, 0.5, 1.0))
    shown.write()
    assert "answer" in encoded
    assert "mask" not in encoded
    assert same(only_case(scene).state(), session.state)


def test_the_field_lies_in_its_volumes_alone_and_in_the_record_where_there_are_none(
    scene: Any, session: Session
) -> None:
    shown = Shown(scene, session)
    small = len(record_of(only_case(scene)).GetText())
    for uv in ({}, shown.nodes.uv):
        shown.record.write(session, replace(shown.nodes, uv=uv))
        case = only_case(scene)
        assert list(case.uv) == list(uv)
        assert same(case.state(), session.state)
        assert (len(record_of(case).GetText()) > small + 10_000) == (not uv)


def test_who_goes_on_in_an_opened_scene_goes_on_in_the_same_nodes(scene: Any, session: Session, tmp_path: Path) -> None:
    Shown(scene, session)
    there = read_scene(save_scene(scene, tmp_path / "case.mrb"))
    saved = only_case(there)
    count = there.GetNumberOfNodes()
    volumes, record = UvVolumes(there, "film-0"), CaseRecord(there, "film-0")
    volumes.adopt(saved.uv)
    record.adopt(saved)
    session.mark_unsure(A)
    image = ImageInScene(saved.volume, session.state.geometry)
    volumes.show(session.state, image)
    lists = {structure_of(node): node for node in saved.lists}
    assert record.write(session, CaseNodes(saved.volume, lists, None, volumes.nodes)) is saved.anchor
    assert there.GetNumberOfNodes() == count
    assert same(only_case(there).state(), session.state)


def test_nodes_that_somebody_deletes_are_left_out_and_ours_come_back(scene: Any, session: Session) -> None:
    shown = Shown(scene, session)
    case = only_case(scene)
    scene.RemoveNode(shown.lists["heart"])
    scene.RemoveNode(shown.image.volume)
    case = only_case(scene)
    assert case.volume is None
    assert len(case.lists) == 4
    scene.RemoveNode(record_of(case))
    shown.record.write(session, shown.nodes)
    assert same(only_case(scene).state(), session.state)
    ids = [case.anchor.GetNthNodeReferenceID("DenseLandmarks.list", n) for n in range(9)]
    assert shown.lists["heart"].GetID() not in ids
    shown.record.remove()
    assert not saved_cases(scene)
    assert not nodes_of(scene, NODE_CLASS)


def test_a_list_says_which_landmarks_it_shows_whatever_its_labels(scene: Any, session: Session) -> None:
    node = Shown(scene, session).lists["heart"]
    node.AddControlPoint(0.0, 0.0, 0.0, "renamed")
    landmarks = session.state.landmarks
    assert names_of(node) == tuple(landmarks.names[row] for row in landmarks.of_structure("heart"))
    assert "by hand" in names_of(node)


def test_a_library_that_is_away_keeps_nobody_from_writing(
    scene: Any, session: Session, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    away = library.folder.with_name("away")
    image, _ = session.case.read_image(session.state.geometry)
    known = Shown(scene, session, image)
    saved = only_case(scene)
    shutil.move(library.folder, away)
    session.mark_unsure(A)
    known.write()
    assert only_case(scene).library_name == "Thorax, Bär & Söhne"
    assert not caplog.text
    scene.Clear(True)
    unknown = Shown(scene, session, image)
    unknown.write()
    assert caplog.text.count("expected a case library") == 1
    assert only_case(scene).library_name == ""
    assert same(only_case(scene).state(), session.state)
    unknown.record.remove()
    unknown.record = CaseRecord(scene, "film-0")
    unknown.record.adopt(saved)
    unknown.write()
    assert only_case(scene).library_name == "Thorax, Bär & Söhne"


# ---- damage -------------------------------------------------------------------------------------------------------------


def set_text(node: Any, old: str, new: str) -> None:
    assert old in node.GetText()
    node.SetText(node.GetText().replace(old, new, 1))


def set_voxel(case: SavedCase) -> None:
    scalars = case.uv["heart"].GetImageData().GetPointData().GetScalars()
    array = vtk_to_numpy(scalars)
    array[np.flatnonzero(array[:, 2])[0], 0] += np.float32(1e-6)


def swap(case: SavedCase) -> None:
    one, other = case.uv["heart"], case.uv["left_lung"]
    first, second = one.GetImageData(), other.GetImageData()
    one.SetAndObserveImageData(second)
    other.SetAndObserveImageData(first)


DAMAGE: Mapping[str, Callable[[Any, SavedCase], object]] = {
    "a digit": lambda scene, case: set_text(record_of(case), '"strength":0.37', '"strength":0.38'),
    "an array": lambda scene, case: set_text(record_of(case), "AAAA", "AAAB"),
    "the hash": lambda scene, case: set_text(record_of(case), '"sha256":"', '"sha256":"0'),
    "the format": lambda scene, case: set_text(record_of(case), '"format":1', '"format":2'),
    "half of it": lambda scene, case: record_of(case).SetText(record_of(case).GetText()[: 10**4]),
    "all of it": lambda scene, case: record_of(case).SetText(""),
    "other JSON": lambda scene, case: record_of(case).SetText("[1]"),
    "the record": lambda scene, case: scene.RemoveNode(record_of(case)),
    "a voxel": lambda scene, case: set_voxel(case),
    "two volumes": lambda scene, case: swap(case),
    "a volume": lambda scene, case: scene.RemoveNode(case.uv["heart"]),
    "the pixels of a volume": lambda scene, case: case.uv["heart"].SetAndObserveImageData(None),
    "the structure of a volume": lambda scene, case: case.uv["heart"].SetAttribute(STRUCTURE, "liver"),
    "the revision": lambda scene, case: set_text(case.anchor, '"revision": 0', '"revision": 7'),
    "the case": lambda scene, case: set_text(case.anchor, case.case_id, "0" * 16),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_was_changed_is_told_in_one_line_and_never_taken_for_the_case(
    scene: Any, session: Session, damage: Callable[[Any, SavedCase], object]
) -> None:
    Shown(scene, session)
    assert same(only_case(scene).state(), session.state)
    damage(scene, only_case(scene))
    with pytest.raises(InputError, match=r"^expected .*, (got|found) .*\. Open .*\.$"):
        only_case(scene).state()


def test_whoever_changed_the_field_is_told_that_it_is_the_field(scene: Any, session: Session) -> None:
    Shown(scene, session)
    set_voxel(only_case(scene))
    with pytest.raises(InputError, match=r"^expected the uv volumes of case film-0 as they were saved, got others"):
        only_case(scene).state()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 9}', "null"])
def test_a_damaged_provenance_is_told_and_the_other_cases_are_found(
    scene: Any,
    library: Library,
    chest_template: Template,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    anchors = [Shown(scene, open_session(library, chest_template, tmp_path, seed)).record.anchor for seed in (0, 1)]
    anchors[0].SetText(text)
    with caplog.at_level(logging.WARNING):
        assert only_case(scene).case_name == "film-1"
    assert "film-0 provenance" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [('"revision": 0', '"revision": true'), ('"unsaved": true', '"unsaved": 1'), ('"an annotator"', "3")],
)
def test_a_provenance_of_wrong_types_is_damaged(scene: Any, session: Session, old: str, new: str) -> None:
    set_text(Shown(scene, session).record.anchor, old, new)
    assert not saved_cases(scene)


def test_texts_of_other_people_are_no_cases(scene: Any) -> None:
    scene.AddNewNodeByClass(NODE_CLASS, "notes").SetText("{}")
    assert saved_cases(scene) == ()


# ---- what a saved scene tells about people -----------------------------------------------------------------------------


def test_a_saved_scene_names_no_path_and_no_patient(
    scene: Any, library: Library, chest_template: Template, tmp_path: Path
) -> None:
    path = radiograph(tmp_path / "Quixotek" / "film.dcm", CR, 0)
    session = Session(library.add(path), "an annotator", data_folder=tmp_path / "user")
    image, _ = session.case.read_image()
    session.take(perfect_answer(chest_template, image), image.geometry)
    Shown(scene, session)
    files = files_in(save_scene(scene, tmp_path / "case.mrb"))
    texts = [*files, *files.values()]
    (record,) = (json.loads(content) for name, content in files.items() if "record" in name)
    for content in record["content"]["arrays"].values():
        with np.load(io.BytesIO(base64.b64decode(content)), allow_pickle=False) as arrays:
            texts += [arrays[name].tobytes() for name in arrays]
    assert any(b"perfect" in text for text in texts if isinstance(text, bytes)), "the arrays were not looked into"
    assert not found_in(*texts)
    where = str(tmp_path).encode()
    assert not any(where in (text.encode() if isinstance(text, str) else text) for text in texts)


def test_states_that_differ_by_the_last_digit_are_not_the_same(session: Session) -> None:
    state = session.state
    points = state.landmarks.points_lps_mm.copy()
    assert same(state, replace(state, landmarks=replace(state.landmarks, points_lps_mm=points)))
    points[4, 1] = np.nextafter(points[4, 1], np.inf)
    assert not same(state, replace(state, landmarks=replace(state.landmarks, points_lps_mm=points)))
    assert not same(state, without_a_field(state))
    assert not same(state, replace(state, painted={}))
