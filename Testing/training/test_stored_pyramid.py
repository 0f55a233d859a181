"""Where an altered volume is seen, back and forth; what greys and cuts do to it; what a packed file keeps."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.pyramid import OUTSIDE
from Testing.models.blob_finder import blob, sampled_pyramid
from Testing.training.kept_state import damaged_copies
from training.stored_pyramid import Bend, Greys, Seen, SeenPyramid, StoredPyramid, from_bytes, to_bytes
from training.volume_augmentation import rotation_of
from training.volume_cases import VolumeCases, load_packed_volumes, plan_groups, save_volume_cases

MIDDLE = torch.tensor([12.0, -300.0, 850.0])


def gentle_bend(amplitude_mm: float = 6.0, every_mm: float = 48.0) -> Bend:
    """As strong as a recipe may have it."""
    generator = torch.Generator().manual_seed(4)
    knots = (2 * torch.rand((3, 8, 9, 10), generator=generator) - 1) * amplitude_mm
    return Bend(MIDDLE - 200, every_mm, knots)


SEEN = Seen(
    MIDDLE,
    rotation_of(0.1, -0.5, 0.7, 0.5) @ torch.diag(torch.tensor([-1.0, 1, 1])) / 1.15,
    torch.tensor([20.0, -7.0, 3.0]),
    gentle_bend(),
)


def test_what_is_seen_is_stored_where_it_came_from() -> None:
    points = MIDDLE + 150 * (torch.rand((2000, 3), generator=torch.Generator().manual_seed(0)) - 0.5)
    for seen in (SEEN, replace(SEEN, bend=None)):
        np.testing.assert_allclose(seen.to_seen(seen.to_stored(points)), points, atol=0.01)
        np.testing.assert_allclose(seen.to_stored(seen.to_seen(points)), points, atol=0.01)


def test_a_rotation_a_scale_and_a_shift_are_what_they_say() -> None:
    """``stored = matrix @ (seen - middle) + middle + shift``."""
    quarter = rotation_of(0, 0, 0.5**0.5, 0.5**0.5)  # from +L to +P
    seen = Seen(MIDDLE, quarter / 2, torch.tensor([0.0, 0, 5]))
    np.testing.assert_allclose(seen.to_stored(MIDDLE + torch.tensor([8.0, 0, 0])), MIDDLE + torch.tensor([0, 4, 5.0]))


def test_a_bend_is_linear_between_its_knots_and_constant_beyond() -> None:
    knots = torch.zeros(3, 3, 3, 3)
    knots[1, 2, 1, 0] = 4  # at z 2, y 1, x 0: along P
    bend = Bend(torch.tensor([10.0, 20, 30]), 5.0, knots)
    points = torch.tensor([[10.0, 25, 40], [10, 25, 37.5], [12.5, 27.5, 40], [10, 25, 99], [15, 25, 40]])
    expected = np.zeros((5, 3))
    expected[:, 1] = [4, 2, 1, 4, 0]
    np.testing.assert_allclose(bend.at(points), expected, atol=1e-5)


def test_greys_are_changed_as_they_say_and_noise_repeats_itself() -> None:
    values = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    changed = Greys(contrast=1.2, brightness=-0.1, gamma=2.0).change(values)
    expected = 2 * (np.array([1e-3, 0.25, 0.5, 1]) ** 2 * 1.2 - 0.1) - 1
    np.testing.assert_allclose(changed, expected, atol=1e-5)
    plain = Greys().change(values)
    np.testing.assert_allclose(plain, values, atol=3e-3)
    noisy = [Greys(noise=0.1).change(torch.zeros(4000), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    assert noisy[0].std().item() == pytest.approx(0.2, rel=0.05)  # of values from -1 to 1


def test_greys_leave_a_slope_to_where_a_crop_lies() -> None:
    """The root of nothing has no slope: a crop at the border of the air would get none, or none that is a number."""
    values = torch.full((8,), -1.0, requires_grad=True)
    Greys(gamma=0.5).change(values).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_what_was_cut_off_is_nothing() -> None:
    stored = sampled_pyramid(lambda at: 0 * at[..., 0] + 0.5, [1.0], 20)
    box = torch.tensor([[-torch.inf, 8.0, -torch.inf], [12.0, torch.inf, torch.inf]])
    seen = SeenPyramid(stored, Seen(torch.full((3,), 10.0), box_lps_mm=box, greys=Greys(contrast=0.8)))
    crop = seen.crop(0, torch.tensor([[10.0, 10.0, 10.0]]), (8, 8, 8))[0, 0]  # 6.5 to 13.5 mm
    assert (crop[:, :, 6:] == OUTSIDE).all()
    assert (crop[:, :2] == OUTSIDE).all()
    np.testing.assert_allclose(crop[:, 2:, :6], 2 * 0.75 * 0.8 - 1, atol=1e-5)


# ---- packed files ---------------------------------------------------------------------------------------------------


def some_cases() -> VolumeCases:
    """Three volumes of two levels."""
    pyramids = []
    for number in range(3):
        read = sampled_pyramid(blob((9.0 + number, 11, 10), 3), [2.0, 1.0], 20, (5.0 * number, 0, -7.25))
        pyramids.append(StoredPyramid(read.grids, [from_bytes(to_bytes(level)) for level in read.levels]))
    points = np.random.default_rng(0).normal(0, 10, (3, 2, 3))
    points[1, 0] = np.nan
    absent = np.zeros((3, 2), bool)
    absent[1, 0] = True
    window = IntensityRecipe("window", -100, 200)
    names = ("a", "b"), ("s", "t")
    return VolumeCases(
        "blobs", ("x", "z", "y"), ("train", "test", "train"), tuple(pyramids), points, absent, *names, window
    )


def test_all_256_steps_survive_half_precision() -> None:
    steps = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_bytes(from_bytes(steps)), steps)
    assert (from_bytes(steps)[[0, 255]] == [-1, 1]).all()
    values = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    np.testing.assert_allclose(from_bytes(to_bytes(values)), values, atol=1 / 255 + 5e-4)


def test_a_packed_file_holds_all_to_the_last_bit(tmp_path: Path) -> None:
    cases = some_cases()
    save_volume_cases(tmp_path / "packed.npz", cases)
    read = load_packed_volumes(tmp_path / "packed.npz")
    for name in ("data_name", "names", "splits", "landmark_names", "landmark_structures", "intensity", "spacings_mm"):
        assert getattr(read, name) == getattr(cases, name), name
    np.testing.assert_array_equal(read.points_lps_mm, cases.points_lps_mm)
    np.testing.assert_array_equal(read.absent, cases.absent)
    for one, other in zip(read.pyramids, cases.pyramids, strict=True):
        assert one.grids == other.grids
        for values, same in zip(one.levels, other.levels, strict=True):
            assert values.dtype == np.float16
            np.testing.assert_array_equal(values, same)


def test_what_is_no_packed_file_is_told(tmp_path: Path) -> None:
    save_volume_cases(tmp_path / "whole.npz", some_cases())
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    paths = [tmp_path / f"{name}.npz" for name in ("text", "other", "empty", "missing")]
    for path in (*paths, *damaged_copies(tmp_path / "whole.npz")):
        with pytest.raises(InputError, match=r"expected a data folder or a packed \.npz") as told:
            load_packed_volumes(path)
        assert "\n" not in str(told.value)


def test_splits_and_folds_choose_whole_cases() -> None:
    cases = some_cases()
    train = cases.of_split("train")
    assert train.names == ("x", "y")
    np.testing.assert_array_equal(train.points_lps_mm, cases.points_lps_mm[[0, 2]])
    assert train.pyramids == (cases.pyramids[0], cases.pyramids[2])
    assert train.intensity == cases.intensity
    rest, held = cases.fold(1, 3)
    assert (rest.names, held.names) == (("x", "z"), ("y",))
    with pytest.raises(InputError, match="expected cases of split 'validation'"):
        cases.of_split("validation")
    with pytest.raises(InputError, match="fold 4 of 5"):
        cases.fold(4, 5)


def test_few_landmarks_have_a_crop_each_and_neighbours_of_many_share_one() -> None:
    few = np.random.default_rng(0).normal(0, 1, (4, 8, 3))
    assert plan_groups(few, 100, 4) == tuple(range(8))
    middles = np.repeat([[0.0, 0, 0], [50, 0, 0], [0, 80, 0]], [6, 2, 1], axis=0)
    many = middles + np.random.default_rng(1).uniform(-2, 2, (4, 9, 3))
    many[2, 3] = np.nan
    groups = np.array(plan_groups(many, 15, 4))
    assert np.bincount(groups[:6]).max() == 4  # six neighbours, at most four in a crop
    assert len(set(groups[:6])) == 2
    assert groups[6] == groups[7] != groups[8]
    assert sorted(set(groups)) == [0, 1, 2, 3]
    # Farther apart in a single patient, and never in one crop.
    many[0, 7] += 30
    apart = plan_groups(many, 15, 4)
    assert apart[6] != apart[7]
