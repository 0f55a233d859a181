"""Coarse to fine: crops in millimetres are the volume, gradients go where they are meant to, what moves is followed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.models.networks.loc_net import centre_of_mass
from DenseLandmarksLib.models.networks.multi_scale import Cropping, MultiScaleLocNet
from DenseLandmarksLib.models.networks.pyramid import OUTSIDE, Pyramid, part_of
from Testing.models.blob_finder import FloatArray, blob, sampled_pyramid, see_brightness
from training.stored_pyramid import StoredPyramid

CROP = 8


@pytest.fixture
def noise() -> StoredPyramid:
    """Two levels of smooth noise that have nothing to do with each other; no two axes alike."""
    rng = np.random.default_rng(0)
    grids = (LevelGrid((-30.0, 11.0, 402.0), 2.0, (14, 12, 10)), LevelGrid((-30.5, 10.5, 401.5), 1.0, (28, 24, 20)))
    levels = [np.clip(rng.normal(0, 0.4, grid.size[::-1]), -0.9, 0.9).astype(np.float32) for grid in grids]
    return StoredPyramid(grids, levels)  # type: ignore[arg-type]


def tensor(points: object) -> Tensor:
    return torch.as_tensor(np.asarray(points), dtype=torch.float32)


def untrained(landmarks: int = 1, levels: int = 2, **arguments: object) -> MultiScaleLocNet:
    torch.manual_seed(0)
    spacings = [2.0 ** (levels - 1 - level) for level in range(levels)]
    given = {"crop_size": CROP, "channels": (4, 8), **arguments}
    return MultiScaleLocNet(landmarks, spacings, **given).eval()  # type: ignore[arg-type]


# ---- crops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1])
def test_a_crop_on_the_voxels_is_the_voxels(noise: StoredPyramid, level: int) -> None:
    grid, size, start = noise.grids[level], (4, 6, 8), np.array([3, 2, 1])
    centre = grid.lps_mm_from_index([start + (np.array(size) - 1) / 2])
    crop = noise.crop(level, tensor(centre), size)
    voxels = noise.levels[level][1:9, 2:8, 3:7]
    np.testing.assert_allclose(crop[0, 0].numpy(), voxels, atol=2e-5)


def test_between_voxels_a_crop_is_between_their_values(noise: StoredPyramid) -> None:
    grid = noise.grids[1]
    start = np.array([3.25, 2.0, 1.5])
    crop = noise.crop(1, tensor(grid.lps_mm_from_index([start + 1.5])), (4, 4, 4))[0, 0].numpy()
    values = noise.levels[1].astype(np.float64)
    along_x = 0.75 * values[:, :, 3:7] + 0.25 * values[:, :, 4:8]
    expected = (0.5 * along_x[1:5] + 0.5 * along_x[2:6])[:, 2:6]
    np.testing.assert_allclose(crop, expected, atol=2e-5)


def test_a_turned_crop_has_the_values_at_its_positions() -> None:
    """Of a linear ramp interpolation is exact, so every voxel says where it is."""
    slopes = np.array([0.011, -0.007, 0.004])
    pyramid = sampled_pyramid(lambda at: at @ slopes - 0.1, [1.0], 40)
    frame = Rotation.from_euler("xyz", [30, -50, 110], degrees=True).as_matrix()
    centre = np.array([[18.2, 21.7, 19.1]])
    crop = pyramid.crop(0, tensor(centre), (6, 8, 4), tensor(frame))[0, 0].numpy()
    for z, y, x in ((0, 0, 0), (3, 7, 5), (1, 2, 4)):
        offset = frame @ (np.array([x, y, z]) - (np.array([6, 8, 4]) - 1) / 2)
        assert crop[z, y, x] == pytest.approx((centre[0] + offset) @ slopes - 0.1, abs=1e-5)


@pytest.mark.parametrize(
    "away_mm",
    [(50, 0, 0), (-50, 0, 0), (0, 50, 0), (0, -50, 0), (0, 0, 50), (0, 0, -50), (1e7, -1e7, 1e30), (np.nan,) * 3],
)
def test_there_is_nothing_outside(noise: StoredPyramid, away_mm: tuple[float, float, float]) -> None:
    middle = noise.centre_lps_mm
    crop = noise.crop(1, tensor([middle + away_mm]), (CROP,) * 3)
    if np.isfinite(away_mm).all():
        assert (crop == OUTSIDE).all()
    assert crop.shape == (1, 1, CROP, CROP, CROP)  # what is nowhere is no crash


def test_a_crop_at_the_border_is_half_volume_and_half_nothing(noise: StoredPyramid) -> None:
    grid = noise.grids[1]
    centre = grid.lps_mm_from_index([[-0.5, 11.5, 27.5 - 8]])  # four voxels beyond the first x, and at the end of z
    crop = noise.crop(1, tensor(centre), (CROP,) * 3)[0, 0].numpy()
    np.testing.assert_allclose(crop[:4, :, 4:], noise.levels[1][16:20, 8:16, :4], atol=2e-5)
    assert (crop[:, :, :4] == OUTSIDE).all()
    assert (crop[4:] == OUTSIDE).all()


def test_part_of_fills_what_there_is_not() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    part = part_of(values, (-1, 1, 1), (3, 4, 2))
    expected = np.full((2, 4, 3), OUTSIDE, np.float32)
    expected[0, :2, 1:] = values[1, 1:, :2]
    np.testing.assert_array_equal(part, expected)
    assert (part_of(values, (9, 0, 0), (2, 2, 2)) == OUTSIDE).all()


def test_where_a_crop_lies_has_the_gradient_of_finite_differences(noise: StoredPyramid) -> None:
    """Within a voxel interpolation is linear along each axis, so central differences are exact."""
    weights = torch.randn(2, 1, 4, 4, 4)
    frame = torch.eye(3)
    centres = tensor(noise.centre_lps_mm + np.array([[0.3, -0.2, 0.4], [-3.3, 2.8, -1.6]]) + 0.5).requires_grad_()
    (noise.crop(1, centres, (4, 4, 4), frame) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert centres.grad is not None
    step = 0.05
    for row in range(2):
        for axis in range(3):
            moved = torch.zeros(2, 3)
            moved[row, axis] = step
            with torch.no_grad():
                above, below = ((noise.crop(1, centres + sign * moved, (4, 4, 4)) * weights).sum() for sign in (1, -1))
            assert centres.grad[row, axis].item() == pytest.approx(((above - below) / (2 * step)).item(), abs=5e-3)
    assert centres.grad.abs().max() > 0.1


# ---- gradients from level to level ----------------------------------------------------------------------------------


def slopes_of(found: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The derivative (3, 3) of positions found (1, 1, 3) after those looked at (1, 1, 3); zeros where there is none."""
    points = at.clone().requires_grad_()
    moved = found(points)
    rows = []
    for axis in range(3):
        (row,) = torch.autograd.grad(moved[0, 0, axis], points, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros(3) if row is None else row[0, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("cropping", ["differentiable", "integer", "detached"])
def test_what_a_level_says_depends_on_the_level_before_as_the_cropping_has_it(
    noise: StoredPyramid, cropping: Cropping
) -> None:
    network = untrained(cropping=cropping)
    at = tensor(noise.centre_lps_mm + np.array([1.3, -0.8, 0.6]))[None, None]

    def look(points: Tensor) -> Tensor:
        return network.finer(1, [noise], points).points_lps_mm

    slopes = slopes_of(look, at)
    if cropping == "detached":
        assert not slopes.any()
    elif cropping == "integer":
        # As in the paper's code: through where the crop is, and not through what is seen.
        torch.testing.assert_close(slopes, torch.eye(3))
    else:
        step = 0.01
        columns = [(look(at + step * row) - look(at - step * row))[0, 0] / (2 * step) for row in torch.eye(3)]
        torch.testing.assert_close(slopes, torch.stack(columns, dim=1).detach(), atol=0.02, rtol=0.02)
        assert (slopes - torch.eye(3)).abs().max() > 0.05


@pytest.mark.parametrize(("cropping", "reaches"), [("differentiable", True), ("integer", True), ("detached", False)])
def test_the_finest_error_teaches_the_coarse_level_only_where_it_is_meant_to(
    noise: StoredPyramid, cropping: Cropping, reaches: bool
) -> None:
    network = untrained(cropping=cropping)
    outputs, _ = network([noise])
    outputs[-1].points_lps_mm.square().sum().backward()  # type: ignore[no-untyped-call]
    coarse, fine = (network.net(level).head.weight.grad for level in (0, 1))
    assert fine is not None
    assert fine.any()
    assert (coarse is not None and bool(coarse.any())) is reaches


def test_integer_crops_lie_on_the_voxels_nearest_to_what_was_said(noise: StoredPyramid) -> None:
    """The paper's code begins at 2 int(p) - 28: the middle of an even crop lies between two voxels."""
    network = untrained(cropping="integer")
    for offset in np.random.default_rng(0).uniform(-6, 6, (5, 3)):
        said = noise.centre_lps_mm + offset
        output = network.finer(1, [noise], tensor(said)[None, None])
        middle = output.centres_lps_mm[0, 0].detach().numpy()
        start = noise.grids[1].index_from_lps_mm([middle])[0] - (CROP - 1) / 2
        np.testing.assert_allclose(start, np.round(start), atol=1e-4)
        assert np.abs(middle - said).max() <= 0.5 + 1e-4


# ---- what moves is followed -----------------------------------------------------------------------------------------


def test_a_volume_that_lies_elsewhere_has_its_points_there(noise: StoredPyramid) -> None:
    network = untrained(landmarks=3, groups=[0, 0, 1])
    shift = np.array([64.0, -12.5, -256.25])
    grids = [LevelGrid(tuple(np.array(g.origin_lps_mm) + shift), g.spacing_mm, g.size) for g in noise.grids]
    with torch.inference_mode():
        one, other = (network([p])[0][-1].points_lps_mm for p in (noise, StoredPyramid(grids, noise.levels)))
    torch.testing.assert_close(other - one, tensor(shift).expand(1, 3, 3), atol=3e-4, rtol=0)


@pytest.mark.parametrize(
    ("shift_mm", "tolerance_mm"), [((8.0, -4.0, 12.0), 2e-3), ((4.0, 4.0, -8.0), 2e-3), ((1.3, -2.6, 3.9), 0.03)]
)
def test_a_blob_that_moves_is_followed_by_as_many_millimetres(
    shift_mm: tuple[float, float, float], tolerance_mm: float
) -> None:
    """Whole voxels of the coarsest level (4 mm) exactly, anything else up to the interpolation."""
    network = see_brightness(MultiScaleLocNet(1, [4.0, 2.0, 1.0], 16, channels=(1, 1), centre="relu"))
    at = np.array([30.7, 33.2, 31.1])
    found = []
    for where in (at, at + np.array(shift_mm)):
        with torch.inference_mode():
            outputs, _ = network([sampled_pyramid(blob(where, 3.0), network.spacings_mm, 64)])
        found.append(outputs[-1].points_lps_mm[0, 0].numpy())
        # What a crop of 16 mm sees of the blob is cut off alike on all sides.
        np.testing.assert_allclose(found[-1], where, atol=0.15)
        np.testing.assert_allclose(outputs[0].points_lps_mm[0, 0].numpy(), where, atol=0.05)
    np.testing.assert_allclose(found[1] - found[0], shift_mm, atol=tolerance_mm)


def test_crops_that_are_moved_find_the_same(noise: StoredPyramid) -> None:
    network = see_brightness(MultiScaleLocNet(1, [2.0, 1.0], 32, channels=(1, 1), centre="relu"))
    pyramid = sampled_pyramid(blob((31.0, 30.0, 33.0), 2.0), network.spacings_mm, 64)
    at, shift = tensor([[[30.0, 30.0, 32.0]]]), tensor([[[5.0, -4.5, 2.25]]])
    plain, moved = (network.finer(1, [pyramid], at, by) for by in (None, shift))
    torch.testing.assert_close(moved.centres_lps_mm, plain.centres_lps_mm + shift)
    torch.testing.assert_close(moved.points_lps_mm, plain.points_lps_mm, atol=0.02, rtol=0)


def test_a_turned_head_has_turned_points_where_crops_take_its_pose() -> None:
    """The finer networks see the same content however it lies, but for interpolation."""
    rng = np.random.default_rng(3)
    centres, widths = rng.uniform(-9, 9, (14, 3)), rng.uniform(2.5, 4, 14)
    shape = np.array([[-8.0, -4, -2], [8, -5, 1], [1, 9, -3], [0, -2, 8]])

    def values(at: FloatArray) -> FloatArray:
        blobs = zip(centres, widths, strict=True)
        return np.asarray(-1 + sum(np.exp(-((at - c) ** 2).sum(-1) / (2 * w * w)) for c, w in blobs))

    def found(rotation: FloatArray, is_posed: bool) -> tuple[FloatArray, FloatArray]:
        network = untrained(4, shape_mm=shape.tolist() if is_posed else None, crop_size=16, groups=[0, 1, 1, 2])
        pyramid = sampled_pyramid(lambda at: values((at - 32) @ rotation), network.spacings_mm, 64)
        said = tensor(shape @ rotation.T + 32)[None]
        with torch.inference_mode():
            output = network.finer(1, [pyramid], said)
            torch.testing.assert_close(
                output.index_of(output.points_lps_mm)[0, 1],
                output.index_of(output.points_lps_mm)[0, 1].clamp(0, 15),
            )
        return output.points_lps_mm[0].numpy() - 32, output.frames[0].numpy()

    turn = Rotation.from_euler("xyz", [70, -40, 155], degrees=True).as_matrix()
    plain, _ = found(np.eye(3), True)
    turned, frame = found(turn, True)
    np.testing.assert_allclose(frame, turn, atol=1e-5)
    np.testing.assert_allclose(turned, plain @ turn.T, atol=0.03)
    # Without the pose the same networks are seen things from another side, and say something else.
    assert np.abs(found(turn, False)[0] - plain @ turn.T).max() > 0.3


def test_a_mirrored_shape_has_a_pose_that_is_no_mirror() -> None:
    shape = np.array([[-8.0, -4, -2], [8, -5, 1], [1, 9, -3], [0, -2, 8]])
    network = untrained(4, shape_mm=shape.tolist())
    frames = network._pose(tensor(shape * [-1, 1, 1])[None])
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(1))
    torch.testing.assert_close(frames[0] @ frames[0].T, torch.eye(3), atol=1e-5, rtol=0)


# ---- crops that are shared, and left out ----------------------------------------------------------------------------


def test_places_in_crops_are_those_of_the_landmarks(noise: StoredPyramid) -> None:
    """Reading a heatmap and :meth:`index_of` are each other's inverse, with shared and repeated places too."""
    network = untrained(5, groups=[1, 0, 1, 2, 1], shape_mm=np.random.default_rng(1).normal(0, 5, (5, 3)).tolist())
    assert network.rows.tolist() == [[1, 1, 1], [0, 2, 4], [3, 3, 3]]
    said = tensor(noise.centre_lps_mm + np.random.default_rng(0).normal(0, 3, (5, 3)))[None].repeat(2, 1, 1)
    output = network.finer(1, [noise, noise], said)
    expected = centre_of_mass(output.heat.flatten(0, 1), "softmax").unflatten(0, (2, 3))
    torch.testing.assert_close(output.index_of(output.points_lps_mm), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(output.by_landmark(expected)[:, 4], expected[:, 1, 2])
    assert output.landmarks.tolist() == [0, 1, 2, 3, 4]


def test_what_is_in_no_crop_stays_where_it_was_said_to_be(noise: StoredPyramid) -> None:
    network = untrained(5, groups=[1, 0, 1, 2, 1])
    said = tensor(noise.centre_lps_mm + np.random.default_rng(0).normal(0, 3, (5, 3)))[None]
    every = network.finer(1, [noise], said)
    some = network.finer(1, [noise], said, None, torch.tensor([2, 0]))
    assert some.landmarks.tolist() == [1, 3]
    torch.testing.assert_close(some.points_lps_mm[0, [1, 3]], every.points_lps_mm[0, [1, 3]], atol=1e-4, rtol=0)
    assert torch.equal(some.points_lps_mm[0, [0, 2, 4]], said[0, [0, 2, 4]])


def test_crops_of_a_group_lie_about_the_middle_of_its_landmarks(noise: StoredPyramid) -> None:
    network = untrained(3, groups=[0, 0, 0])
    said = tensor([[[-20.0, 15, 410], [-10, 25, 412], [-19, 16, 411]]])
    output = network.finer(1, [noise], said)
    torch.testing.assert_close(output.centres_lps_mm, tensor([[[-15.0, 20, 411]]]))


def test_volumes_of_a_batch_do_not_know_of_each_other(noise: StoredPyramid) -> None:
    network = untrained(3, groups=[0, 0, 1], is_normalised=True, presence=True)
    other = StoredPyramid(noise.grids, [-level for level in noise.levels])
    with torch.inference_mode():
        together, presence = network([noise, other])
        for row, pyramid in enumerate((noise, other)):
            alone, present = network([pyramid])
            torch.testing.assert_close(together[-1].points_lps_mm[row], alone[-1].points_lps_mm[0], atol=1e-3, rtol=0)
            torch.testing.assert_close(presence[row], present[0], atol=1e-4, rtol=1e-4)


# ---- the rest -------------------------------------------------------------------------------------------------------


def test_presence_is_learned_from_the_coarse_level_and_zero_without_the_output(noise: StoredPyramid) -> None:
    network = untrained(2, presence=True)
    _, logits = network.coarse([noise])
    assert logits.shape == (1, 2)
    logits.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [next(block.parameters()).grad for block in network.net(0).down]
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)
    assert network.net(1).head.weight.grad is None
    assert not untrained(2).coarse([noise])[1].any()


def test_a_large_volume_is_seen_whole(noise: StoredPyramid) -> None:
    network = untrained(channels=(4, 8, 16))
    assert network.size_to_see(noise) == (16, 12, 12)  # 14, 12 and 10 voxels, four divides them
    output, _ = network.coarse([noise], network.size_to_see(noise))
    assert output.heat.shape[-3:] == (12, 12, 16)
    bright = see_brightness(MultiScaleLocNet(1, [2.0], 8, channels=(1, 1), centre="relu"))
    pyramid = sampled_pyramid(blob((56.0, 8.0, 30.0), 3.0), [2.0], 64)  # far outside of a crop of 16 mm
    with torch.inference_mode():
        found, _ = bright.coarse([pyramid], bright.size_to_see(pyramid))
    torch.testing.assert_close(found.points_lps_mm[0, 0], tensor([56.0, 8.0, 30.0]), atol=0.1, rtol=0)


def test_half_precision_changes_little_and_coordinates_stay_single(noise: StoredPyramid) -> None:
    network = untrained(2, presence=True, is_normalised=True)
    with torch.inference_mode():
        single = network([noise])[0][-1].points_lps_mm
        network.is_mixed = True
        mixed = network([noise])[0][-1].points_lps_mm
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, single, atol=0.1, rtol=0)
    assert not torch.equal(mixed, single)


def test_weights_of_half_precision_say_nearly_the_same(noise: StoredPyramid) -> None:
    """As a bundle keeps them; what the arguments say is not among them."""
    network = untrained(5, groups=[1, 0, 1, 2, 1], shape_mm=np.random.default_rng(1).normal(0, 5, (5, 3)).tolist())
    again = untrained(5, groups=[1, 0, 1, 2, 1], shape_mm=np.random.default_rng(1).normal(0, 5, (5, 3)).tolist())
    state = network.state_dict()
    assert {name.split(".")[0] for name in state} == {"levels"}
    again.load_state_dict({name: value.half().float() for name, value in state.items()})
    with torch.inference_mode():
        one, other = (net([noise])[0][-1].points_lps_mm for net in (network, again))
    torch.testing.assert_close(other, one, atol=0.02, rtol=0)


def test_what_takes_the_place_of_a_level_is_looked_at(noise: StoredPyramid) -> None:
    network = untrained(1, levels=2)
    at = tensor(noise.centre_lps_mm + 2)[None, None]
    outputs, _ = network([noise], lambda level, points: (at, None, None))
    torch.testing.assert_close(outputs[1].centres_lps_mm, at)
    assert len(network([noise], None, 1)[0]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"crop_size": 9}, "a crop size that 2 divides"),
        ({"groups": [0, 2]}, "a group 0, 1, ... for each of 2"),
        ({"groups": [0]}, "a group 0, 1, ... for each of 2"),
        ({"shape_mm": [[0, 0, 0]] * 2}, "a shape of 2 >= 3 landmarks"),
    ],
)
def test_arguments_that_do_not_fit_are_told(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        untrained(2, **arguments)


def test_a_pyramid_that_is_no_volume_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Pyramid([LevelGrid((0.0, 0.0, 0.0), 1.0, (4, 4, 4))])  # type: ignore[abstract]
