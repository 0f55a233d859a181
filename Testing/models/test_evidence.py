"""What spoke for a landmark lies where the landmark is, in all images, and its size is the model's doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import index_from_lps_mm, pixels_from_lps_mm
from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.evidence import EvidenceMap, grid_to_index, relative
from DenseLandmarksLib.models.evidence_arrays import evidence_from_arrays, evidence_to_arrays
from DenseLandmarksLib.models.prediction import OpenPredictor
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.uv_evidence import uv_evidence
from Testing.models.blob_model import AT_LPS_MM, NETWORK, STORED, stored_blob, write_blob_bundle
from Testing.models.perfect_prediction import patient, perfect_prediction, radiograph

STRUCTURE = "heart"


def highest_index(one: EvidenceMap) -> NDArray[np.float64]:
    """Voxel index (3,) of the image where a map is highest; of a plateau its middle."""
    kji = np.argwhere(one.values > 0.999 * one.values.max()).mean(axis=0)
    return np.asarray((one.to_index @ [*kji[::-1], 1.0])[:3])


def ramp(scale: float | None, size: int = 32) -> UvField:
    """A structure of 24 x 24 pixels whose u goes along x and v along y, 0.02 a pixel."""
    v, u = np.indices((size, size)) * 0.02
    mask = np.zeros((size, size), bool)
    mask[4:28, 4:28] = True
    uv = np.stack([u, v])[None].astype(np.float32)
    return UvField((STRUCTURE,), uv, None if scale is None else np.full_like(uv, scale), mask[None], 1)


PLAIN = Grid((32, 32), (32, 32), (0, 0, 32, 32))


# ---- values ---------------------------------------------------------------------------------------------------------


def test_values_are_parts_of_the_highest_and_never_below_nothing() -> None:
    np.testing.assert_allclose(relative(np.array([-3.0, 0.0, 2.0, 4.0, np.nan])), [0, 0, 0.5, 1, 0])
    np.testing.assert_array_equal(relative(np.array([-1.0, -2.0])), [0, 0])


@pytest.mark.parametrize("wrong", [1.1, -0.1, np.nan])
def test_a_map_holds_nothing_that_cannot_be_shown(wrong: float) -> None:
    with pytest.raises(ValueError, match="expected values from 0 to 1"):
        EvidenceMap("m", "", np.array([[[0.5, wrong]]], np.float32), np.eye(4))


def test_a_pixel_has_the_likelihood_of_the_laplace_distribution() -> None:
    query = np.array([0.3, 0.24])  # of pixel (15, 12)
    (one,) = uv_evidence(ramp(0.04), PLAIN, STRUCTURE, query, "apex").maps
    j, i = np.indices(one.values.shape[1:])
    x, y = (one.to_index @ np.stack([i.ravel(), j.ravel(), 0 * i.ravel(), 1 + 0 * i.ravel()]))[:2]
    expected = np.exp(-(np.abs(x * 0.02 - 0.3) + np.abs(y * 0.02 - 0.24)) / 0.04)
    expected[(np.minimum(x, y) < 3.5) | (np.maximum(x, y) > 27.5)] = 0
    np.testing.assert_allclose(one.values.ravel(), expected / expected.max(), atol=1e-5)
    assert expected.reshape(j.shape)[[0, -1]].max() < 1e-3  # nothing is cut off
    assert expected.reshape(j.shape)[:, [0, -1]].max() < 1e-3
    np.testing.assert_allclose(highest_index(one), [15, 12, 0], atol=0.01)


def test_the_spot_is_as_large_as_the_doubt_and_a_pixel_that_is_surer_counts_more() -> None:
    sizes = [
        (uv_evidence(ramp(b), PLAIN, STRUCTURE, (0.3, 0.24), "apex").maps[0].values > 0.5).sum() for b in (0.02, 0.04)
    ]
    assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.25)
    field = ramp(0.04)
    assert field.uv_scale is not None
    field.uv_scale[:, :, :, 16:] = 0.08
    (one,) = uv_evidence(field, PLAIN, STRUCTURE, (0.31, 0.24), "apex").maps  # half way between pixels 15 and 16
    at = np.linalg.inv(one.to_index)
    left, right = (one.values[0, *np.rint((at @ [x, 12, 0, 1])[[1, 0]]).astype(int)] for x in (14.5, 16.5))
    assert left > 2 * right


def test_a_field_without_scales_shows_the_pixels_that_the_landmark_is_read_from() -> None:
    (one,) = uv_evidence(ramp(None), PLAIN, STRUCTURE, (0.3, 0.24), "apex").maps
    np.testing.assert_allclose(highest_index(one), [15, 12, 0], atol=0.01)
    spread = np.sqrt((one.values > 0.5).sum() / 16 / np.pi)  # radius in pixels of the field
    assert 0.5 < spread < 3


def test_a_structure_that_was_not_seen_has_no_evidence(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(), lost=(STRUCTURE,))
    assert prediction.uv_field is not None
    with pytest.raises(InputError, match=r"expected heart in the image, which heart_00 lies on, got none"):
        uv_evidence(prediction.uv_field, prediction.need_grid(), STRUCTURE, (0.5, 0.5), "heart_00")


# ---- places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("view", [*VIEWS, View(90, True)], ids=str)
def test_on_a_radiograph_it_lies_on_the_landmark_however_the_model_saw_it(
    chest_template: Template, view: View, stride: int
) -> None:
    image = radiograph()
    prediction = perfect_prediction(chest_template, patient(3), image, stride=stride, view=view)
    assert prediction.uv_field is not None
    landmarks, grid = prediction.landmarks, prediction.need_grid()
    points_px = pixels_from_lps_mm(image.geometry, landmarks.points_lps_mm)
    off = []
    for row in range(0, len(landmarks), 7):
        uv, structure = landmarks.template_uv[row], landmarks.structures[row]
        (one,) = uv_evidence(prediction.uv_field, grid, structure, uv, landmarks.names[row]).maps
        off.append(np.linalg.norm(highest_index(one)[:2] - points_px[row]))
    pixel = np.abs(grid.pixels_per_grid).sum(axis=0).max() * stride
    assert max(off) < pixel  # of the field, that is at most 2.6 of the image
    assert np.median(off) < 0.5 * pixel


@pytest.mark.parametrize("view", [AS_STORED, View(90), View(180, True)], ids=str)
def test_pixels_of_a_coarser_map_cover_those_of_the_grid(view: View) -> None:
    grid = fit_grid(radiograph(), (64, 48), view)
    finest, coarse = grid_to_index(grid), grid_to_index(grid, 4)
    np.testing.assert_allclose(finest[:2, :2] @ [10, 20] + finest[:2, 3], grid.to_pixels([[10, 20]])[0])
    np.testing.assert_allclose(coarse @ [2, 3, 0, 1], finest @ [9.5, 13.5, 0, 1])


@pytest.mark.parametrize("how", STORED)
def test_in_a_volume_both_heatmaps_lie_on_the_landmark_however_it_is_stored(how: str, blob: OpenPredictor) -> None:
    image = stored_blob(**STORED[how])
    evidence = blob.evidence(image, "blob")
    assert [one.name for one in evidence.maps] == ["Fine heatmap", "Coarse heatmap"]
    expected = index_from_lps_mm(image.geometry, AT_LPS_MM[None])[0]
    for one, spacing_mm in zip(evidence.maps, (NETWORK["spacings_mm"][-1], NETWORK["spacings_mm"][0]), strict=True):
        off_mm = (highest_index(one) - expected) * image.geometry.spacing_mm
        assert np.abs(off_mm).max() < 0.5 * spacing_mm * np.sqrt(3) + 0.15, one.name
        assert f"{spacing_mm:g} mm" in one.explanation
        # Of a Gaussian what is above half is a ball of 1.18 sigma, here 3.5 mm and a little more on coarse voxels.
        radius_mm = ((one.values > 0.5).sum() * spacing_mm**3 * 3 / (4 * np.pi)) ** (1 / 3)
        assert 3.0 < radius_mm < 6.0, one.name


# ---- predictors -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> OpenPredictor:
    return open_predictor(str(write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blob")), "cpu")


def test_a_dense_shape_model_says_what_its_uv_field_says(tiny_bundle: Path) -> None:
    predictor, image = open_predictor(str(tiny_bundle), "cpu"), radiograph()
    prediction = predictor.predict(image, View(180))
    assert prediction.uv_field is not None
    seen = [s for s, mask in zip(prediction.structures, prediction.uv_field.masks, strict=True) if mask.sum() > 30]
    assert seen, "an untrained network sees something of some structure"
    row = prediction.landmarks.structures.index(seen[0])
    name, passes = prediction.landmarks.names[row], []
    evidence = predictor.evidence(image, name, View(180), between_passes=lambda: passes.append(1))
    uv = prediction.landmarks.template_uv[row]
    expected = uv_evidence(prediction.uv_field, prediction.need_grid(), seen[0], uv, name)
    np.testing.assert_array_equal(evidence.maps[0].values, expected.maps[0].values)
    np.testing.assert_array_equal(evidence.maps[0].to_index, expected.maps[0].to_index)
    assert passes


def test_what_cannot_be_told_is_told_in_one_line(tiny_bundle: Path, blob: OpenPredictor) -> None:
    dense, volume = open_predictor(str(tiny_bundle), "cpu"), stored_blob()
    for predictor, image in ((dense, radiograph()), (blob, volume)):
        with pytest.raises(
            InputError, match=r"expected a landmark that .* looks for, got 'nose', of which it has no map"
        ):
            predictor.evidence(image, "nose")
    with pytest.raises(InputError, match="expected a radiograph"):
        dense.evidence(volume, dense.template.landmark_names[0])  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="expected a volume"):
        blob.evidence(radiograph(), "blob")


def test_maps_cross_to_another_process_unchanged_and_others_are_refused(blob: OpenPredictor) -> None:
    evidence = blob.evidence(stored_blob(), "other")
    header, arrays = evidence_to_arrays(evidence)
    back = evidence_from_arrays(header, arrays)
    assert back.landmark == "other"
    for one, other in zip(back.maps, evidence.maps, strict=True):
        assert (one.name, one.explanation) == (other.name, other.explanation)
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.to_index, other.to_index)
    for damaged in ({}, {**header, "maps": []}, {**header, "maps": [*header["maps"], header["maps"][0]]}):
        with pytest.raises(ValueError, match="expected maps of a landmark"):
            evidence_from_arrays(damaged, arrays)
    with pytest.raises(ValueError, match="expected maps of a landmark"):
        evidence_from_arrays(header, {**arrays, "0.values": arrays["0.values"] + 1})


def test_a_map_of_a_turned_crop_lies_where_its_voxels_do() -> None:
    """As the network itself says where a position is in its crop."""
    import torch

    from DenseLandmarksLib.models.networks.multi_scale import LevelOutput
    from DenseLandmarksLib.models.predictors.level_maps import level_maps

    image, rng = stored_blob(**STORED["oblique"]), np.random.default_rng(0)
    frame = torch.from_numpy(Rotation.from_euler("xyz", [40, -25, 70], degrees=True).as_matrix()).float()[None]
    rows, middles = torch.tensor([[2, 0], [1, 1]]), torch.from_numpy(AT_LPS_MM + rng.normal(0, 9, (1, 2, 3))).float()
    heat = torch.from_numpy(rng.normal(0, 3, (1, 2, 2, 5, 6, 7))).float()
    output = LevelOutput(torch.zeros(1, 3, 3), torch.arange(3), middles, rows, heat, 2.0, frame)
    points = torch.from_numpy(AT_LPS_MM + rng.normal(0, 20, (1, 3, 3))).float()
    for landmark, (crop, place) in {0: (0, 1), 1: (1, 0), 2: (0, 0)}.items():
        (one,) = level_maps([output], landmark, "softmax", image.geometry)
        in_crop = output.index_of(points)[0, crop, place].numpy()
        expected = index_from_lps_mm(image.geometry, points[0, landmark].numpy()[None])[0]
        np.testing.assert_allclose((one.to_index @ [*in_crop, 1.0])[:3], expected, atol=1e-3)
        assert one.values.argmax() == int(heat[0, crop, place].argmax())
        assert one.name == "Coarse heatmap"
