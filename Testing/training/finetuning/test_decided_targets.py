"""What is decided of a structure teaches what it says and no more: points, whole contours, masks, absence, weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from training.dense_shape_recipe import LossRecipe, TargetRecipe
from training.grid_cases import GridCases, read_grid_cases
from training.losses import dense_loss, landmark_loss, total_loss
from training.targets import make_targets, make_template

GRID = (64, 64)
RECIPE = TargetRecipe(grid=GRID)


@pytest.fixture(scope="module")
def cases(phantom_folder: Path) -> GridCases:
    """Eight cases as if people had decided all of them, the third without a heart's landmarks."""
    read = read_grid_cases(phantom_folder, GRID).of_split("train")
    known = np.isfinite(read.points).all(axis=2)
    none = tuple({} for _ in read.names)  # type: ignore[var-annotated]
    return replace(
        read, weights=known.astype(np.float32), absent=np.zeros(known.shape, bool), masks=none, mask_weights=none
    )


def rows_of(cases: GridCases, structure: str) -> np.ndarray:
    return np.flatnonzero(np.asarray(cases.landmark_structures) == structure)


def test_a_contour_that_is_decided_in_part_teaches_its_points_alone(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    heart, s = rows_of(cases, "heart"), template.structure_names.index("heart")
    points, weights = cases.points.copy(), cases.weights.copy()  # type: ignore[union-attr]
    points[0, heart[1:]], weights[0, heart[1:]] = np.nan, 0
    targets = make_targets(replace(cases, points=points, weights=weights), template, RECIPE)
    assert targets.mask_weights[0, s] == targets.uv_weights[0, s] == 0
    assert np.isfinite(targets.points[0, s]).all(axis=1).sum() == 1
    whole = [i for i in range(len(cases)) if i != 0 and np.isfinite(points[i, heart]).all()]
    assert (targets.mask_weights[whole, s] == 1).all()


def test_what_a_whole_contour_teaches_is_what_its_points_do(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    heart, s = rows_of(cases, "heart"), template.structure_names.index("heart")
    weights = cases.weights.copy()  # type: ignore[union-attr]
    weights[0, heart[::2]] = 0.5
    targets = make_targets(replace(cases, weights=weights), template, RECIPE)
    assert targets.uv_weights[0, s] == pytest.approx(weights[0, heart].mean())
    np.testing.assert_array_equal(targets.point_weights[0, s, : len(heart)], weights[0, heart])


def test_a_decided_mask_stands_before_the_contours_and_teaches_no_coordinate(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    s = template.structure_names.index("heart")
    lost = next(i for i in range(len(cases)) if np.isnan(cases.points[i, rows_of(cases, "heart")]).any())
    painted = np.zeros(GRID, bool)
    painted[10:20, 30:50] = True
    masks = tuple({"heart": painted} if i in (lost, 0) else {} for i in range(len(cases)))
    of_masks = tuple(dict.fromkeys(one, 0.5) for one in masks)
    targets = make_targets(replace(cases, masks=masks, mask_weights=of_masks), template, RECIPE)
    for i in (lost, 0):
        np.testing.assert_array_equal(targets.masks[i, s], painted)
        assert targets.mask_weights[i, s] == 0.5
    assert targets.uv_weights[lost, s] == 0
    assert targets.uv_weights[0, s] == 1


def test_a_structure_that_is_absent_has_no_pixels_and_that_is_known(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    heart, s = rows_of(cases, "heart"), template.structure_names.index("heart")
    points, absent = cases.points.copy(), cases.absent.copy()  # type: ignore[union-attr]
    points[0, heart], absent[0, heart] = np.nan, True
    points[1, heart[0]], absent[1, heart[0]] = np.nan, True  # only one of its landmarks
    targets = make_targets(replace(cases, points=points, absent=absent), template, RECIPE)
    assert targets.mask_weights[0, s] == 1
    assert not targets.masks[0, s].any()
    assert targets.uv_weights[0, s] == 0
    assert targets.mask_weights[1, s] == 0


def test_a_contour_that_covers_no_pixel_teaches_where_its_points_are_and_no_mask(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    heart, s = rows_of(cases, "heart"), template.structure_names.index("heart")
    points = cases.points.copy()
    points[0, heart] = (20.3, 20.3)
    targets = make_targets(replace(cases, points=points), template, RECIPE)
    assert targets.mask_weights[0, s] == targets.uv_weights[0, s] == 0
    assert np.isfinite(targets.points[0, s, : len(heart)]).all()


def test_a_landmark_that_was_added_inside_does_not_bend_the_contour(cases: GridCases) -> None:
    template = make_template(cases, RECIPE)
    grown = template.with_landmark("heart", "valve", (0.1, 0.2))
    s = template.structure_names.index("heart")
    names, structures = list(cases.landmark_names), list(cases.landmark_structures)
    at = names.index(template.structure("heart").landmark_names[-1]) + 1
    names.insert(at, "valve")
    structures.insert(at, "heart")
    points = np.insert(cases.points, at, np.nan, axis=1)
    points[0, at] = (31.0, 33.0)
    with_valve = replace(
        cases,
        points=points,
        weights=np.insert(cases.weights, at, 1, axis=1),  # type: ignore[arg-type]
        absent=np.insert(cases.absent, at, False, axis=1),  # type: ignore[arg-type]
        landmark_names=tuple(names),
        landmark_structures=tuple(structures),
    )
    before, after = make_targets(cases, template, RECIPE), make_targets(with_valve, grown, RECIPE)
    np.testing.assert_array_equal(after.masks, before.masks)
    np.testing.assert_array_equal(after.uv, before.uv)
    np.testing.assert_array_equal(after.mask_weights, before.mask_weights)
    column = len(template.structure("heart").landmark_names)
    np.testing.assert_allclose(after.points[0, s, column], (31, 33))
    assert np.isnan(after.points[1, s, column]).all()
    np.testing.assert_allclose(after.landmark_uv[s, column], (0.1, 0.2))
    contour = cases.points[0, rows_of(cases, "heart")]
    np.testing.assert_array_equal(after.masks[0, s], polygon_mask(contour, GRID))


def output_of(uv: torch.Tensor) -> DenseShapeOutput:
    return DenseShapeOutput(torch.zeros(*uv.shape[:2], *uv.shape[3:]), uv, None, None)


def test_what_weighs_half_teaches_half() -> None:
    uv = torch.zeros(1, 1, 2, 8, 8)
    points = torch.tensor([[[[2.0, 2.0], [5.0, 5.0]]]])
    target = torch.tensor([[[1.0, 1.0], [3.0, 3.0]]])

    def loss(*weights: float) -> float:
        return float(landmark_loss(output_of(uv), points, target, 1, 1.0, torch.tensor([[list(weights)]])))

    assert loss(1, 1) == pytest.approx(2)
    assert loss(0.5, 0.5) == pytest.approx(1)
    assert loss(1, 0.5) == pytest.approx((1 + 1.5) / 2)
    assert loss(1, 1) == float(landmark_loss(output_of(uv), points, target, 1, 1.0))
    masks, maps = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 2, 8, 8)
    whole = dense_loss(output_of(uv), maps, masks, 1.0)
    assert float(dense_loss(output_of(uv), maps, masks, 1.0, torch.tensor([[0.5]]))) == pytest.approx(float(whole) / 2)


def test_a_mask_that_is_known_without_its_contour_moves_no_coordinate() -> None:
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    uv = torch.zeros(1, 1, 2, 8, 8, requires_grad=True)
    output = DenseShapeOutput(logits, uv, None, None)
    none = torch.full((1, 1, 1, 2), torch.nan)
    loss, _ = total_loss(
        output,
        torch.ones(1, 1, 8, 8),
        torch.ones(1, 1, 2, 8, 8),
        none,
        torch.zeros(1, 1, 2),
        torch.zeros(1, 1),
        torch.zeros(1, dtype=torch.long),
        torch.ones(1),
        LossRecipe(likelihood="l1"),
        torch.ones(1, 1),
        torch.ones(1, 1, 1),
    )
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    assert uv.grad is not None
    assert uv.grad.abs().sum() == 0
