"""Sides, mirrors and masks: a heatmap model learns a radiograph as it looks at it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import load_bundle
from Testing.models.disc_finder import NAMES as DISCS
from Testing.models.disc_finder import patient, write_disc_finder, write_hand
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.heatmap_cases import (
    OPTIONS,
    Run,
    lps,
    task_of,
)
from training.finetuning.decided_radiographs import read_decided_radiographs
from training.finetuning.heatmap import FinetuneHeatmapTask
from training.fit import fit
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.run_recipe import AugmentationRecipe, OptimiserRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_right_hand_teaches_a_model_of_left_ones_in_the_mirror(tmp_path: Path) -> None:
    """Whether the model looked at it, or a person placed the points before any model did."""
    hands = load_bundle(write_disc_finder(tmp_path / "finder", either_side=True))
    library = Library.create(tmp_path / "library", "hands")
    annotator = Annotator(library, hands.folder, tmp_path)
    true_px = patient(2) / 0.5 - 0.5
    mirrored_px = np.column_stack([239 - true_px[:, 0], true_px[:, 1]])

    def place_all(session: Session) -> None:
        for name, at in zip(DISCS, mirrored_px, strict=True):
            session.place(name, lps(session, at), "hand")

    annotator.work_on(write_hand(tmp_path / "seen.nrrd", 1, is_mirrored=True), lambda s: s.accept_remaining())
    annotator.work_on(write_hand(tmp_path / "blind.nrrd", 2, is_mirrored=True), place_all, is_predicted=False)
    # One landmark alone shows no side: there the view counts that the model chose.
    annotator.work_on(write_hand(tmp_path / "sole.nrrd", 3, is_mirrored=True), lambda session: session.accept("thumb"))
    decisions, _ = read_decisions(library)
    read = read_decided_radiographs(
        decisions, library, hands.need_template(), hands.grid_size, hands.expectation, OPTIONS.weight, either_side=True
    )
    assert read.cases.names == ("blind", "seen", "sole")
    for points, seed in zip(read.cases.points, (2, 1, 3), strict=True):
        # A grid pixel is 160 mm / 128; the shape is not mirrored: the thumb is left of the little finger.
        known = np.isfinite(points).all(axis=1)
        np.testing.assert_allclose((points[known] + 0.5) * 1.25, patient(seed)[known], atol=1.5)
    assert known.sum() == 1
    left = write_hand(tmp_path / "left.nrrd", 2)
    seen = fit_grid(read_image(left), hands.grid_size).resample(read_image(left).pixels_yx)
    np.testing.assert_allclose(read.cases.images[0], seen, atol=0.01)


def test_weights_and_absence_change_sides_with_their_landmarks(noses: Run) -> None:
    task = noses.task
    still = AugmentationRecipe(rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, contrast=0, brightness=0)
    mirrored = replace(task.recipe, augmentation=replace(still, mirror=1.0))
    weights = torch.tensor([[0.25, 1.0, 0.5, 0.75]]).expand(3, -1)
    absent = torch.tensor([[False, True, False, False]]).expand(3, -1)
    data = replace(task.data, weights=weights, absent=absent)
    seen = FinetuneHeatmapTask(mirrored, data, task.template, task.cases, task.run)
    batch = seen.draw_batch(torch.arange(3), torch.Generator().manual_seed(0))
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.weights[0], [1.0, 0.25, 0.5, 0.75])
    assert (batch.present[:, 0] == 0).all()
    assert torch.isnan(batch.present[:, 1]).all()


def test_a_joint_model_learns_the_masks_that_people_decided_and_no_others(phantom_folder: Path, tmp_path: Path) -> None:
    recipe = HeatmapRecipe(
        "joint",
        network=HeatmapNetworkRecipe("HeatRegNet", {"channels": [4, 8]}),
        target=HeatmapTargetRecipe((32, 32), landmarks_share=0.25, contours=True),
        loss=HeatmapLossRecipe("heat_reg", sigma=2.0, mask_weight=0.4),
        augmentation=AugmentationRecipe(
            rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, contrast=0, brightness=0
        ),
        optimiser=OptimiserRecipe("adam", "cosine", 1, batch=4, ema=0.0),
    )
    assert fit(recipe, phantom_folder, tmp_path / "run")
    joint = load_bundle(tmp_path / "run" / "bundle")
    painted = np.zeros((1, 96, 96), bool)
    painted[0, 24:60, 30:72] = True

    def paint(session: Session) -> None:
        session.paint("heart", painted)

    annotator = Annotator.begin(tmp_path, joint.folder)
    annotator.work_on(phantom_folder / "images" / "case00.png", paint, (3.0, 3.0))
    task = task_of(annotator.library, joint)
    heart = task.structures.index("heart")
    np.testing.assert_array_equal(task.data.annotated[0].bool().numpy(), np.arange(len(task.structures)) == heart)
    mask = task.data.masks[0, heart].numpy()
    assert mask[8:20, 10:24].all()
    assert mask.sum() == 12 * 14
    network = task.new_network()
    batch = task.draw_batch(torch.arange(1), torch.Generator().manual_seed(0))
    loss, _ = task.loss(network, batch, 0.0)
    loss.backward()
    head = network.get_parameter("mask_head.2.weight")
    assert head.grad is not None
    moved = head.grad.abs().amax(dim=(1, 2, 3)) > 0
    np.testing.assert_array_equal(moved.numpy(), np.arange(len(task.structures)) == heart)
