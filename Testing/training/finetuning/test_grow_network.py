"""A network that grew says of the old landmarks what its parent said, whatever the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.landmarks.joint_shape import JointShape, build_joint_shape
from DenseLandmarksLib.landmarks.similarity import Similarity, turn_matrix
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.multi_scale import NETWORKS, MultiScaleLocNet
from Testing.models.small_heatmap_networks import SMALL, STEMS, small
from training.finetuning.grow_groups import grown_groups
from training.finetuning.grow_network import grown_weights, landmark_rows
from training.finetuning.grow_shape import grown_shape
from training.stored_pyramid import StoredPyramid

OLD = ("a", "b", "c")
# In front of, between and behind the old ones, as a template orders them.
NEW = ("x", "a", "y", "b", "c", "z")

pytestmark = pytest.mark.usefixtures("one_thread")


def arrays_of(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def scattered(network: nn.Module) -> nn.Module:
    """All weights at random, so that no head is silent and no bias zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return network


def grow(parent: nn.Module, network: nn.Module, rows: tuple[int, ...]) -> None:
    network.load_state_dict(grown_weights(arrays_of(parent), network.state_dict(), rows))


# ---- every network ----------------------------------------------------------------------------------------------------


def test_every_heatmap_network_is_tested() -> None:
    assert set(SMALL) == set(HEATMAP_NETWORKS)
    assert set(NETWORKS) == {"MultiScaleLocNet"}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", STEMS)
def test_a_grown_heatmap_network_says_the_same_of_the_old_landmarks(name: str, dimensions: int) -> None:
    parent = scattered(small(name, len(OLD), dimensions))
    torch.manual_seed(7)
    child = small(name, len(NEW), dimensions)
    assert isinstance(parent, HeatmapNetwork)
    rows = landmark_rows(OLD, NEW)
    fresh = {key: value.clone() for key, value in child.state_dict().items()}
    grow(parent, child, rows)
    images = torch.randn(2, 1, *(2 * parent.divisor,) * dimensions, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = parent(images), child(images)
    old = list(rows)
    assert before.heat.std() > 0.01
    torch.testing.assert_close(after.heat[:, old], before.heat, rtol=1e-4, atol=1e-5)
    for part, values in before.parts.items():
        torch.testing.assert_close(after.parts[part][:, old], values, rtol=1e-4, atol=1e-5)
    assert torch.equal(child.sigma[old], parent.sigma)
    new = [row for row in range(len(NEW)) if row not in rows]
    assert torch.equal(child.sigma[new], fresh["sigma"][new])
    heads = [key for key, value in fresh.items() if value.ndim > 1 and value.shape[0] == len(NEW)]
    assert heads
    for key in heads:  # so that a new landmark can be learned
        values = child.state_dict()[key]
        assert torch.equal(values[new], fresh[key][new])
        assert values[new].abs().max() > 0


def test_what_the_spatial_configuration_takes_from_a_new_landmark_is_learned_from_zero_on() -> None:
    parent = scattered(small("SpatialConfigurationNet", len(OLD)))
    child = small("SpatialConfigurationNet", len(NEW))
    grow(parent, child, landmark_rows(OLD, NEW))
    first = child.get_parameter("spatial.0.convolution.weight")
    new = [row for row, name in enumerate(NEW) if name not in OLD]
    assert (first[:, new] == 0).all()
    child(torch.randn(1, 1, 32, 32)).heat.square().sum().backward()
    assert first.grad is not None
    assert first.grad[:, new].abs().max() > 0


def test_a_joint_network_keeps_its_masks() -> None:
    parent = scattered(small("HeatRegNet", len(OLD), structures=2))
    child = small("HeatRegNet", len(NEW), structures=2)
    grow(parent, child, landmark_rows(OLD, NEW))
    images = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(child(images).mask_logits, parent(images).mask_logits, rtol=1e-4, atol=1e-5)


def pyramid() -> StoredPyramid:
    rng = np.random.default_rng(0)
    grids = [LevelGrid((0.0, 0.0, 0.0), 4.0, (16, 16, 16)), LevelGrid((0.0, 0.0, 0.0), 2.0, (32, 32, 32))]
    return StoredPyramid(grids, [rng.uniform(-1, 1, grid.size[::-1]).astype(np.float16) for grid in grids])


@pytest.mark.parametrize("groups", [((0, 1, 2), (0, 1, 2, 3, 4)), ((0, 1, 0), (0, 1, 0, 2, 3))])
@pytest.mark.parametrize("presence", [False, True])
def test_a_grown_multi_scale_network_says_the_same_of_the_old_landmarks(
    groups: tuple[tuple[int, ...], tuple[int, ...]], presence: bool
) -> None:
    """New ones have a crop of their own; in one that is shared the others would be seen from elsewhere."""

    def network(of: tuple[int, ...]) -> MultiScaleLocNet:
        return MultiScaleLocNet(len(of), (4.0, 2.0), 8, of, (4, 8), is_normalised=True, presence=presence)

    parent, child = scattered(network(groups[0])).eval(), network(groups[1]).eval()
    grow(parent, child, (0, 1, 2))
    with torch.inference_mode():
        before, said = parent([pyramid()])
        after, says = child([pyramid()])
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other.points_lps_mm[:, :3], one.points_lps_mm, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(says[:, :3], said, rtol=1e-4, atol=1e-5)


# ---- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: small("CompactHeatmapNet", 3, channels=(4, 8, 16)), "expected weights of the same network"),
        (lambda: small("LocalisationUNet", 3), "expected weights of the same network"),
        (lambda: small("CompactHeatmapNet", 4), "expected weights of the same network"),
    ],
)
def test_weights_of_another_network_are_told_in_one_line(wrong: Callable[[], nn.Module], says: str) -> None:
    child = small("CompactHeatmapNet", len(NEW))
    with pytest.raises(InputError, match=says) as told:
        grown_weights(arrays_of(wrong()), child.state_dict(), landmark_rows(OLD, NEW))
    assert "\n" not in str(told.value)


def test_a_landmark_that_is_gone_is_told() -> None:
    with pytest.raises(InputError, match="one without b"):
        landmark_rows(OLD, ("a", "c"))


# ---- crops and the joint shape ----------------------------------------------------------------------------------------


def test_a_new_landmark_has_a_crop_of_its_own_where_all_have() -> None:
    points = np.zeros((2, 4, 3))
    assert grown_groups((0, 1, 2), points, 50.0, 4) == (0, 1, 2, 3)


def test_a_new_landmark_joins_the_nearest_crop_that_it_fits_into() -> None:
    line = np.column_stack([[0.0, 4, 100, 104, 9, 95, 300], np.zeros(7), np.zeros(7)])[None]
    assert grown_groups((0, 0, 1, 1), line, 20.0, 3) == (0, 0, 1, 1, 0, 1, 2)
    assert grown_groups((0, 0, 1, 1), line, 20.0, 2) == (0, 0, 1, 1, 2, 3, 4)  # no room
    unseen = np.where(np.arange(7)[:, None] == 4, np.nan, line)
    assert grown_groups((0, 0, 1, 1), unseen, 20.0, 3)[4] == 2  # nobody knows how far away


def patients(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shapes (count, 5, 3), each in a pose and a size of its own, and their mean."""
    rng = np.random.default_rng(seed)
    mean = np.array([[30.0, 0, 0], [-30, 0, 0], [0, 40, 0], [0, 0, 25], [10, 10, 10]])
    shapes = [
        Similarity(
            float(rng.uniform(0.9, 1.1)), turn_matrix(rng.uniform(-0.3, 0.3, 3), 3), rng.uniform(-100, 100, 3)
        ).apply(mean + rng.normal(0, 0.5, mean.shape))
        for _ in range(count)
    ]
    return np.array(shapes), mean


@pytest.fixture(scope="module")
def shape() -> JointShape:
    return build_joint_shape(patients(20)[0][:, :4])


def test_a_grown_shape_keeps_the_old_and_has_the_new_one_where_it_was_placed(shape: JointShape) -> None:
    shapes, mean = patients(6, seed=1)
    grown = grown_shape(shape, shapes, (0, 1, 2, 3))
    np.testing.assert_allclose(grown.mean_mm.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(grown.mean_mm[:4] - grown.mean_mm[0], shape.mean_mm - shape.mean_mm[0], atol=1e-9)
    wanted = mean[4] - mean[:4].mean(axis=0)
    turned = grown.mean_mm[4] - grown.mean_mm[:4].mean(axis=0)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(wanted), rel=0.1)
    np.testing.assert_array_equal(grown.modes[:, 4], 0)
    np.testing.assert_array_equal(grown.modes[:, :4], shape.modes)
    np.testing.assert_array_equal(grown.residual_sd_mm[:4], shape.residual_sd_mm)


def test_one_case_says_where_a_new_landmark_lies_and_not_how_surely(shape: JointShape) -> None:
    shapes, _ = patients(40, seed=2)
    few, many = (grown_shape(shape, shapes[:count], (0, 1, 2, 3)) for count in (1, 40))
    assert few.residual_sd_mm[4] > 0.7 * shape.radius_mm
    assert many.residual_sd_mm[4] < 0.2 * shape.radius_mm
    lonely = shapes[:2].copy()
    lonely[:, 1:3] = np.nan  # two old ones are no pose
    with pytest.raises(InputError, match="one that is in none"):
        grown_shape(shape, lonely, (0, 1, 2, 3))


def test_the_order_of_landmarks_is_told_by_their_rows(shape: JointShape) -> None:
    shapes, _ = patients(6, seed=1)
    plain = grown_shape(shape, shapes, (0, 1, 2, 3))
    first = grown_shape(shape, shapes[:, [4, 0, 1, 2, 3]], (1, 2, 3, 4))
    np.testing.assert_allclose(first.mean_mm[[1, 2, 3, 4, 0]], plain.mean_mm, atol=1e-9)


def test_weights_that_the_parent_lacks_are_fresh() -> None:
    child = small("CompactHeatmapNet", 3)
    some = {name: value for name, value in arrays_of(child).items() if not name.startswith("heat_head")}
    grown = grown_weights(some, child.state_dict(), (0, 1, 2))
    fresh: dict[str, Tensor] = child.state_dict()
    assert all(torch.equal(grown[name], fresh[name]) for name in fresh)
