"""A heatmap model of radiographs learns what people corrected in a library, and nothing that nobody decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_radiographs import LANDMARKS
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.heatmap_cases import (
    OPTIONS,
    PARENT,
    SPACING,
    Run,
    annotated,
    correct_nose,
    lps,
    nose_error_px,
    task_of,
    trained,
    write_image,
)
from Testing.training.kept_state import assert_same
from training.finetuning.heatmap import FinetuneHeatmapTask, finetune_task
from training.heatmap_recipe import HeatmapLossRecipe
from training.heatmap_task import HeatmapTask
from training.rewrite_bundle import rewrite_bundle

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_begins_with_its_parent(noses: Run, heatmap_parent: Bundle) -> None:
    weights = noses.task.new_network().state_dict()
    assert weights.keys() == heatmap_parent.weights.keys()
    for name, value in heatmap_parent.weights.items():
        np.testing.assert_array_equal(weights[name].numpy(), value.astype(np.float32))


def test_the_error_at_corrected_landmarks_falls_also_in_somebody_else(
    noses: Run, heatmap_parent: Bundle, tmp_path: Path
) -> None:
    assert noses.before["error_mm"] > 8
    assert noses.task.validate(noses.trainer.best_network)["error_mm"] < 0.5 * noses.before["error_mm"]
    image = write_image(tmp_path, 50)
    assert nose_error_px(noses.bundle, image, 50) < 0.6 * nose_error_px(heatmap_parent, image, 50)


def test_the_same_seed_gives_the_same_weights(noses: Run) -> None:
    assert_same(trained(noses.task).network.state_dict(), noses.trainer.network.state_dict())


@pytest.mark.parametrize(
    "other",
    [
        lambda session: session.mark_unsure("chin"),
        lambda session: None,
    ],
)
def test_what_nobody_decided_changes_not_a_bit(
    noses: Run, heatmap_parent: Bundle, tmp_path: Path, other: Callable[[Session], None]
) -> None:
    def decide(seed: int) -> Callable[[Session], None]:
        def both(session: Session) -> None:
            correct_nose(seed)(session)
            session.move({"chin": lps(session, np.array([3.0, 5.0]))})
            session.reset("chin")  # somebody tried, and took it back
            other(session)

        return both

    task = task_of(annotated(tmp_path, heatmap_parent, decide), heatmap_parent)
    assert_same(trained(task).network.state_dict(), noses.trainer.network.state_dict())


def test_a_landmark_that_nobody_decided_costs_nothing(noses: Run) -> None:
    """Its heatmap may be anything."""
    network = noses.task.new_network()
    batch = next(iter(noses.task.batches(0)))
    noses.task.loss(network, batch, 0.0)[0].backward()
    head = network.get_parameter("heat_head.1.convolution.weight")
    assert head.grad is not None
    chin, nose = LANDMARKS.index("chin"), LANDMARKS.index("nose")
    assert (head.grad[chin] == 0).all()
    assert head.grad[nose].abs().max() > 0


def test_weights_follow_the_review_and_absent_is_taught_as_absent(heatmap_parent: Bundle, tmp_path: Path) -> None:
    def decide(_: int) -> Callable[[Session], None]:
        def some(session: Session) -> None:
            session.accept("nose")
            session.mark_absent("chin")
            session.move({"left_ear": lps(session, np.array([30.0, 15.0]))})

        return some

    task = task_of(annotated(tmp_path, heatmap_parent, decide, 1), heatmap_parent)
    batch = next(iter(task.batches(0)))
    rows = {name: LANDMARKS.index(name) for name in LANDMARKS}
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.weights[0], [1.0, 0.0, 0.5, 1.0])
    present = batch.present[0]
    assert present[rows["chin"]] == 0
    assert torch.isnan(present[rows["right_ear"]])
    assert present[rows["left_ear"]] == present[rows["nose"]] == 1
    without = task_of(Library.open(tmp_path / "library"), heatmap_parent, None, replace(OPTIONS, verified_weight=0.0))
    assert torch.isnan(next(iter(without.batches(0))).present[0, rows["nose"]])


def test_a_weight_says_how_much_of_the_gradient_there_is(noses: Run) -> None:
    network = noses.task.new_network().eval()
    batch = next(iter(noses.task.batches(0)))
    assert batch.weights is not None
    for kind in ("distribution", "heat_reg", "sum"):
        task = noses.task
        recipe = replace(task.recipe, loss=replace(task.recipe.loss, kind=kind))
        one = FinetuneHeatmapTask(recipe, task.data, task.template, task.cases, task.run)
        whole, half = (one.loss(network, replace(batch, weights=w * batch.weights), 0.0)[0] for w in (1.0, 0.5))
        torch.testing.assert_close(half, whole / 2)


def test_original_cases_make_their_share_of_every_batch(
    noses: Run, heatmap_parent: Bundle, blob_radiographs: Path, tmp_path: Path
) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose)
    task = task_of(library, heatmap_parent, blob_radiographs)
    assert (len(task.cases), task.mix.original, task.run.replayed) == (3 + 8, 8, "blobs")
    for batch in task.batches(0):
        # All four landmarks of the original ones are known, of the others the nose alone.
        known = torch.isfinite(batch.present).sum(dim=1).tolist()
        assert sum(count == 1 for count in known) == 2
        assert sum(count >= 3 for count in known) == 2
    run = trained(task)
    # What the first cases taught is still known, which without them is forgotten to some part.
    plain = HeatmapTask.read(PARENT, blob_radiographs, "cpu", None)
    others = [row for row, name in enumerate(LANDMARKS) if name != "nose"]

    def error_of_others(network: torch.nn.Module) -> float:
        network.eval()
        off = np.stack([plain.locate(network, image) for image in plain.cases.images]) - plain.cases.points
        return float(np.nanmean(np.linalg.norm(off[:, others], axis=2)))

    assert error_of_others(run.best_network) < error_of_others(noses.trainer.best_network)
    task.export(tmp_path / "bundle", run.best_network, heatmap_parent)
    card = (tmp_path / "bundle" / "docs" / "README.md").read_text()
    assert "3 cases of the library `corrected`, 8 `train` cases of `blobs` replayed" in card


def test_data_of_something_else_cannot_be_replayed(
    heatmap_parent: Bundle, phantom_folder: Path, tmp_path: Path
) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose, 1)
    with pytest.raises(InputError, match="expected data of the model's landmarks to replay, phantoms has none"):
        task_of(library, heatmap_parent, phantom_folder)


def test_the_bundle_keeps_calibration_and_recipe_of_its_parent_and_says_so(noses: Run, heatmap_parent: Bundle) -> None:
    bundle = noses.bundle
    assert bundle.inference == heatmap_parent.inference
    assert bundle.metadata["calibration_of"] == "blobs 1.0.0"
    training = bundle.metadata["training"]
    assert training["recipe"]["optimiser"] == heatmap_parent.metadata["training"]["recipe"]["optimiser"]
    assert (training["data"], training["cases"], training["started_from"]) == ("corrected", 3, "blobs 1.0.0")
    assert training["finetuned"] == {"steps": 40, "replayed": None, "replayed_cases": 0}
    card = (bundle.folder / "docs" / "README.md").read_text()
    assert "Finetuned on what people decided in 3 cases of the library `corrected`; network CompactHeatmapNet" in card
    assert "40 steps, begun with the weights of blobs 1.0.0" in card
    assert "was calibrated for blobs 1.0.0" in card
    predictor = open_predictor(str(bundle.folder), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.ellipses is not None
    assert predictor.reading.present_above == 0.02
    rewrite_bundle(load_bundle(bundle.folder), inference={"present_above": 0.03})  # as a calibration of its own does
    assert "was calibrated for" not in (bundle.folder / "docs" / "README.md").read_text()


def test_a_case_without_its_image_or_anything_to_learn_is_left_out_with_a_line(
    heatmap_parent: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose, 2)
    annotator = Annotator(library, heatmap_parent.folder, tmp_path)
    # Found right as it was, which teaches nothing in this run.
    annotator.work_on(write_image(tmp_path, 7), lambda session: session.accept("left_ear"), SPACING)
    (tmp_path / "person-0.png").unlink()
    corrected_alone = replace(OPTIONS, verified_weight=0.0)
    task = task_of(library, heatmap_parent, None, corrected_alone)
    assert len(task.cases) == 1
    gone, empty = task.run.lines
    assert "expected the image of case person-0" in gone
    assert "expected landmarks or structures of the model in case person-7, got none that were decided" in empty
    (tmp_path / "person-1.png").unlink()
    with pytest.raises(InputError, match="expected at least one case with decisions and its image"):
        task_of(library, heatmap_parent, None, corrected_alone)


def test_a_case_of_absences_alone_is_left_out_with_a_line_unless_absence_is_taught(
    heatmap_parent: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose, 1)
    annotator = Annotator(library, heatmap_parent.folder, tmp_path)
    annotator.work_on(write_image(tmp_path, 7), lambda session: session.mark_absent("chin", "left_ear"), SPACING)
    task = task_of(library, heatmap_parent)
    assert task.cases.names == ("person-0",)
    (line,) = task.run.lines
    assert line.startswith(
        "expected a landmark that is there or a structure in case person-7, got only absent landmarks"
    )
    assert line.endswith("It is left out.")
    loss = replace(task.recipe.loss, absent_weight=0.1)
    decisions, _ = read_decisions(library)
    taught = finetune_task(replace(task.recipe, loss=loss), decisions, library, None, heatmap_parent, OPTIONS, "cpu")
    assert (taught.cases.names, taught.run.lines) == (("person-0", "person-7"), ())
    of_absences = taught.draw_batch(torch.tensor([1]), torch.Generator().manual_seed(0))
    network = taught.new_network()
    taught.loss(network, of_absences, 0.0)[0].backward()
    assert any(value.grad is not None and value.grad.any() for value in network.parameters())


@pytest.mark.parametrize("kind", ["sum", "heat_reg"])
def test_heights_are_always_taught_absence(kind: Literal["sum", "heat_reg"]) -> None:
    assert HeatmapLossRecipe(kind).teaches_absence
    assert not HeatmapLossRecipe("distribution").teaches_absence
    assert HeatmapLossRecipe("distribution", absent_weight=0.1).teaches_absence
