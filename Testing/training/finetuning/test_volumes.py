"""Models of volumes learn what people corrected in a library, and nothing that nobody decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.predictors.volume_predictor import VolumePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.volume_cases import (
    CHIN,
    OFF_MM,
    OPTIONS,
    SHORT,
    Run,
    annotated,
    correct_chin,
    person,
    predicted,
    task_of,
    trained,
    write_image,
)
from Testing.training.kept_state import assert_same
from training.finetuning.recipe import FinetuneRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def weights_of(library: Library, volume_parent: Bundle, options: FinetuneRecipe = SHORT) -> dict[str, Any]:
    return dict(trained(task_of(library, volume_parent, None, options)).network.state_dict())


def test_a_run_begins_with_its_parent(chins: Run, volume_parent: Bundle) -> None:
    weights = chins.task.new_network().state_dict()
    assert weights.keys() == volume_parent.weights.keys()
    for name, value in volume_parent.weights.items():
        np.testing.assert_array_equal(weights[name].numpy(), value.astype(np.float32))


def test_the_error_at_corrected_landmarks_falls_also_in_somebody_else(chins: Run, volume_parent: Bundle) -> None:
    assert chins.before["error_mm"] > 4
    assert chins.task.validate(chins.trainer.best_network)["error_mm"] < 0.6 * chins.before["error_mm"]
    wanted = person(50)[0][CHIN] + OFF_MM
    off = [np.linalg.norm(predicted(model, 50).points_lps_mm[CHIN] - wanted) for model in (volume_parent, chins.bundle)]
    assert off[1] < 0.8 * off[0]


def test_the_same_seed_gives_the_same_weights(chins: Run, volume_parent: Bundle) -> None:
    one = weights_of(chins.library, volume_parent)
    torch.manual_seed(99)
    assert_same(weights_of(chins.library, volume_parent), one)
    other = weights_of(chins.library, volume_parent, replace(SHORT, seed=6))
    assert any(not torch.equal(other[name], one[name]) for name in one)


def test_what_nobody_decided_changes_not_a_bit(chins: Run, volume_parent: Bundle, tmp_path: Path) -> None:
    def decide(seed: int) -> Callable[[Session], None]:
        def both(session: Session) -> None:
            correct_chin(seed)(session)
            session.mark_unsure("crown")

        return both

    assert_same(
        weights_of(annotated(tmp_path, volume_parent, decide), volume_parent), weights_of(chins.library, volume_parent)
    )


def test_weights_follow_the_review_and_absent_is_taught_as_absent(volume_parent: Bundle, tmp_path: Path) -> None:
    def decide(_: int) -> Callable[[Session], None]:
        def some(session: Session) -> None:
            session.accept("left_ear")
            session.mark_absent("chin")

        return some

    task = task_of(annotated(tmp_path, volume_parent, decide, 1), volume_parent)
    batch = next(iter(task.batches(0)))
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.weights[0], [0.5, 0, 1, 0])
    known = batch.present[0]
    np.testing.assert_array_equal(known[[0, 2]], [1, 0])
    assert torch.isnan(known[[1, 3]]).all()
    network = task.new_network()
    whole = task.loss(network, batch, 0.0)[0]
    again = next(iter(task.batches(0)))
    seen = tuple(replace(case, weights=None if case.weights is None else 2 * case.weights) for case in again.seen)
    torch.testing.assert_close(task.loss(network, replace(again, seen=seen), 0.0)[0], 2 * whole)


def test_original_cases_make_their_share_of_every_batch(
    volume_parent: Bundle, blob_volumes: Path, tmp_path: Path
) -> None:
    task = task_of(annotated(tmp_path, volume_parent, correct_chin, 2), volume_parent, blob_volumes)
    assert (len(task.cases), task.mix.original, task.run.replayed) == (2 + 5, 5, "blobs")
    for batch in task.batches(0):
        known = torch.isfinite(batch.present).sum(dim=1).tolist()
        assert (known[0], known[1] >= 3) == (1, True)


def test_the_bundle_keeps_calibration_shape_and_recipe_of_its_parent(chins: Run, volume_parent: Bundle) -> None:
    bundle = chins.bundle
    assert bundle.inference == volume_parent.inference
    assert bundle.joint_shape == volume_parent.joint_shape
    assert bundle.metadata["calibration_of"] == "blobs 1.0.0"
    training = bundle.metadata["training"]
    assert training["recipe"]["optimiser"] == volume_parent.metadata["training"]["recipe"]["optimiser"]
    card = (bundle.folder / "docs" / "README.md").read_text()
    assert "Finetuned on what people decided in 3 cases of the library `corrected`" in card
    assert "20 steps" in card
    assert "was calibrated for blobs 1.0.0" in card
    predictor = open_predictor(str(bundle.folder), "cpu")
    assert isinstance(predictor, VolumePredictor)
    assert predictor.ellipsoids is not None
    assert predictor.presence is not None
    assert predictor.uses_shape


def test_a_case_without_its_image_or_anything_to_learn_is_left_out_with_a_line(
    multi_scale: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, multi_scale, correct_chin, 2)
    annotator = Annotator(library, multi_scale.folder, tmp_path)
    # Found right as it was, which teaches nothing in this run.
    annotator.work_on(write_image(tmp_path, 7), lambda session: session.accept("left_ear"))
    (tmp_path / "person-0.nrrd").unlink()
    corrected_alone = replace(OPTIONS, verified_weight=0.0)
    task = task_of(library, multi_scale, None, corrected_alone)
    assert len(task.cases) == 1
    gone, empty = task.run.lines
    assert "expected the image of case person-0" in gone
    assert "expected landmarks or structures of the model in case person-7, got none that were decided" in empty
    (tmp_path / "person-1.nrrd").unlink()
    with pytest.raises(InputError, match="expected at least one case with decisions and its image"):
        task_of(library, multi_scale, None, corrected_alone)
