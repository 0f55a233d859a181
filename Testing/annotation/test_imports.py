"""What a person marked elsewhere must come back to the very place, and say as much as it said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.exports.coco import write_coco
from DenseLandmarksLib.annotation.exports.landmark_csv import write_landmark_csv
from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review

ReadInSlicer = Callable[[str, str, Path], Any]
SEEDS = range(8)
NAMES = ('apex, "left"', "Hüfte ß", "肺; a'b", "plain", "absent one", "later")
PRESENCE = (*[Presence.PRESENT] * 4, Presence.ABSENT, Presence.UNPLACED)
REVIEW = (Review.PREDICTED, Review.CORRECTED, Review.UNSURE, Review.PLACED, Review.VERIFIED, Review.PREDICTED)


def an_image(seed: int, radiograph: bool) -> MedicalImage:
    """Oblique, anisotropic, off the origin; every second one left-handed."""
    random = np.random.default_rng(seed)
    volume = sitk.Image([40, 50, 1 if radiograph else 30], sitk.sitkUInt8)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    if seed % 2:
        rotation[:, 2] *= -1
    volume.SetDirection(rotation.ravel().tolist())
    volume.SetSpacing(random.uniform(0.1, 5, 3).tolist())
    volume.SetOrigin(random.uniform(-900, 900, 3).tolist())
    return MedicalImage(volume, SpacingSource.DETECTOR, "chest.dcm")


def landmarks_on(image: MedicalImage, seed: int = 0) -> LandmarkSet:
    index = np.random.default_rng(seed + 100).uniform(-2, 1, (6, 3)) * 25
    if image.is_radiograph:
        index[:, 2] = 0
    points = lps_mm_from_index(image.geometry, index)
    points[5] = np.nan
    return LandmarkSet(
        names=NAMES,
        structures=('lung, "right"', 'lung, "right"', "Herz ä", "Herz ä", "Herz ä", "Herz ä"),
        points_lps_mm=points,
        predicted_lps_mm=points,
        presence=PRESENCE,
        review=REVIEW,
        confidence=np.array([0.9, 0.5, 0.1, 1, 0, np.nan]),
        covariance_mm2=np.zeros((6, 3, 3)),
        template_uv=np.zeros((6, 2)),
    )


def expected_points(landmarks: LandmarkSet) -> NDArray[np.float64]:
    present = np.array([presence is Presence.PRESENT for presence in landmarks.presence])
    return np.where(present[:, None], landmarks.points_lps_mm, np.nan)


def assert_same(found: ImportedLandmarks, landmarks: LandmarkSet, atol: float = 1e-4) -> None:
    assert found.names == landmarks.names
    assert found.structures == landmarks.structures
    assert found.presence == landmarks.presence
    np.testing.assert_allclose(found.points_lps_mm, expected_points(landmarks), rtol=0, atol=atol)


@pytest.mark.parametrize("radiograph", [False, True], ids=["volume", "radiograph"])
@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_come_back_from_markups_to_the_same_place(tmp_path: Path, seed: int, radiograph: bool) -> None:
    image = an_image(seed, radiograph)
    landmarks = landmarks_on(image, seed)
    write_markups(tmp_path / "a.mrk.json", landmarks, image.unit)
    found = read_landmarks(tmp_path / "a.mrk.json", image.geometry)
    assert_same(found, landmarks)
    assert found.review == landmarks.review


@pytest.mark.parametrize("radiograph", [False, True], ids=["volume", "radiograph"])
@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_come_back_from_a_table_to_the_same_place(tmp_path: Path, seed: int, radiograph: bool) -> None:
    image = an_image(seed, radiograph)
    landmarks = landmarks_on(image, seed)
    write_landmark_csv(tmp_path / "a.csv", landmarks, image.geometry)
    found = read_landmarks(tmp_path / "a.csv", image.geometry)
    assert_same(found, landmarks)
    assert found.review == landmarks.review


@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_come_back_from_coco_to_the_same_place(tmp_path: Path, seed: int) -> None:
    image = an_image(seed, True)
    landmarks = landmarks_on(image, seed)
    write_coco(tmp_path / "a.json", [(image.name, image.geometry, landmarks)])
    found = read_landmarks(tmp_path / "a.json", image.geometry)
    assert_same(found, landmarks)
    assert found.review == landmarks.review


@pytest.mark.parametrize("radiograph", [False, True], ids=["volume", "radiograph"])
@pytest.mark.parametrize("ras", [False, True], ids=["LPS", "RAS"])
@pytest.mark.parametrize("kind", ["mrk.json", "fcsv", "csv"])
@pytest.mark.parametrize("seed", [2, 3], ids=["right-handed", "left-handed"])
def test_what_slicer_itself_saves_comes_back_to_the_same_place(
    tmp_path: Path, read_in_slicer: ReadInSlicer, seed: int, kind: str, ras: bool, radiograph: bool
) -> None:
    import slicer

    image = an_image(seed, radiograph)
    landmarks = landmarks_on(image, seed)
    write_markups(tmp_path / "a.mrk.json", landmarks, "mm")
    node = read_in_slicer("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode", tmp_path / "a.mrk.json")
    path = tmp_path / f"b.{kind}"
    if kind == "csv":
        assert slicer.vtkSlicerMarkupsLogic.ExportControlPointsToCSV(node, str(path), not ras)
        # Slicer's table does not tell the two apart.
        landmarks = replace(landmarks, presence=(*PRESENCE[:4], Presence.UNPLACED, Presence.UNPLACED))
    else:
        json_kind = kind == "mrk.json"
        storage = slicer.vtkMRMLMarkupsJsonStorageNode() if json_kind else slicer.vtkMRMLMarkupsFiducialStorageNode()
        node.GetScene().AddNode(storage)
        storage.SetFileName(str(path))
        storage.SetCoordinateSystem(0 if ras else 1)  # vtkMRMLStorageNode: RAS, LPS
        assert storage.WriteData(node)
    found = read_landmarks(path, image.geometry)
    # Slicer's table holds six digits, which is half a micrometre below a metre.
    assert_same(found, landmarks, 1e-3 if kind == "csv" else 1e-4)
    assert found.review == (landmarks.review if kind == "mrk.json" else (None,) * 6)


def test_what_a_person_changed_in_slicer_is_not_taken_for_the_model_s(
    tmp_path: Path, read_in_slicer: ReadInSlicer
) -> None:
    image = an_image(3, True)
    landmarks = replace(landmarks_on(image, 3), review=(Review.PREDICTED,) * 6)
    write_markups(tmp_path / "a.mrk.json", landmarks, "mm")
    node = read_in_slicer("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode", tmp_path / "a.mrk.json")
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveNthControlPoint(0)
    dragged = lps_mm_from_index(image.geometry, [[3, 4, 0]])[0] * [-1, -1, 1]
    node.SetNthControlPointPosition(0, *dragged)  # "Hüfte ß"
    node.SetNthControlPointPosition(3, *dragged)  # "absent one" is now there
    node.SetNthControlPointLabel(2, "renamed")  # "plain"
    added = lps_mm_from_index(image.geometry, [[5, 6, 0]])[0] * [-1, -1, 1]
    node.AddControlPoint(*added, "added")
    assert node.GetStorageNode().WriteData(node)
    found = read_landmarks(tmp_path / "a.mrk.json", image.geometry)
    assert found.names == ("Hüfte ß", "肺; a'b", "renamed", "absent one", "later", "added")
    corrected, predicted = Review.CORRECTED, Review.PREDICTED
    assert found.review == (corrected, predicted, None, corrected, predicted, None)


def test_what_a_person_had_placed_and_changed_in_slicer_is_placed(tmp_path: Path) -> None:
    """Nothing says that a prediction was in sight."""
    image = an_image(3, True)
    landmarks = replace(landmarks_on(image, 3), review=(Review.PLACED,) * 6)
    write_markups(tmp_path / "a.mrk.json", landmarks, "mm")
    document = json.loads((tmp_path / "a.mrk.json").read_text())
    document["markups"][0]["controlPoints"][0]["position"][0] += 4.0
    (tmp_path / "a.mrk.json").write_text(json.dumps(document))
    assert read_landmarks(tmp_path / "a.mrk.json", image.geometry).review[:2] == (None, Review.PLACED)


@pytest.mark.parametrize(
    "values",
    [[0], [0, "a"], [0, None], "0", None, [0, 10**400], [77, 99]],
    ids=["too few", "text", "null", "no list", "none", "huge", "unknown"],
)
def test_a_damaged_review_leaves_the_landmarks_readable(tmp_path: Path, values: Any) -> None:
    image = an_image(0, True)
    write_markups(tmp_path / "a.mrk.json", landmarks_on(image), "mm")
    document = json.loads((tmp_path / "a.mrk.json").read_text())
    (review,) = [entry for entry in document["markups"][0]["measurements"] if entry["name"] == "review"]
    review["controlPointValues"] = [*values, 0, 0, 0, 0] if values == [77, 99] else values
    (tmp_path / "a.mrk.json").write_text(json.dumps(document))
    found = read_landmarks(tmp_path / "a.mrk.json", image.geometry)
    assert_same(found, landmarks_on(image))
    assert found.review[:2] == (None, None)


@pytest.mark.parametrize(("stated", "sign"), [("0", -1), ("RAS", -1), ("1", 1), ("LPS", 1), (None, 1)])
def test_an_old_fiducial_list_is_read_in_the_frame_that_it_states(
    tmp_path: Path, read_in_slicer: ReadInSlicer, stated: str | None, sign: int
) -> None:
    path = tmp_path / "a.fcsv"
    line = f"# CoordinateSystem = {stated}\n" if stated else ""
    path.write_text(
        f"# Markups fiducial file version = 4.10\n{line}"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        "vtkMRMLMarkupsFiducialNode_0,1.5,-2,3,0,0,0,1,1,1,0,F-1,heart,\n"
    )
    found = read_landmarks(path, an_image(0, False).geometry)
    assert (found.names, found.structures, found.presence) == (("F-1",), ("heart",), (Presence.PRESENT,))
    np.testing.assert_allclose(found.points_lps_mm, [[sign * 1.5, sign * -2, 3]])
    node = read_in_slicer("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsFiducialStorageNode", path)
    np.testing.assert_allclose(np.array(node.GetNthControlPointPosition(0)) * [-1, -1, 1], found.points_lps_mm[0])


def markups(*lists: dict[str, Any]) -> str:
    return json.dumps({"markups": lists})


def test_every_list_of_a_file_is_read_each_in_its_own_frame(tmp_path: Path) -> None:
    point = {"label": "a", "position": [1, 2, 3]}
    lost = [{"label": "b", "position": None}, {"label": "c", "position": [9, 9, 9], "positionStatus": "missing"}]
    (tmp_path / "a.mrk.json").write_text(
        markups(
            {"name": "heart", "coordinateSystem": "RAS", "controlPoints": [point]},
            {"controlPoints": [{**point, "label": "d", "description": "lung"}, *lost]},
        )
    )
    found = read_landmarks(tmp_path / "a.mrk.json", an_image(0, False).geometry)
    assert found.names == ("a", "d", "b", "c")
    assert found.structures == ("heart", "lung", "", "")
    assert found.presence == (*[Presence.PRESENT] * 2, Presence.UNPLACED, Presence.ABSENT)
    np.testing.assert_allclose(found.points_lps_mm, [[-1, -2, 3], [1, 2, 3], [np.nan] * 3, [np.nan] * 3])


@pytest.mark.parametrize("kind", ["mrk.json", "csv", "json"])
def test_a_landmark_stays_on_its_pixel_when_the_spacing_becomes_known(tmp_path: Path, kind: str) -> None:
    known = an_image(5, True)
    volume = sitk.Image(known.volume)
    volume.SetSpacing((1, 1, 1))
    unknown = MedicalImage(volume, SpacingSource.UNKNOWN, "chest.dcm")
    path = tmp_path / f"a.{kind}"
    landmarks = landmarks_on(unknown)
    if kind == "mrk.json":
        write_markups(path, landmarks, unknown.unit)
    elif kind == "csv":
        write_landmark_csv(path, landmarks, unknown.geometry)
    else:
        write_coco(path, [(unknown.name, unknown.geometry, landmarks)])
    assert_same(read_landmarks(path, unknown.geometry), landmarks)
    assert "lps_mm" not in path.read_text().replace('"lps_mm": null', "")
    assert_same(read_landmarks(path, known.geometry), landmarks_on(known))


def test_a_volume_without_spacing_comes_back_and_is_not_called_millimetres(tmp_path: Path) -> None:
    volume = sitk.Image([5, 6, 7], sitk.sitkUInt8)
    image = MedicalImage(volume, SpacingSource.UNKNOWN)
    write_landmark_csv(tmp_path / "a.csv", landmarks_on(image), image.geometry)
    assert "mm" not in (tmp_path / "a.csv").read_text()
    assert_same(read_landmarks(tmp_path / "a.csv", image.geometry), landmarks_on(image))


def test_millimetres_are_not_taken_for_pixels(tmp_path: Path) -> None:
    image = replace(an_image(0, True), spacing_source=SpacingSource.UNKNOWN)
    write_markups(tmp_path / "a.mrk.json", landmarks_on(image), "mm")
    with pytest.raises(InputError, match=r"expected positions in pixels, .* got millimetres"):
        read_landmarks(tmp_path / "a.mrk.json", image.geometry)


def test_a_point_placed_beside_the_plane_of_a_radiograph_lands_on_it_and_a_far_one_is_refused(tmp_path: Path) -> None:
    image = an_image(2, True)
    near, far = lps_mm_from_index(image.geometry, [[10, 20, 0.4], [10, 20, 3]]).tolist()
    path = tmp_path / "a.mrk.json"
    path.write_text(markups({"controlPoints": [{"label": "a", "position": near}]}))
    expected = lps_mm_from_index(image.geometry, [[10, 20, 0]])
    np.testing.assert_allclose(read_landmarks(path, image.geometry).points_lps_mm, expected, atol=1e-9)
    path.write_text(markups({"controlPoints": [{"label": "a", "position": far}]}))
    with pytest.raises(InputError, match=r"got 'a' 3\.0 slices off it"):
        read_landmarks(path, image.geometry)


@pytest.mark.parametrize(
    "text",
    [
        "label;structure;l_lps_mm;p_lps_mm;s_lps_mm\nHüfte;heart;1,5;-2;3e1\n",
        "\ufefflabel,structure,r,a,s\r\nHüfte,heart,-1.5,2,30\r\n",
        "name\tdescription\tl\tp\ts\nHüfte\theart\t1.5\t-2\t30\n",
    ],
    ids=["German Excel", "byte order mark", "tabs"],
)
def test_a_table_from_a_spreadsheet_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    found = read_landmarks(tmp_path / "a.csv", an_image(0, False).geometry)
    assert (found.names, found.structures) == (("Hüfte",), ("heart",))
    np.testing.assert_allclose(found.points_lps_mm, [[1.5, -2, 30]])


COCO = {
    "images": [{"id": 7, "file_name": "x/chest.dcm", "width": 40, "height": 50}],
    "categories": [{"id": 3, "name": "heart", "keypoints": ["a", "b", "c"]}],
    "annotations": [{"image_id": 7, "category_id": 3, "keypoints": [1, 2, 2, 0, 0, 0, 3.5, 4, 1]}],
}


def test_foreign_coco_keypoints_are_read(tmp_path: Path) -> None:
    image = an_image(1, True)
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    found = read_landmarks(tmp_path / "a.json", image.geometry)
    assert found.names == ("a", "b", "c")
    assert found.presence == (Presence.PRESENT, Presence.UNPLACED, Presence.PRESENT)
    expected = lps_mm_from_index(image.geometry, [[1, 2, 0], [3.5, 4, 0]])
    np.testing.assert_allclose(found.points_lps_mm[[0, 2]], expected, atol=1e-9)
    assert np.isnan(found.points_lps_mm[1]).all()


def changed(**keys: Any) -> str:
    return json.dumps({**COCO, **keys})


A_POINT = {"label": "a", "position": [1, 2, 3]}
BAD = {
    "empty": "",
    "binary": b"\xff\xfe\x00\x01",
    "cut json": '{"markups": [',
    "deep json": "[" * 100_000,
    "other json": '{"a": 1}',
    "json list": "[1]",
    "lists not lists": '{"markups": 3}',
    "frame": markups({"coordinateSystem": "IJK"}),
    "unit": markups({"coordinateUnits": "cm"}),
    "twice": markups({"controlPoints": [A_POINT]}, {"controlPoints": [A_POINT]}),
    "no name": markups({"controlPoints": [{"position": [1, 2, 3]}]}),
    "number as name": markups({"controlPoints": [{"label": 3, "position": [1, 2, 3]}]}),
    "two numbers": markups({"controlPoints": [{"label": "a", "position": [1, 2]}]}),
    "NaN": markups({"controlPoints": [{"label": "a", "position": [1, 2, float("nan")]}]}),
    "huge": markups({"controlPoints": [{"label": "a", "position": [1, 2, 10**400]}]}),
    "bool": markups({"controlPoints": [{"label": "a", "position": [1, 2, False]}]}),
    "defined nowhere": markups({"controlPoints": [{"label": "a", "position": "", "positionStatus": "defined"}]}),
    "status": markups({"controlPoints": [{**A_POINT, "positionStatus": "lost"}]}),
    "csv without frame": "name,x,y,z\na,1,2,3\n",
    "csv without name": "l,p,s\n1,2,3\n",
    "csv ragged": "name,l,p,s\na,1,2\n",
    "csv text": "name,l,p,s\na,1,2,c\n",
    "csv half": "name,l,p,s\na,1,,3\n",
    "csv quote": 'name,l,p,s\n"a" b,1,2,3\n',
    "csv presence": "name,presence,l,p,s\na,gone,1,2,3\n",
    "csv review": "name,review,l,p,s\na,good,1,2,3\n",
    "csv defined": "name,defined,l,p,s\na,2,1,2,3\n",
    "prose": "Dear all,\nhere are the landmarks.\n",
    "fcsv frame": "# CoordinateSystem = 2\n1,2,3\n",
    "fcsv columns": "# columns = a,b\n1,2\n",
    "fcsv short": "# Markups\n1,2,3\n",
    "fcsv text": "# columns = label,x,y,z\na,b,c,d\n",
    "fcsv status": "# columns = label,x,y,z\na,1,2,3,9\n",
    "coco size": changed(images=[{"id": 7, "file_name": "chest.dcm", "width": 4, "height": 5}]),
    "coco image": changed(images=[{"id": 7, "file_name": "a"}, {"id": 8, "file_name": "b"}]),
    "coco no images": changed(images=[]),
    "coco category": changed(categories=[]),
    "coco names": changed(categories=[{"id": 3, "name": "heart"}]),
    "coco count": changed(annotations=[{"image_id": 7, "category_id": 3, "keypoints": [1, 2, 2]}]),
    "coco visibility": changed(annotations=[{"image_id": 7, "category_id": 3, "keypoints": [1, 2, 5] * 3}]),
    "coco annotations": changed(annotations=3),
    "coco people": changed(annotations=COCO["annotations"] * 2),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as told:
        read_landmarks(path, an_image(1, True).geometry)
    message = str(told.value)
    assert message.startswith(f"{path}: expected ")
    assert ", got " in message
    assert "\n" not in message
    assert message.endswith(".")


def test_a_missing_file_and_a_volume_for_flat_formats_are_told_in_one_line(tmp_path: Path) -> None:
    volume = an_image(0, False)
    with pytest.raises(InputError, match="expected a readable file"):
        read_landmarks(tmp_path / "none", volume.geometry)
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    with pytest.raises(InputError, match="expected a radiograph for COCO keypoints, got a volume"):
        read_landmarks(tmp_path / "a.json", volume.geometry)
    (tmp_path / "a.csv").write_text("name,x_px,y_px\na,1,2\n")
    with pytest.raises(InputError, match=r"expected positions in mm for a volume, got x_px, y_px"):
        read_landmarks(tmp_path / "a.csv", volume.geometry)
