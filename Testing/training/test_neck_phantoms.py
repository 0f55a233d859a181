"""Neck phantoms: the truth is where the image shows it, whatever the volume's geometry; absence is never a close call."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import label

from DenseLandmarksLib.errors import InputError
from training import neck_raster
from training.__main__ import main
from training.neck_anatomy import LANDMARKS, NeckAnatomy, draw_neck
from training.neck_grid import VolumeGrid
from training.neck_phantoms import neck_phantom, oblique_direction, place_volume
from training.neck_raster import rasterise

COARSE = {"size": (64, 64, 64), "spacing_mm": 2.0}
CUBE = np.eye(3)


def around(point: NDArray[np.float64], size: tuple[int, int, int], spacing_mm: float) -> VolumeGrid:
    """A volume whose middle voxel lies on a point."""
    return VolumeGrid(size, np.full(3, spacing_mm), point - (np.array(size) // 2) * spacing_mm, CUBE)


def without_noise(anatomy: NeckAnatomy, grid: VolumeGrid) -> NDArray[np.int16]:
    return sitk.GetArrayFromImage(rasterise(anatomy, grid, np.random.default_rng(0), noise_hu=0))


def test_the_same_seed_draws_the_same_volume() -> None:
    (first, truth), (second, again) = (neck_phantom(3, **COARSE) for _ in range(2))
    other, elsewhere = neck_phantom(4, **COARSE)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    assert np.abs(sitk.GetArrayFromImage(first).astype(int) - sitk.GetArrayFromImage(other)).mean() > 50
    for name in LANDMARKS:
        np.testing.assert_array_equal(truth[name], again[name])
        assert np.linalg.norm(truth[name] - elsewhere[name]) > 5
    assert first.GetPixelID() == sitk.sitkInt16
    assert first.GetOrigin() == second.GetOrigin()


def test_one_lumen_below_the_bifurcation_becomes_two_above_it() -> None:
    """Followed within the lumen that holds the landmark; thin branches do not count, stenoses may hide a lumen."""
    one_below, two_above, in_blood, sides = 0, 0, 0, 0
    voxel_mm, size = 0.7, (40, 40, 56)
    for seed in range(6):
        anatomy = draw_neck(np.random.default_rng(seed))
        up = anatomy.pose.matrix[:, 2] / np.linalg.norm(anatomy.pose.matrix[:, 2])
        assert up[2] > 0.8
        for name in LANDMARKS:
            voxels = without_noise(anatomy, around(anatomy.landmarks_lps_mm[name], size, voxel_mm))
            middle = voxels[28, 20, 20]
            blood, _ = label((voxels > 0.88 * np.percentile(voxels[26:31, 18:23, 18:23], 50)) & (voxels < 470))
            sides += 1
            if not 200 < middle < 470 or not blood[28, 20, 20]:
                continue
            in_blood += 1
            tree = blood == blood[28, 20, 20]
            counts = []
            for rise_mm in (-7, 10, 13, 16):
                found, n = label(tree[28 + round(rise_mm / voxel_mm)])
                areas_mm2 = np.bincount(found.ravel(), minlength=n + 1)[1:] * voxel_mm**2
                counts.append(int((areas_mm2 > 3).sum()))
            one_below += counts[0] == 1
            two_above += max(counts[1:]) >= 2
    assert in_blood >= 0.9 * sides
    assert one_below >= 0.85 * in_blood
    assert two_above >= 0.75 * in_blood


def test_left_lies_on_the_left_and_the_bifurcations_vary() -> None:
    rest, seen = [], []
    for seed in range(40):
        anatomy = draw_neck(np.random.default_rng(seed))
        points = np.stack([anatomy.landmarks_lps_mm[name] for name in LANDMARKS])
        assert points[0, 0] - points[1, 0] > 30
        seen.append(points)
        rest.append([anatomy.rest_landmarks_mm[name][2] for name in LANDMARKS])
    heights = np.array(rest)
    assert heights.min() >= -30
    assert heights.max() <= 34
    assert heights.std() > 8
    assert np.abs(heights[:, 0] - heights[:, 1]).max() > 12
    assert np.std([p.mean(axis=0) for p in seen], axis=0).min() > 40  # no prior knows where the neck lies


def test_a_voxel_grid_does_not_move_the_truth() -> None:
    direction = oblique_direction(np.random.default_rng(1))
    plain, truth = neck_phantom(5, (72, 72, 72), 1.6, noise_hu=0)
    turned, same = neck_phantom(5, (80, 80, 84), 1.6, direction, noise_hu=0)
    thick, also = neck_phantom(5, (112, 112, 38), (1.0, 1.0, 3.0), noise_hu=0)
    assert np.allclose(np.array(turned.GetDirection()).reshape(3, 3), direction)
    for image, points in ((turned, same), (thick, also)):
        for name in LANDMARKS:
            np.testing.assert_allclose(points[name], truth[name], atol=1e-9)
        onto = sitk.GetArrayFromImage(sitk.Resample(image, plain, sitk.Transform(), sitk.sitkLinear, -5000))
        shared = onto > -4000
        assert shared.mean() > 0.4
        there = sitk.GetArrayFromImage(plain)[shared].astype(float)
        assert np.corrcoef(there, onto[shared])[0, 1] > 0.95


def test_the_pose_is_undone() -> None:
    for seed in range(5):
        anatomy = draw_neck(np.random.default_rng(seed))
        points = np.random.default_rng(seed).uniform(-1, 1, (200, 3)) * [60, 60, 90]
        np.testing.assert_allclose(anatomy.pose.back(anatomy.pose(points)), points, atol=0.01)


def test_a_mirrored_neck_is_the_mirror_image_with_its_sides_renamed() -> None:
    anatomy = draw_neck(np.random.default_rng(8))
    mirrored = anatomy.mirrored()
    for name, other in zip(LANDMARKS, LANDMARKS[::-1], strict=True):
        expected = anatomy.landmarks_lps_mm[other] * [-1, 1, 1]
        np.testing.assert_allclose(mirrored.landmarks_lps_mm[name], expected, atol=1e-9)
    middle = np.mean(list(anatomy.landmarks_lps_mm.values()), axis=0)
    image = without_noise(anatomy, around(middle, (49, 49, 49), 2.0))
    flipped = without_noise(mirrored, around(middle * [-1, 1, 1], (49, 49, 49), 2.0))[:, :, ::-1]
    assert np.abs(image.astype(int) - flipped).mean() < 2


@pytest.mark.parametrize("absent_share", [0.0, 0.5])
def test_an_absent_landmark_lies_well_outside_and_a_present_one_well_inside(absent_share: float) -> None:
    lacking = {0: 0, 1: 0, 2: 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        anatomy = draw_neck(rng)
        direction = oblique_direction(rng) if seed % 2 else CUBE
        size = (int(rng.integers(96, 180)),) * 3
        grid = place_volume(anatomy, size, (1.0, 1.0, 1.2), direction, absent_share, rng)
        outside = [grid.outside_mm(point) for point in anatomy.landmarks_lps_mm.values()]
        assert all(distance > 10 or distance <= -5 + 1e-6 for distance in outside)
        lacking[sum(distance > 0 for distance in outside)] += 1
        image = sitk.Image([int(n) for n in grid.size], sitk.sitkUInt8)
        image.SetSpacing(grid.spacing_mm.tolist())
        image.SetOrigin(grid.origin_lps_mm.tolist())
        image.SetDirection(grid.direction.ravel().tolist())
        for point, distance in zip(anatomy.landmarks_lps_mm.values(), outside, strict=True):
            index = np.array(image.TransformPhysicalPointToContinuousIndex(point.tolist()))
            within = ((index > -0.5) & (index < np.array(grid.size) - 0.5)).all()
            assert within == (distance < 0)
    assert lacking[0] == 60 if absent_share == 0 else min(lacking.values()) >= 5


def test_the_volume_looks_like_a_ct_with_contrast() -> None:
    """Air, fat, muscle, filled vessels and bone are all there, and the noise is as strong as asked for."""
    image, truth = neck_phantom(2, (120, 120, 96), 1.0, noise_hu=20)
    quiet, _ = neck_phantom(2, (120, 120, 96), 1.0, noise_hu=0)
    voxels, still = sitk.GetArrayFromImage(image).astype(float), sitk.GetArrayFromImage(quiet).astype(float)
    shares = [
        ((still > low) & (still < high)).mean() for low, high in ((-1025, -950), (-110, -60), (30, 90), (400, 2000))
    ]
    assert shares[0] > 0.05
    assert shares[1] > 0.05
    assert shares[2] > 0.15
    assert 0.01 < shares[3] < 0.2
    muscle = (still > 40) & (still < 80)
    assert (voxels - still)[muscle].std() == pytest.approx(22, abs=6)  # the tissue's own texture adds to it
    for point in truth.values():
        index = quiet.TransformPhysicalPointToIndex(point.tolist())
        assert quiet[index] > 150


def test_the_work_may_be_cut_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = neck_phantom(6, (48, 48, 40), (2.0, 2.0, 3.2))
    monkeypatch.setattr(neck_raster, "SLAB_VOXELS", 20_000)
    cut, _ = neck_phantom(6, (48, 48, 40), (2.0, 2.0, 3.2))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(whole), sitk.GetArrayFromImage(cut))


def test_a_thick_slice_is_the_mean_of_the_thin_ones() -> None:
    anatomy = draw_neck(np.random.default_rng(9))
    centre = np.mean(list(anatomy.landmarks_lps_mm.values()), axis=0)
    origin = centre - [40, 40, 10]
    thin = VolumeGrid((80, 80, 24), np.array([1.0, 1.0, 1.0]), origin, CUBE)
    thick = VolumeGrid((80, 80, 6), np.array([1.0, 1.0, 4.0]), origin + [0, 0, 1.5], CUBE)
    mean = without_noise(anatomy, thin).reshape(6, 4, 80, 80).mean(axis=1)
    assert np.abs(mean - without_noise(anatomy, thick)).mean() < 15


def test_the_written_folder_is_read_as_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "necks"
    shares = ["--absent-share", "0.6", "--oblique-share", "0.5", "--thick-share", "0.5", "--test-share", "0.33"]
    asked = ["neck-phantoms", "--output", str(folder), "--cases", "6", "--seed", "40", "--size", "40", "40", "40"]
    assert main([*asked, "--spacing", "3", *shares]) == 0
    described = json.loads((folder / "dataset.json").read_text())
    with (folder / "landmarks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "landmark", "x_lps_mm", "y_lps_mm", "z_lps_mm"]
    assert [case["split"] for case in described["cases"]] == ["train"] * 4 + ["test"] * 2
    absent = 0
    for case in described["cases"]:
        image = sitk.ReadImage(str(folder / case["image"]))
        points = {
            row["landmark"]: [float(row[f"{axis}_lps_mm"]) for axis in "xyz"]
            for row in rows
            if row["case"] == case["case"]
        }
        assert set(points) | set(case["absent"]) == set(LANDMARKS)
        assert not set(points) & set(case["absent"])
        absent += len(case["absent"])
        for point in points.values():
            index = image.TransformPhysicalPointToContinuousIndex(point)
            assert all(0 <= i <= n - 1 for i, n in zip(index, image.GetSize(), strict=True))
    assert 0 < absent < 12


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(InputError, match="holds both bifurcations, got 32 x 32 x 32 mm"):
        neck_phantom(0, (32, 32, 32), 1.0)


def test_a_share_out_of_range_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neck-phantoms", "--output", str(tmp_path / "none"), "--absent-share", "30"]) == 2
    assert "expected --absent-share from 0 to 1, got 30.0" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
