"""What 3D Slicer loads wrongly is put right by its file; what nobody states stays unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.scene.case_of_volume import case_of_volume, find_case
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.files_of_volume import files_of_volume, safe_case_name
from DenseLandmarksLib.scene.volume_node import add_volume_node, turn_slices_round, voxels_zyx
from Testing.geometry.dicom_files import CR, PIXELS, RF, XA, write_ct_slices, write_dicom
from Testing.scene.test_volume_node import an_image

BOTH = {"PixelSpacing": [0.15, 0.1], "ImagerPixelSpacing": [0.3, 0.2]}
SAID = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientOrientation": ["L", "F"]}


@pytest.fixture
def empty(tmp_path: Path) -> Library:
    """A library without cases."""
    return Library.create(tmp_path / "library", "films")


def loaded(scene: Any, path: Path) -> Any:
    """A volume node as Slicer's own reader makes it of a file, or of the series that the file is of."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "1: Quixotek")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node


def with_spacing(scene: Any, image: MedicalImage, spacing_mm: tuple[float, float, float]) -> Any:
    """An image as a program loads it that takes another spacing from the file."""
    node = add_volume_node(scene, image)
    node.SetSpacing(*spacing_mm)
    return node


# ---- spacing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sop_class", [CR, XA, RF])
@pytest.mark.parametrize(
    ("tags", "expected_mm", "source"),
    [
        (BOTH, (0.1, 0.15), SpacingSource.CALIBRATED),
        ({"PixelSpacing": [0.3, 0.2]}, (0.2, 0.3), SpacingSource.DETECTOR),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, (0.2, 0.3), SpacingSource.DETECTOR),
        ({"PhotometricInterpretation": "MONOCHROME1"} | BOTH, (0.1, 0.15), SpacingSource.CALIBRATED),
        ({"PixelPaddingValue": 97} | BOTH, (0.1, 0.15), SpacingSource.CALIBRATED),
        ({}, (1, 1), SpacingSource.UNKNOWN),
    ],
    ids=["calibrated", "old", "detector", "white is zero", "padded", "nothing"],
)
def test_a_radiograph_that_slicer_loaded_has_the_spacing_that_its_file_proves(
    scene: Any,
    desk: Desk,
    empty: Library,
    tmp_path: Path,
    sop_class: str,
    tags: dict[str, Any],
    expected_mm: tuple[float, float],
    source: SpacingSource,
) -> None:
    path = write_dicom(tmp_path / "film.dcm", sop_class, **SAID, **tags, PatientID="7", PatientName="Quixotek")
    volume = loaded(scene, path)
    pixels = np.array(voxels_zyx(volume))
    case = desk.open_volume(volume, empty, "film", files_of_volume(volume))
    geometry, made = case.session.state.geometry, case.session.case
    assert geometry.spacing_mm[:2] == pytest.approx(expected_mm)
    assert geometry.spacing_source is source
    assert volume.GetSpacing()[:2] == pytest.approx(expected_mm), "the scene measures with it too"
    np.testing.assert_array_equal(voxels_zyx(volume), pixels)
    assert (made.modality, made.body_part, made.view_position) == ("DX", "CHEST", "PA")
    assert made.patient_key
    path.unlink()
    image, notes = made.read_image()
    assert (image.acquisition.patient_orientation, image.geometry, notes) == (("L", "F"), geometry, ())
    for written in empty.folder.rglob("*"):
        assert b"Quixotek" not in (written.read_bytes() if written.is_file() else b"")


def test_the_same_film_from_the_file_and_from_slicer_is_one_case(scene: Any, empty: Library, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", **BOTH)
    volume = loaded(scene, path)
    assert find_case(empty, volume) is None
    assert empty.cases() == ()
    case = case_of_volume(empty, volume, files=[path])
    assert empty.add(path) == find_case(empty, volume) == case


@pytest.mark.parametrize("order", ["the file first", "Slicer first"])
def test_a_film_with_padding_that_only_its_file_states_is_one_case_too(
    scene: Any, desk: Desk, empty: Library, tmp_path: Path, order: str
) -> None:
    pixels = PIXELS + 50
    pixels[:, :7] = 4000
    path = write_dicom(tmp_path / "film.dcm", pixels=pixels, PixelPaddingValue=4000, **BOTH)
    from_file = empty.add(path) if order == "the file first" else None
    volume = loaded(scene, path)
    assert voxels_zyx(volume).max() >= 4000 > read_image(path).pixels_yx[:, :7].max()
    case = desk.open_volume(volume, empty, "film", [path])
    assert case.session.case == (from_file or empty.add(path))
    assert len(empty.cases()) == 1
    assert (voxels_zyx(volume)[0, :, :7] == 4000).all(), "the node stays as it is"
    case.poll()
    # What is written into the picture is another picture.
    voxels_zyx(volume)[0, 20, 20] += 1
    volume.GetImageData().GetPointData().GetScalars().Modified()
    volume.GetImageData().GetPointData().Modified()
    case.settle()
    assert case.image.volume is not volume


def test_grey_values_that_are_written_otherwise_stay_the_scenes(scene: Any, empty: Library, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", **BOTH)
    image = read_image(path)
    inverted = sitk.GetImageFromArray((4095 - sitk.GetArrayFromImage(image.volume)).astype(np.int32))
    volume = add_volume_node(scene, MedicalImage(inverted, SpacingSource.UNKNOWN))
    case = case_of_volume(empty, volume, files=[path])
    assert case.geometry.spacing_mm[:2] == pytest.approx((0.1, 0.15))
    assert case.geometry.spacing_source is SpacingSource.CALIBRATED
    np.testing.assert_array_equal(case.read_image()[0].pixels_yx, voxels_zyx(volume)[0])


def test_a_spacing_that_a_person_gave_in_slicer_stays(scene: Any, desk: Desk, empty: Library, tmp_path: Path) -> None:
    volume = loaded(scene, write_dicom(tmp_path / "film.dcm", **BOTH))
    volume.SetSpacing(0.143, 0.143, 1)
    case = desk.open_volume(volume, empty, "film", files_of_volume(volume))
    geometry = case.session.state.geometry
    assert geometry.spacing_mm[:2] == pytest.approx((0.143, 0.143))
    assert geometry.spacing_source is SpacingSource.GIVEN


def test_the_resolution_of_a_picture_is_no_spacing(scene: Any, empty: Library, tmp_path: Path) -> None:
    path = tmp_path / "foto.tif"
    Image.fromarray((PIXELS >> 4).astype("uint8")).save(path, dpi=(300, 300))
    printed_mm = sitk.ReadImage(str(path)).GetSpacing()
    assert printed_mm[0] == pytest.approx(25.4 / 300), "what Slicer takes"
    volume = with_spacing(scene, read_image(path), (*printed_mm[:2], 1))
    case = case_of_volume(empty, volume, files=[path])
    assert case.geometry.spacing_mm == (1, 1, 1)
    assert case.geometry.spacing_source is SpacingSource.UNKNOWN


def test_a_spacing_that_nobody_vouches_for_is_taken_for_given_and_1_for_unknown(scene: Any, empty: Library) -> None:
    image = an_image()
    given = case_of_volume(empty, with_spacing(scene, image, (0.25, 0.4, 2)))
    assert given.geometry.spacing_mm == pytest.approx((0.25, 0.4, 2))
    assert given.geometry.spacing_source is SpacingSource.GIVEN
    other = MedicalImage(image.volume + 1, SpacingSource.UNKNOWN)
    unknown = case_of_volume(empty, with_spacing(scene, other, (1, 1, 2)))
    assert unknown.geometry.spacing_mm[:2] == (1, 1)
    assert unknown.geometry.spacing_source is SpacingSource.UNKNOWN


@pytest.mark.parametrize("what", ["gone", "torn", "another picture", "turned over", "smaller"])
def test_a_file_that_is_not_the_nodes_says_nothing(scene: Any, empty: Library, tmp_path: Path, what: str) -> None:
    path = write_dicom(tmp_path / "film.dcm", **BOTH)
    volume = loaded(scene, path)
    volume.SetSpacing(0.5, 0.6, 1)
    if what == "gone":
        path.unlink()
    elif what == "torn":
        path.write_bytes(path.read_bytes()[:700])
    elif what == "another picture":
        write_dicom(path, pixels=np.random.default_rng(0).integers(0, 4096, PIXELS.shape).astype(np.uint16), **BOTH)
    elif what == "turned over":
        write_dicom(path, pixels=np.ascontiguousarray(PIXELS[:, ::-1]), **BOTH)
    else:
        write_dicom(path, pixels=np.ascontiguousarray(PIXELS[:-1]), **BOTH)
    case = case_of_volume(empty, volume, files=[path])
    assert case.geometry.spacing_mm[:2] == pytest.approx((0.5, 0.6))
    assert case.geometry.spacing_source is SpacingSource.GIVEN


# ---- volumes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_a_volume_whose_slices_slicer_turned_round_is_that_of_its_file(
    scene: Any, desk: Desk, empty: Library, tmp_path: Path, turned: bool
) -> None:
    image = an_image(slices=12)
    path = tmp_path / "neck.nrrd"
    sitk.WriteImage(image.volume, str(path))
    volume = add_volume_node(scene, image)
    if turned:
        turn_slices_round(volume)
    case = desk.open_volume(volume, empty, "neck", [path])
    assert empty.add(path) == case.session.case
    np.testing.assert_allclose(case.session.state.geometry.index_to_lps_mm, image.geometry.index_to_lps_mm)
    np.testing.assert_allclose(case.session.state.geometry.origin_lps_mm, image.geometry.origin_lps_mm)
    case.close()
    other = add_volume_node(scene, image)
    if not turned:
        turn_slices_round(other)
    assert desk.open_volume(other, empty).session.case == case.session.case
    assert len(empty.cases()) == 1


def test_a_series_says_whose_it_is_and_that_its_spacing_is_true(
    scene: Any, desk: Desk, empty: Library, tmp_path: Path
) -> None:
    paths = write_ct_slices(tmp_path / "series", [0.0, 2.5, 5.0], PatientID="7", BodyPartExamined="NECK")
    volume = loaded(scene, paths[0])
    assert voxels_zyx(volume).shape[0] == 3
    case = desk.open_volume(volume, empty, "neck", files_of_volume(volume)).session.case
    assert (case.modality, case.body_part) == ("CT", "NECK")
    assert case.patient_key
    assert case.geometry.spacing_mm == pytest.approx((0.6, 0.7, 2.5))
    assert case.geometry.spacing_source is SpacingSource.CALIBRATED
    assert empty.add(tmp_path / "series") == case


@pytest.mark.parametrize("padding", [-3024, -2000])
def test_a_ct_with_padding_is_one_case_from_the_file_and_from_slicer(
    scene: Any, desk: Desk, tmp_path: Path, padding: int
) -> None:
    volume = sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 900, (5, 33, 40)).astype(np.int16))
    volume[0:10, 0:10, 0:5] = padding
    path = tmp_path / "padded.nrrd"
    sitk.WriteImage(volume, str(path))
    for order in ("the file first", "Slicer first"):
        library = Library.create(tmp_path / order, order)
        from_file = library.add(path) if order == "the file first" else None
        node = add_volume_node(scene, MedicalImage(volume, SpacingSource.GIVEN))
        case = desk.open_volume(node, library)
        assert voxels_zyx(node).min() == padding, "the node stays as it is"
        assert case.session.case == (from_file or library.add(path))
        assert len(library.cases()) == 1


# ---- an image that went ------------------------------------------------------------------------------------------------


def test_a_case_whose_image_has_gone_gets_it_back_from_the_scene(
    scene: Any, desk: Desk, empty: Library, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "film.dcm", **BOTH)
    case = empty.add(path)
    volume = loaded(scene, path)
    path.unlink()
    assert desk.open_volume(volume, empty).session.case == case
    image, _ = case.read_image()
    assert case.folder in case.image_path.parents
    assert image.geometry == case.geometry
    assert volume.GetSpacing()[:2] == pytest.approx((0.1, 0.15))


# ---- files and names ---------------------------------------------------------------------------------------------------


def test_the_files_of_a_node_are_its_dicom_files_and_those_it_was_stored_in(scene: Any, tmp_path: Path) -> None:
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert files_of_volume(node) == ()
    known = {"1.2.3": "/dicom/one", "1.2.4": "/dicom/two"}
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4 1.2.5")
    assert files_of_volume(node) == ()
    assert files_of_volume(node, lambda uid: known.get(uid, "")) == (Path("/dicom/one"), Path("/dicom/two"))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert files_of_volume(node) == ()
    scene.SetRootDirectory(str(tmp_path))
    storage.SetFileName("film.nrrd")
    storage.AddFileName("film.nrrd")
    storage.AddFileName(str(tmp_path / "other.nrrd"))
    assert files_of_volume(node, lambda uid: known.get(uid, "")) == (
        *(Path("/dicom/one"), Path("/dicom/two")),
        *(tmp_path / "film.nrrd", tmp_path / "other.nrrd"),
    )


def test_a_case_is_called_like_its_file_and_never_like_a_patient(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "4: Quixotek Zebulon")
    assert safe_case_name(node, ()) == "image"
    assert safe_case_name(node, [tmp_path / "chest 7.nii.gz"]) == "chest 7"
    film = write_dicom(tmp_path / "1.2.840.113619", PatientName="Quixotek^Zebulon")
    assert safe_case_name(node, [film]) == "1.2.840.113619", "names nobody without the archive"
    assert safe_case_name(node, [film, tmp_path / "chest.nrrd"]) == "chest", "what tells something comes first"
    # Slicer calls a file that it writes like the node.
    assert safe_case_name(node, [film, tmp_path / "4 Quixotek Zebulon.nrrd"]) == "1.2.840.113619"
    assert safe_case_name(node, [film.rename(tmp_path / "quixotek.dcm")]) == "image"
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert safe_case_name(node, [tmp_path / "4 Quixotek Zebulon.nrrd"]) == "image", "its DICOM files are gone"
    torn = tmp_path / "torn.dcm"
    torn.write_bytes((tmp_path / "quixotek.dcm").read_bytes()[:300])
    assert safe_case_name(node, [torn]) == "image"
