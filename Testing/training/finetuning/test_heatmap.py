"""A heatmap model of radiographs learns what people corrected in a library, and nothing that nobody decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.disc_finder import NAMES as DISCS
from Testing.models.disc_finder import patient, write_disc_finder, write_hand
from Testing.training.blob_radiographs import LANDMARKS, MEAN_PX, SPACING_MM, blob_image, write_blob_radiographs
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.kept_state import assert_same
from training.export import rewrite_bundle
from training.finetuning.decided_radiographs import read_decided_radiographs
from training.finetuning.heatmap import FinetuneHeatmapTask, finetune_task
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.fit import fit
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_task import HeatmapTask
from training.recipe import AugmentationRecipe, OptimiserRecipe
from training.trainer import Trainer

PARENT = HeatmapRecipe(
    "blobs",
    "A few epochs on eight pictures of blobs.",
    seed=3,
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1}),
    target=HeatmapTargetRecipe(grid=(64, 48)),
    augmentation=AugmentationRecipe(rotation_deg=4, shift=0.02, noise=0.05),
    optimiser=OptimiserRecipe(epochs=10, batch=2, learning_rate=2e-2, ema=0.8),
)
OPTIONS = FinetuneRecipe(steps=40, epochs=2, batch=4, learning_rate_share=0.5, ema=0.0, seed=5)
SPACING = (SPACING_MM, SPACING_MM)
# Where people want the nose: beside the blob that the model was taught.
NOSE_OFF_PX = np.array([5.0, 4.0])

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module")
def parent(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """As a run leaves it, and calibrated."""
    output = tmp_path_factory.mktemp("runs") / "parent"
    assert fit(PARENT, data, output)
    ellipses = {"weights": {"heat": 1.0, "passes": 1.0}, "floor_mm2": 0.5, "scales": {"head": 2.0}, "pooled_scale": 3.0}
    measured = {"cases": 8, "coverage": 0.9, "tre_mm": 1.0, "from_10_mm_share": 0.0}
    calibration = {
        "ellipses": {**ellipses, "level": 0.9, "measured": measured},
        "present_above": 0.02,
        "plausibility": {"limits": {"shape_residual_mm": 900.0}, "cases": 8, "above": 0},
    }
    rewrite_bundle(load_bundle(output / "bundle"), inference=calibration)
    return load_bundle(output / "bundle")


def points_px(seed: int) -> np.ndarray:
    """The landmarks (4, 2) of one more person, stored pixels."""
    rng = np.random.default_rng(100 + seed)
    return np.asarray(MEAN_PX + rng.uniform(-4, 4, 2) + rng.uniform(-2, 2, (4, 2)))


def write_image(folder: Path, seed: int) -> Path:
    path = folder / f"person-{seed}.png"
    Image.fromarray(blob_image(points_px(seed), seed)).save(path)
    return path


def lps(session: Session, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(lps_mm_from_pixels(session.state.geometry, np.atleast_2d(pixels))[0])


def correct_nose(seed: int) -> Callable[[Session], None]:
    return lambda session: session.move({"nose": lps(session, points_px(seed)[2] + NOSE_OFF_PX)})


def annotated(
    folder: Path, parent: Bundle, decide: Callable[[int], Callable[[Session], None]], count: int = 3
) -> Library:
    """A library of so many people, each decided as ``decide`` says."""
    annotator = Annotator.begin(folder, parent.folder)
    for seed in range(count):
        annotator.work_on(write_image(folder, seed), decide(seed), SPACING)
    return annotator.library


def task_of(
    library: Library, parent: Bundle, replay: Path | None = None, options: FinetuneRecipe = OPTIONS
) -> FinetuneHeatmapTask:
    recipe = finetuned(recipe_of(parent), options, "cpu")
    assert isinstance(recipe, HeatmapRecipe)
    decisions, lines = read_decisions(library)
    assert lines == ()
    return finetune_task(recipe, decisions, library, replay, parent, options, "cpu")


def trained(task: FinetuneHeatmapTask) -> Trainer:
    trainer = Trainer(task)
    for _ in range(task.optimiser.epochs):
        trainer.run_epoch()
    return trainer


@dataclass(frozen=True)
class Run:
    task: FinetuneHeatmapTask
    before: dict[str, float]
    trainer: Trainer
    bundle: Bundle


@pytest.fixture(scope="module")
def noses(parent: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The nose of three people was corrected; the bundle that came out."""
    folder = tmp_path_factory.mktemp("noses")
    task = task_of(annotated(folder, parent, correct_nose), parent)
    before = task.validate(task.new_network())
    trainer = trained(task)
    task.export(folder / "bundle", trainer.best_network, parent)
    return Run(task, before, trainer, load_bundle(folder / "bundle"))


def nose_error_px(bundle: Bundle, image: Path, seed: int) -> float:
    predictor = open_predictor(str(bundle.folder), "cpu")
    landmarks = predictor.predict(read_image(image, SPACING)).landmarks
    found = landmarks.points_lps_mm[landmarks.names.index("nose")]
    wanted = points_px(seed)[2] + NOSE_OFF_PX
    return float(np.linalg.norm(found[:2] / SPACING_MM - wanted))


# ---- corrections ------------------------------------------------------------------------------------------------------


def test_a_run_begins_with_its_parent(noses: Run, parent: Bundle) -> None:
    weights = noses.task.new_network().state_dict()
    assert weights.keys() == parent.weights.keys()
    for name, value in parent.weights.items():
        np.testing.assert_array_equal(weights[name].numpy(), value.astype(np.float32))


def test_the_error_at_corrected_landmarks_falls_also_in_somebody_else(
    noses: Run, parent: Bundle, tmp_path: Path
) -> None:
    assert noses.before["error_mm"] > 8
    assert noses.task.validate(noses.trainer.best_network)["error_mm"] < 0.5 * noses.before["error_mm"]
    image = write_image(tmp_path, 50)
    assert nose_error_px(noses.bundle, image, 50) < 0.6 * nose_error_px(parent, image, 50)


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
    noses: Run, parent: Bundle, tmp_path: Path, other: Callable[[Session], None]
) -> None:
    def decide(seed: int) -> Callable[[Session], None]:
        def both(session: Session) -> None:
            correct_nose(seed)(session)
            session.move({"chin": lps(session, np.array([3.0, 5.0]))})
            session.reset("chin")  # somebody tried, and took it back
            other(session)

        return both

    task = task_of(annotated(tmp_path, parent, decide), parent)
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


def test_weights_follow_the_review_and_absent_is_taught_as_absent(parent: Bundle, tmp_path: Path) -> None:
    def decide(_: int) -> Callable[[Session], None]:
        def some(session: Session) -> None:
            session.accept("nose")
            session.mark_absent("chin")
            session.move({"left_ear": lps(session, np.array([30.0, 15.0]))})

        return some

    task = task_of(annotated(tmp_path, parent, decide, 1), parent)
    batch = next(iter(task.batches(0)))
    rows = {name: LANDMARKS.index(name) for name in LANDMARKS}
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.weights[0], [1.0, 0.0, 0.5, 1.0])
    present = batch.present[0]
    assert present[rows["chin"]] == 0
    assert torch.isnan(present[rows["right_ear"]])
    assert present[rows["left_ear"]] == present[rows["nose"]] == 1
    without = task_of(Library.open(tmp_path / "library"), parent, None, replace(OPTIONS, verified_weight=0.0))
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


# ---- replay -----------------------------------------------------------------------------------------------------------


def test_original_cases_make_their_share_of_every_batch(noses: Run, parent: Bundle, data: Path, tmp_path: Path) -> None:
    library = annotated(tmp_path, parent, correct_nose)
    task = task_of(library, parent, data)
    assert (len(task.cases), task.mix.original, task.run.replayed) == (3 + 8, 8, "blobs")
    for batch in task.batches(0):
        # All four landmarks of the original ones are known, of the others the nose alone.
        known = torch.isfinite(batch.present).sum(dim=1).tolist()
        assert sum(count == 1 for count in known) == 2
        assert sum(count >= 3 for count in known) == 2
    run = trained(task)
    # What the first cases taught is still known, which without them is forgotten to some part.
    plain = HeatmapTask.read(PARENT, data, "cpu", None)
    others = [row for row, name in enumerate(LANDMARKS) if name != "nose"]

    def error_of_others(network: torch.nn.Module) -> float:
        network.eval()
        off = np.stack([plain.locate(network, image) for image in plain.cases.images]) - plain.cases.points
        return float(np.nanmean(np.linalg.norm(off[:, others], axis=2)))

    assert error_of_others(run.best_network) < error_of_others(noses.trainer.best_network)
    task.export(tmp_path / "bundle", run.best_network, parent)
    card = (tmp_path / "bundle" / "docs" / "README.md").read_text()
    assert "3 cases of the library `corrected`, 8 `train` cases of `blobs` replayed" in card


def test_data_of_something_else_cannot_be_replayed(parent: Bundle, phantom_folder: Path, tmp_path: Path) -> None:
    library = annotated(tmp_path, parent, correct_nose, 1)
    with pytest.raises(InputError, match="expected data of the model's landmarks to replay, phantoms has none"):
        task_of(library, parent, phantom_folder)


# ---- what comes out ---------------------------------------------------------------------------------------------------


def test_the_bundle_keeps_calibration_and_recipe_of_its_parent_and_says_so(noses: Run, parent: Bundle) -> None:
    bundle = noses.bundle
    assert bundle.inference == parent.inference
    assert bundle.metadata["calibration_of"] == "blobs 1.0.0"
    training = bundle.metadata["training"]
    assert training["recipe"]["optimiser"] == parent.metadata["training"]["recipe"]["optimiser"]
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


# ---- new landmarks ----------------------------------------------------------------------------------------------------


def define_brow(seed: int) -> Callable[[Session], None]:
    """Between the ears; the first defines it, the others place it where the look-up put it."""

    def decide(session: Session) -> None:
        there = lps(session, points_px(seed)[:2].mean(axis=0))
        new = session.landmarks_of_library()
        if new:
            session.look_up(*new)
            session.move({"brow": there})
        else:
            session.define_landmark("brow", there, "head")

    return decide


def test_a_landmark_that_people_defined_becomes_a_trained_one(parent: Bundle, tmp_path: Path) -> None:
    library = annotated(tmp_path, parent, define_brow)
    task = task_of(library, parent)
    assert task.new_landmarks == ("brow",)
    assert task.template.landmark_names == (*LANDMARKS, "brow")
    network = task.new_network()
    before = task.validate(network)["error_mm"]
    run = trained(task)
    assert task.validate(run.best_network)["error_mm"] < 0.5 * before
    task.export(tmp_path / "bundle", run.best_network, parent)
    predictor = open_predictor(str(tmp_path / "bundle"), "cpu")
    landmarks = predictor.predict(read_image(write_image(tmp_path, 60), SPACING)).landmarks
    assert landmarks.names == (*LANDMARKS, "brow")
    wanted = points_px(60)[:2].mean(axis=0)
    assert np.linalg.norm(landmarks.points_lps_mm[4, :2] / SPACING_MM - wanted) < 6
    assert np.isfinite(landmarks.covariance_mm2).all()
    # A second generation knows it already.
    again = task_of(library, load_bundle(tmp_path / "bundle"))
    assert again.new_landmarks == ()
    assert again.template.landmark_names == (*LANDMARKS, "brow")


def test_a_landmark_of_another_template_is_left_out_with_a_line(parent: Bundle, tmp_path: Path) -> None:
    library = annotated(tmp_path, parent, correct_nose, 1)
    library.add_new_landmark(NewLandmark("brow", "head", (0.0, 0.0), template_key="0123456789abcdef"))

    def place(session: Session) -> None:
        session.place("brow", lps(session, np.array([20.0, 20.0])), "head")
        session.place("mole", lps(session, np.array([25.0, 20.0])), "head")
        session.accept("chin")

    Annotator(library, parent.folder, tmp_path).work_on(write_image(tmp_path, 9), place, SPACING)
    task = task_of(library, parent)
    assert task.new_landmarks == ()
    one, other = task.lines
    assert one.startswith("'brow' was defined on another template of head: it is not learned")
    assert other.startswith("'mole' is not on the template, and nobody defined it in the library")


# ---- how a radiograph is seen -----------------------------------------------------------------------------------------


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


# ---- what cannot be ---------------------------------------------------------------------------------------------------


def test_a_case_without_its_image_or_anything_to_learn_is_left_out_with_a_line(parent: Bundle, tmp_path: Path) -> None:
    library = annotated(tmp_path, parent, correct_nose, 2)
    annotator = Annotator(library, parent.folder, tmp_path)
    # Found right as it was, which teaches nothing in this run.
    annotator.work_on(write_image(tmp_path, 7), lambda session: session.accept("left_ear"), SPACING)
    (tmp_path / "person-0.png").unlink()
    corrected_alone = replace(OPTIONS, verified_weight=0.0)
    task = task_of(library, parent, None, corrected_alone)
    assert len(task.cases) == 1
    gone, empty = task.lines
    assert "expected the image of case person-0" in gone
    assert "expected landmarks or structures of the model in case person-7, got none that were decided" in empty
    (tmp_path / "person-1.png").unlink()
    with pytest.raises(InputError, match="expected at least one case with decisions and its image"):
        task_of(library, parent, None, corrected_alone)


# ---- masks and mirrors ------------------------------------------------------------------------------------------------


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
