"""Masks painted in Slicer come back to the very voxels, however Slicer chose to store them, or are refused."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.annotation.imports.segmentation import read_segmentation
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.models.structure_style import StructureStyle

Mask = NDArray[np.bool_]
COSINE, SINE = np.cos(0.3), np.sin(0.3)
UPRIGHT = (COSINE, 0.0, SINE, SINE, 0.0, -COSINE, 0.0, -1.0, 0.0)
FLAT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RADIOGRAPH = ImageGeometry((120, 100, 1), (0.5, 0.8, 1.0), (-20.0, 35.0, 4.0), UPRIGHT, SpacingSource.CALIBRATED)
VOLUME = ImageGeometry((30, 25, 20), (0.7, 0.7, 1.25), (-200.5, -33.3, 812.0), FLAT, SpacingSource.GIVEN)
# Names that people give, which no format of ours may choke on.
NAMES = ("right lung", "Herz ß", "肺; a'b", "a:=b\\n")


def block(geometry: ImageGeometry, *bounds: tuple[int, int]) -> Mask:
    """A box (Z, Y, X) between bounds along z, y, x."""
    mask = np.zeros(geometry.size[::-1], bool)
    mask[tuple(slice(low, high) for low, high in bounds)] = True
    return mask


def some_masks(geometry: ImageGeometry) -> dict[str, Mask]:
    """Overlapping, apart, one voxel, and nothing at all."""
    _, rows, columns = geometry.size[::-1]
    return {
        NAMES[0]: block(geometry, (0, 1), (5, rows // 2), (3, columns // 2)),
        NAMES[1]: block(geometry, (0, 1), (10, rows - 4), (8, columns - 5)),
        NAMES[2]: block(geometry, (0, 1), (rows - 2, rows - 1), (columns - 1, columns)),
        NAMES[3]: block(geometry),
    } | ({"all along": block(geometry, (0, 20), (1, 3), (1, 3))} if not geometry.is_radiograph else {})


def save_in_slicer(
    path: Path, masks: Mapping[str, Mask], geometry: ImageGeometry, crop: bool = True, collapse: bool = False
) -> None:
    """Write masks as Slicer does: each segment an image of its own extent, which Slicer crops, stacks and labels."""
    slicer = pytest.importorskip(
        "slicer", reason="slicer-core is not installed: Slicer cannot be asked", exc_type=ImportError
    )
    import vtk
    from vtkmodules.util.numpy_support import vtk_to_numpy

    to_world = vtk.vtkMatrix4x4()  # in RAS
    matrix = np.diag([-1.0, -1.0, 1.0]) @ np.column_stack([geometry.index_to_lps_mm, geometry.origin_lps_mm])
    for row in range(3):
        for column in range(4):
            to_world.SetElement(row, column, matrix[row, column])
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for name, mask in masks.items():
        image = slicer.vtkOrientedImageData()
        low, high = np.zeros(3, int), np.array(mask.shape)
        if crop and mask.any():
            where = np.argwhere(mask)
            low, high = where.min(axis=0), where.max(axis=0) + 1
        part = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        image.SetExtent(*[int(bound) for a, b in zip(low[::-1], high[::-1], strict=True) for bound in (a, b - 1)])
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = part.ravel()
        image.SetImageToWorldMatrix(to_world)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    if collapse:
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.WriteData(node), storage.GetUserMessages().GetAllMessagesAsString()


def assert_same(found: Mapping[str, Mask], masks: Mapping[str, Mask]) -> None:
    assert list(found) == list(masks)
    for name, mask in masks.items():
        assert found[name].dtype == bool
        np.testing.assert_array_equal(found[name], mask, name)


@pytest.mark.parametrize("geometry", [RADIOGRAPH, VOLUME], ids=["radiograph", "volume"])
@pytest.mark.parametrize("collapse", [False, True], ids=["a layer each", "as few layers as can be"])
@pytest.mark.parametrize("crop", [False, True], ids=["whole extents", "own extents"])
def test_what_slicer_saved_comes_back_to_the_same_voxels(
    tmp_path: Path, geometry: ImageGeometry, crop: bool, collapse: bool
) -> None:
    masks = some_masks(geometry)
    save_in_slicer(tmp_path / "a.seg.nrrd", masks, geometry, crop, collapse)
    assert_same(read_segmentation(tmp_path / "a.seg.nrrd", geometry), masks)


def test_slicer_did_crop_and_did_stack(tmp_path: Path) -> None:
    """Or the test above would test nothing."""
    masks = some_masks(RADIOGRAPH)
    overlapping = {name: masks[name] for name in NAMES[:2]}
    save_in_slicer(tmp_path / "a.seg.nrrd", overlapping, RADIOGRAPH, crop=True, collapse=True)
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.GetSize() == (112, 91, 1)
    assert image.GetNumberOfComponentsPerPixel() > 1
    apart = {name: block(RADIOGRAPH, (0, 1), (10 * i, 10 * i + 5), (0, 9)) for i, name in enumerate(NAMES)}
    save_in_slicer(tmp_path / "b.seg.nrrd", apart, RADIOGRAPH, crop=True, collapse=True)
    assert sitk.ReadImage(str(tmp_path / "b.seg.nrrd")).GetNumberOfComponentsPerPixel() == 1
    assert_same(read_segmentation(tmp_path / "b.seg.nrrd", RADIOGRAPH), apart)


@pytest.mark.parametrize("geometry", [RADIOGRAPH, VOLUME], ids=["radiograph", "volume"])
def test_what_we_wrote_comes_back_to_the_same_voxels(
    tmp_path: Path, geometry: ImageGeometry, styles: list[StructureStyle]
) -> None:
    masks = some_masks(geometry)
    masks["two\nlines"] = masks[NAMES[0]]
    named = [replace(styles[0], name=name) for name in masks]
    write_segmentation(tmp_path / "a.seg.nrrd", np.stack(list(masks.values())), geometry, named)
    assert_same(read_segmentation(tmp_path / "a.seg.nrrd", geometry), masks)


def test_more_segments_than_a_byte_has_values_come_back(tmp_path: Path, styles: list[StructureStyle]) -> None:
    masks = {f"s{i}": block(RADIOGRAPH, (0, 1), (i // 100, i // 100 + 1), (i % 100, i % 100 + 1)) for i in range(300)}
    named = [replace(styles[0], name=name) for name in masks]
    write_segmentation(tmp_path / "a.seg.nrrd", np.stack(list(masks.values())), RADIOGRAPH, named)
    assert_same(read_segmentation(tmp_path / "a.seg.nrrd", RADIOGRAPH), masks)


# ---- files that are made by hand -------------------------------------------------------------------------------------


def header(**changes: str | None) -> dict[str, str]:
    """Fields of a whole small file on :data:`RADIOGRAPH`; ``None`` leaves one out."""
    x, y, _ = (f"({','.join(map(str, column))})" for column in RADIOGRAPH.index_to_lps_mm.T)
    z = f"({','.join(map(str, RADIOGRAPH.index_to_lps_mm[:, 2]))})"
    fields: dict[str, str | None] = {
        "type: ": "uint8",
        "dimension: ": "3",
        "space: ": "left-posterior-superior",
        "sizes: ": "40 30 1",
        "space directions: ": f"{x} {y} {z}",
        "kinds: ": "domain domain domain",
        "encoding: ": "gzip",
        "space origin: ": "(-20,35,4)",
        "Segment0_ID:=": "one",
        "Segment0_Name:=": "heart",
        "Segment0_LabelValue:=": "7",
        "Segment0_Layer:=": "0",
    }
    fields |= {key.replace("_is", ": ") if key.endswith("_is") else f"{key}:=": value for key, value in changes.items()}
    return {key: value for key, value in fields.items() if value is not None}


def write_by_hand(path: Path, fields: Mapping[str, str], voxels: NDArray[Any]) -> None:
    text = "\n".join(["NRRD0004", *(f"{key}{value}" for key, value in fields.items())]) + "\n\n"
    path.write_bytes(text.encode() + gzip.compress(voxels.tobytes()))


def some_voxels() -> NDArray[np.uint8]:
    voxels = np.zeros((1, 30, 40), np.uint8)
    voxels[0, 3:9, 5:20] = 7
    voxels[0, 20:25, 5:20] = 3
    return voxels


def test_another_label_value_is_found(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.seg.nrrd", header(), some_voxels())
    found = read_segmentation(tmp_path / "a.seg.nrrd", RADIOGRAPH)
    assert_same(found, {"heart": block(RADIOGRAPH, (0, 1), (3, 9), (5, 20))})


def test_a_segment_without_a_name_is_called_by_its_id(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.seg.nrrd", header(Segment0_Name=None), some_voxels())
    assert list(read_segmentation(tmp_path / "a.seg.nrrd", RADIOGRAPH)) == ["one"]


def test_files_before_slicer_4_11_have_a_layer_for_each_segment_without_saying_so(tmp_path: Path) -> None:
    x, y, z = (f"({','.join(map(str, column))})" for column in RADIOGRAPH.index_to_lps_mm.T)
    fields = header(
        dimension_is="4",
        sizes_is="2 40 30 1",
        kinds_is="list domain domain domain",
        Segment0_LabelValue=None,
        Segment0_Layer=None,
        Segment1_ID="two",
        Segment1_Name="lung",
    )
    fields["space directions: "] = f"none {x} {y} {z}"
    voxels = np.stack([some_voxels() == 7, some_voxels() == 3], axis=-1).astype(np.uint8)
    write_by_hand(tmp_path / "a.seg.nrrd", fields, voxels)
    found = read_segmentation(tmp_path / "a.seg.nrrd", RADIOGRAPH)
    expected = {
        "heart": block(RADIOGRAPH, (0, 1), (3, 9), (5, 20)),
        "lung": block(RADIOGRAPH, (0, 1), (20, 25), (5, 20)),
    }
    assert_same(found, expected)


def refused(path: Path, geometry: ImageGeometry = RADIOGRAPH) -> str:
    with pytest.raises(InputError) as error:
        read_segmentation(path, geometry)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: expected")
    return said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Segment0_ID": None, "Segment0_Name": None, "Segment0_LabelValue": None, "Segment0_Layer": None}, "segments"),
        ({"Segment0_ID": " ", "Segment0_Name": " "}, "expected a name for every segment, got none for number 1"),
        ({"Segment1_Name": "heart"}, "expected every name once, got 'heart' twice"),
        ({"Segment0_LabelValue": "seven"}, "expected whole numbers for label and layer of 'heart', got 'seven'"),
        ({"Segment0_Layer": "1"}, "expected 'heart' in one of 1 layers, got 1"),
        ({"Segment0_Layer": "-1"}, "expected 'heart' in one of 1 layers, got -1"),
        ({"sizes_is": "40 31 1"}, "truncated"),
        ({"sizes_is": "400000 300000 1"}, "at most 1 GiB"),
        ({"type_is": "uint16"}, "truncated"),
        ({"dimension_is": "2"}, "truncated"),
        ({"dimension_is": "99"}, "truncated"),
        ({"encoding_is": "magic"}, "truncated"),
    ],
    ids=str,
)
def test_a_damaged_or_strange_file_is_told_in_one_line(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    write_by_hand(tmp_path / "a.seg.nrrd", header(**changes), some_voxels())
    assert said in refused(tmp_path / "a.seg.nrrd")


def test_every_truncation_is_told_in_one_line(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.seg.nrrd", header(), some_voxels())
    whole = (tmp_path / "a.seg.nrrd").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "b.seg.nrrd").write_bytes(whole[:length])
        refused(tmp_path / "b.seg.nrrd")


def test_a_file_of_another_kind_is_told_in_one_line(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nowhere.seg.nrrd")
    (tmp_path / "text.seg.nrrd").write_text("no segmentation")
    assert "got something else" in refused(tmp_path / "text.seg.nrrd")
    sitk.WriteImage(sitk.Image([40, 40, 1], sitk.sitkUInt8), str(tmp_path / "a.nii"))
    assert "got a NIfTI file" in refused(tmp_path / "a.nii")
    sitk.WriteImage(sitk.Image([40, 40, 1], sitk.sitkUInt8), str(tmp_path / "image.nrrd"))
    assert "without segments" in refused(tmp_path / "image.nrrd")
    refused(tmp_path)


# ---- files of another image ------------------------------------------------------------------------------------------


def moved_by(voxels_ijk: tuple[float, float, float]) -> ImageGeometry:
    origin = np.array(RADIOGRAPH.origin_lps_mm) + RADIOGRAPH.index_to_lps_mm @ np.array(voxels_ijk)
    return replace(RADIOGRAPH, origin_lps_mm=tuple(origin.tolist()))


TURNED = tuple((np.array(UPRIGHT).reshape(3, 3) @ [[0.9998, -0.02, 0], [0.02, 0.9998, 0], [0, 0, 1]]).ravel().tolist())


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        (
            RADIOGRAPH.with_spacing((0.52, 0.8, 1.0), SpacingSource.GIVEN),
            "of 0.52 x 0.8 x 1 mm, got other voxels, of 0.5 x",
        ),
        (RADIOGRAPH.with_spacing((1, 1, 1), SpacingSource.UNKNOWN), "of 1 x 1 x 1 px, got other voxels"),
        (replace(RADIOGRAPH, direction=TURNED), "on the voxels of the image"),
        (moved_by((0.3, 0, 0)), "on the voxels of the image"),
        (moved_by((0, 0, 1)), "lies in the image, got one outside"),
        (moved_by((500, 0, 0)), "lies in the image, got one outside"),
        (moved_by((30, 0, 0)), "got 'right lung' partly outside"),
    ],
    ids=["spacing", "no spacing", "turned", "between voxels", "beside the plane", "far away", "partly outside"],
)
def test_masks_of_another_image_are_refused_instead_of_shifted(
    tmp_path: Path, styles: list[StructureStyle], geometry: ImageGeometry, said: str
) -> None:
    masks = some_masks(RADIOGRAPH)
    named = [replace(styles[0], name=name) for name in masks]
    write_segmentation(tmp_path / "a.seg.nrrd", np.stack(list(masks.values())), RADIOGRAPH, named)
    assert said in refused(tmp_path / "a.seg.nrrd", geometry)


def test_an_empty_rim_outside_of_the_image_is_no_harm(tmp_path: Path, styles: list[StructureStyle]) -> None:
    mask = block(RADIOGRAPH, (0, 1), (20, 30), (40, 50))
    write_segmentation(tmp_path / "a.seg.nrrd", mask[None], RADIOGRAPH, [styles[0]])
    found = read_segmentation(tmp_path / "a.seg.nrrd", moved_by((10, -3, 0)))
    np.testing.assert_array_equal(found["right_lung"], np.roll(mask, (0, 3, -10), axis=(0, 1, 2)))


@pytest.mark.parametrize("seed", range(6))
def test_rounding_of_far_and_oblique_geometry_is_no_other_image(
    tmp_path: Path, styles: list[StructureStyle], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing, origin = rng.uniform(0.05, 5, 3), rng.uniform(-2000, 2000, 3)
    geometry = ImageGeometry(
        (64, 40, 1 + seed % 2 * 30), tuple(spacing), tuple(origin), tuple(rotation.ravel()), SpacingSource.GIVEN
    )
    masks = some_masks(geometry) if geometry.is_radiograph else {"a": rng.random(geometry.size[::-1]) < 0.2}
    named = [replace(styles[0], name=name) for name in masks]
    write_segmentation(tmp_path / "a.seg.nrrd", np.stack(list(masks.values())), geometry, named)
    assert_same(read_segmentation(tmp_path / "a.seg.nrrd", geometry), masks)


def test_nothing_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_by_hand(tmp_path / "a.seg.nrrd", header(encoding_is="magic"), some_voxels())
    refused(tmp_path / "a.seg.nrrd")
    assert capfd.readouterr() == ("", "")
