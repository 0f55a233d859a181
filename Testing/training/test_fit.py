"""A training run: what it wrote opens, what was stopped goes on as if it never had been, and no test case leaks in."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training.dense_shape_task
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.kept_state import assert_same, damaged_copies, rows_of, state_of
from training.__main__ import main
from training.data import read_dataset
from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe, TargetRecipe
from training.dense_shape_task import DenseShapeTask, TrainingSet, with_phantoms
from training.fit import fit
from training.grid_cases import GridCases, load_grid_cases, read_grid_cases, save_grid_cases
from training.recipe import read_recipe, recipe_from_dict, recipe_to_dict
from training.run_origin import check_did_not_see
from training.run_recipe import AugmentationRecipe, OptimiserRecipe
from training.targets import landmark_rows, make_targets, make_template
from training.validate import validate

GRID = (64, 64)
RECIPES = Path(__file__).parents[2] / "training" / "recipes"
TINY = DenseShapeRecipe(
    "tiny",
    "Four epochs on eight phantoms.",
    seed=3,
    network=NetworkRecipe(channels=(8, 16)),
    target=TargetRecipe(grid=GRID),
    augmentation=AugmentationRecipe(elastic=0.01, gamma=0.2, noise=0.1, blur=0.3),
    optimiser=OptimiserRecipe(epochs=4, batch=4),
)
TINY_TOML = """
seed = 3
[network]
channels = [8, 16]
[target]
grid = [64, 64]
[optimiser]
epochs = 4
batch = 4
"""


@pytest.fixture(scope="module")
def cases(phantom_folder: Path) -> GridCases:
    return read_grid_cases(phantom_folder, GRID)


@pytest.fixture(scope="module")
def finished(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of the tiny recipe."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert fit(TINY, phantom_folder, output)
    return output


# ---- stopping and going on ------------------------------------------------------------------------------------------


def test_two_epochs_and_two_resumed_are_four(phantom_folder: Path, finished: Path, tmp_path: Path) -> None:
    assert not fit(TINY, phantom_folder, tmp_path, stop_after_epoch=2)
    assert state_of(tmp_path)["epoch"] == 2
    assert not (tmp_path / "bundle").exists()
    torch.manual_seed(99)  # whatever else has drawn random numbers in between
    assert fit(TINY, phantom_folder, tmp_path, resume=True)
    assert_same(state_of(tmp_path), state_of(finished))
    one, other = load_bundle(tmp_path / "bundle").weights, load_bundle(finished / "bundle").weights
    for name, weight in one.items():
        np.testing.assert_array_equal(weight, other[name])
    assert [row["epoch"] for row in rows_of(tmp_path / "training.csv")] == [0, 1, 2, 3]
    assert [row["loss"] for row in rows_of(tmp_path / "training.csv")] == [
        row["loss"] for row in rows_of(finished / "training.csv")
    ]


def test_time_that_runs_out_is_told_by_the_exit_status_and_loses_nothing(phantom_folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_TOML)
    command = ["fit", str(recipe), "--data", str(phantom_folder), "--output", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--max-minutes", "0"]) == 3
    assert state_of(tmp_path / "run")["epoch"] == 1
    assert main([*command, "--max-minutes", "0", "--resume"]) == 3
    assert state_of(tmp_path / "run")["epoch"] == 2
    assert main([*command, "--resume"]) == 0
    assert load_bundle(tmp_path / "run" / "bundle").name == "tiny"


def test_another_recipe_cannot_go_on_with_a_run(phantom_folder: Path, finished: Path) -> None:
    other = replace(TINY, optimiser=replace(TINY.optimiser, learning_rate=1e-3))
    before = (finished / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"expected to resume the recipe.*differs"):
        fit(other, phantom_folder, finished, resume=True)
    with pytest.raises(InputError, match=r"already holds a run.*--resume"):
        fit(TINY, phantom_folder, finished)
    assert (finished / "checkpoint.pt").read_bytes() == before


# ---- what a run leaves ----------------------------------------------------------------------------------------------


def test_the_loss_falls(finished: Path) -> None:
    loss = [row["loss"] for row in rows_of(finished / "training.csv")]
    assert loss[-1] < 0.9 * loss[0]


def test_a_run_leaves_curves_a_recipe_and_a_bundle_that_predicts(finished: Path, phantom_folder: Path) -> None:
    assert list((finished / "tensorboard").glob("events.*"))
    assert recipe_from_dict(json.loads((finished / "recipe.json").read_text())) == TINY
    predictor = open_predictor(str(finished / "bundle"), "cpu")
    case = read_dataset(phantom_folder).of_split("test").cases[0]
    prediction = predictor.predict(read_image(case.image_path, case.spacing_mm))
    assert prediction.landmarks.names == predictor.template.landmark_names
    assert np.isfinite(prediction.landmarks.points_lps_mm).all()
    metadata = load_bundle(finished / "bundle").metadata
    assert metadata["training"]["data"] == "phantoms"
    assert metadata["training"]["cases"] == 8
    card = (finished / "bundle" / "docs" / "README.md").read_text()
    assert "Research use only" in card
    assert "8 `train` cases of `phantoms`" in card


def test_the_bundle_holds_the_running_mean_of_the_weights(finished: Path) -> None:
    state, weights = state_of(finished), load_bundle(finished / "bundle").weights
    name = next(iter(weights))
    np.testing.assert_allclose(weights[name], state["average"][f"module.{name}"].numpy(), rtol=1e-3, atol=1e-6)
    assert not np.allclose(weights[name], state["network"][name].numpy(), rtol=1e-3, atol=1e-6)


# ---- who is trained on ----------------------------------------------------------------------------------------------


def test_a_run_that_starts_from_a_model_begins_with_what_it_knew(
    finished: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    parent = load_bundle(finished / "bundle")
    still = replace(TINY.optimiser, epochs=1, learning_rate=1e-9)
    recipe = replace(
        TINY,
        version="1.1.0",
        optimiser=still,
        network=replace(TINY.network, views=True),
        augmentation=replace(TINY.augmentation, turned=0.2),
    )
    assert fit(recipe, phantom_folder, tmp_path / "run", start_from=finished / "bundle")
    child = load_bundle(tmp_path / "run" / "bundle")
    for name, weights in parent.weights.items():
        np.testing.assert_allclose(child.weights[name], weights, atol=1e-3)
    assert set(child.weights) - set(parent.weights) == {"view_head.2.weight", "view_head.2.bias"}
    assert child.template.to_json() == parent.template.to_json()
    assert child.version == "1.1.0"
    assert child.metadata["training"]["started_from"] == "tiny 1.0.0"
    assert parent.metadata["training"]["started_from"] is None


def test_a_fold_is_measured_by_no_model_that_began_with_one_that_saw_it(
    finished: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    recipe = replace(TINY, validation_fold=1)
    with pytest.raises(InputError, match=r"did not see fold 1 of 5 of .*, got tiny 1.0.0, which learned from it"):
        fit(recipe, phantom_folder, tmp_path / "run", start_from=finished / "bundle")
    assert not (tmp_path / "run").exists()
    parent = load_bundle(finished / "bundle")
    check_did_not_see(parent, TINY, parent.metadata["training"]["data"])
    check_did_not_see(parent, recipe, "other data")
    parent.metadata["training"]["recipe"]["validation_fold"] = 1
    check_did_not_see(parent, recipe, parent.metadata["training"]["data"])


def test_a_model_of_another_network_is_no_start(finished: Path, phantom_folder: Path, tmp_path: Path) -> None:
    wider = replace(TINY, network=NetworkRecipe(channels=(12, 16)))
    with pytest.raises(InputError, match="expected weights that fit"):
        fit(wider, phantom_folder, tmp_path / "run", start_from=finished / "bundle")


def test_validation_and_test_cases_are_never_trained_on(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}

    def spy(name: str, position: int) -> None:
        original = getattr(training.dense_shape_task, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            seen[name] = set(arguments[position].names)
            return original(*arguments, **options)

        monkeypatch.setattr(training.dense_shape_task, name, wrapped)

    spy("make_template", 0)
    spy("make_targets", 0)
    spy("validate", 2)
    recipe = replace(TINY, validation_fold=1, folds=4, optimiser=replace(TINY.optimiser, epochs=1))
    assert fit(recipe, phantom_folder, tmp_path)
    dataset = read_dataset(phantom_folder)
    train, test = ({case.name for case in dataset.of_split(split).cases} for split in ("train", "test"))
    assert len(seen["validate"]) == 2
    assert seen["validate"] <= train
    assert seen["make_template"] == seen["make_targets"] == train - seen["validate"]
    assert not seen["make_targets"] & test
    (row,) = rows_of(tmp_path / "validation.csv")
    assert 0 <= row["dsc"] <= 100
    assert row["tre_mm"] > 0
    assert load_bundle(tmp_path / "bundle").metadata["training"]["cases"] == 6


def test_folds_share_no_case_and_forget_none_whatever_the_order(cases: GridCases) -> None:
    reverse = GridCases(
        cases.data_name,
        cases.names[::-1],
        cases.splits[::-1],
        cases.images[::-1],
        cases.points[::-1],
        cases.mm_per_pixel[::-1],
        cases.landmark_names,
        cases.landmark_structures,
    )
    held = []
    for fold in range(3):
        rest, out = cases.fold(fold, 3)
        assert not set(rest.names) & set(out.names)
        assert set(rest.names) | set(out.names) == set(cases.names)
        assert set(reverse.fold(fold, 3)[1].names) == set(out.names)
        held += out.names
        i = cases.names.index(out.names[0])
        np.testing.assert_array_equal(out.images[0], cases.images[i])
        np.testing.assert_array_equal(out.points[0], cases.points[i])
    assert sorted(held) == sorted(cases.names)


def test_phantoms_are_a_small_share_and_never_more_than_the_recipe_says(
    cases: GridCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.dense_shape_task, "PHANTOM_POOL", 3)
    recipe = replace(TINY, phantom_share=0.1, optimiser=replace(TINY.optimiser, epochs=40))
    template = make_template(cases, recipe.target)
    pool = with_phantoms(cases, template, recipe)
    assert len(pool) == len(cases) + 3
    assert set(pool.splits[len(cases) :]) == {"phantom"}
    assert np.isfinite(pool.points[len(cases) :]).all()
    assert pool.images[len(cases) :].astype(np.float32).std(axis=(1, 2)) == pytest.approx(1, abs=0.01)
    data = TrainingSet.build(pool, make_targets(pool, template, recipe.target), len(cases), "cpu")
    task = DenseShapeTask(recipe, data, template, cases, None)
    drawn: list[torch.Tensor] = []
    draw_batch = task.draw_batch

    def spy(order: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        drawn.append(order)
        return draw_batch(order, generator)

    monkeypatch.setattr(task, "draw_batch", spy)
    for epoch in range(40):
        assert len(list(task.batches(epoch))) == task.steps_per_epoch
    share = (torch.cat(drawn) >= len(cases)).float().mean()
    assert 0.04 < share < 0.17
    assert with_phantoms(cases, template, TINY) is cases


def test_validation_does_not_score_what_nobody_annotated(cases: GridCases) -> None:
    """A missing row means not annotated: scored as absent, the better recipe would look the worse one."""
    held = [i for i in range(len(cases)) if np.isnan(cases.points[i]).any()]
    one, template = cases.select(np.isin(np.arange(len(cases)), held)), make_template(cases, TINY.target)
    names = template.structure_names
    truth = make_targets(one, template, TINY.target)

    class Oracle(torch.nn.Module):
        """Exact where there is truth, and a heart where nobody drew one."""

        def forward(self, images: torch.Tensor) -> DenseShapeOutput:
            logits = torch.from_numpy(truth.masks).float() * 2 - 1
            logits[:, names.index("heart"), 20:40, 20:40] = 1
            return DenseShapeOutput(logits, torch.from_numpy(truth.uv).float(), None)

    measured = validate(Oracle(), template, one, TINY.target, "cpu")
    assert measured["dsc"] == 100
    assert measured["tre_mm"] < 2
    assert measured["missed_share"] == 0


# ---- targets --------------------------------------------------------------------------------------------------------


def test_a_packed_file_teaches_the_same_as_the_folder(phantom_folder: Path, cases: GridCases, tmp_path: Path) -> None:
    packed = tmp_path / "packed.npz"
    assert main(["pack", "--data", str(phantom_folder), "--output", str(packed), "--grid", "64", "64"]) == 0
    read = load_grid_cases(packed, GRID)
    assert (read.names, read.splits, read.data_name) == (cases.names, cases.splits, cases.data_name)
    assert (read.landmark_names, read.landmark_structures) == (cases.landmark_names, cases.landmark_structures)
    np.testing.assert_array_equal(read.images, cases.images)
    template, again = make_template(cases, TINY.target), make_template(read, TINY.target)
    assert again.to_json() == template.to_json()
    expected, got = make_targets(cases, template, TINY.target), make_targets(read, again, TINY.target)
    for name in ("masks", "uv", "points", "landmark_uv", "annotated"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_a_packed_file_of_another_grid_or_no_packed_file_is_told(cases: GridCases, tmp_path: Path) -> None:
    save_grid_cases(tmp_path / "packed.npz", cases)
    with pytest.raises(InputError, match=r"expected cases on a grid of \(32, 32\).*\(64, 64\)"):
        load_grid_cases(tmp_path / "packed.npz", (32, 32))
    (tmp_path / "text.npz").write_text("no arrays")
    np.save(tmp_path / "array.npy", np.zeros(3))
    paths = [tmp_path / name for name in ("text.npz", "missing.npz", "array.npy")]
    for path in (*paths, *damaged_copies(tmp_path / "packed.npz")):
        with pytest.raises(InputError, match="expected a data folder or a packed") as caught:
            load_grid_cases(path, GRID)
        assert "\n" not in str(caught.value)


def test_targets_put_the_landmarks_where_their_coordinates_are(cases: GridCases) -> None:
    template = make_template(cases, TINY.target)
    targets = make_targets(cases, template, TINY.target)
    heart = template.structure_names.index("heart")
    missing = [not targets.annotated[m, heart] for m in range(len(cases))]
    assert sum(missing) == 1
    assert not targets.masks[missing.index(True), heart].any()
    assert np.isnan(targets.points[missing.index(True), heart, : len(template.structures[heart].uv)]).all()
    m = missing.index(False)
    for s, structure in enumerate(template.structures):
        n = len(structure.uv)
        x, y = np.round(targets.points[m, s, :n]).astype(int).T
        # At the pixel nearest to a landmark the map is the landmark's coordinate, within half a pixel of change.
        half_pixel = 0.75 * 2 / np.ptp(targets.points[m, s, :n], axis=0).min()
        assert np.abs(targets.uv[m, s][:, y, x].T - structure.uv).max() < 2 * half_pixel
        assert np.isnan(targets.points[m, s, n:]).all()


def test_landmarks_held_out_are_in_no_target(cases: GridCases) -> None:
    recipe = replace(TINY.target, hold_out_every=4)
    template = make_template(cases, recipe)
    targets = make_targets(cases, template, recipe)
    full = make_targets(cases, make_template(cases, TINY.target), TINY.target)
    for s, structure in enumerate(template.structures):
        contour, trained = landmark_rows(cases, structure.name, recipe)
        held = [cases.landmark_names[i] for i in contour if i not in trained]
        assert held == [cases.landmark_names[i] for i in contour[3::4]]
        assert not set(held) & set(structure.landmark_names)
        assert len(structure.points_mm) == len(contour) - len(held)
        found = {tuple(p) for p in targets.points[:, s].reshape(-1, 2).tolist()}
        out = cases.points[:, contour[3::4]].astype(np.float32).reshape(-1, 2)
        assert not found & {tuple(p) for p in out[np.isfinite(out[:, 0])].tolist()}
        # The outline of the organ is still the whole one: it is the masks' truth, not a landmark.
        np.testing.assert_array_equal(targets.masks[:, s], full.masks[:, s])


def test_the_template_is_the_mean_of_the_cases_it_is_given(cases: GridCases, chest_template: Template) -> None:
    """Of all ten phantoms it must come near the shapes that they were drawn from."""
    template = make_template(cases, TINY.target)
    assert template.landmark_names == chest_template.landmark_names
    assert template.field_of_view_mm == pytest.approx((358.4, 358.4))
    for got, expected in zip(template.structures, chest_template.structures, strict=True):
        assert np.linalg.norm(got.points_mm - expected.points_mm, axis=1).mean() < 12
    one = make_template(cases.select(np.arange(len(cases)) == 0), replace(TINY.target, structures=("left_lung",)))
    rows = landmark_rows(cases, "left_lung", TINY.target)[0]
    np.testing.assert_allclose(one.structures[0].points_mm, (cases.points[0, rows] + 0.5) * cases.mm_per_pixel[0])


# ---- recipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_can_be_read_and_saved(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe_from_dict(json.loads(json.dumps(recipe_to_dict(recipe)))) == recipe


def test_the_paper_recipe_is_the_papers() -> None:
    """Equation 4 with 2:10:3 divided by 15, and the released code's schedule (section 3.1 of papers.md)."""
    recipe = read_recipe(RECIPES / "dense_seg_paper.toml")
    loss = recipe.loss
    assert (loss.mask, loss.likelihood) == ("bce", "l1")
    assert loss.mask_weight == pytest.approx(2 / 15, abs=1e-4)
    assert loss.dense_weight == pytest.approx(10 / 15 / 2, abs=1e-4)
    assert loss.landmark_weight == pytest.approx(10 / 15 / 2, abs=1e-4)
    assert loss.smoothness_weight == pytest.approx(3 / 15)
    assert recipe.network == NetworkRecipe("DenseSegNet", (64, 128, 256, 512), False)
    optimiser = recipe.optimiser
    assert (optimiser.name, optimiser.schedule, optimiser.epochs, optimiser.batch) == ("adam", "cosine", 100, 8)
    assert (optimiser.learning_rate, optimiser.ema) == (1e-3, 0)
    assert recipe.phantom_share == 0
    sparse = read_recipe(RECIPES / "dense_seg_sparse.toml")
    assert sparse.loss.dense_weight == 0
    assert sparse.loss.landmark_weight == pytest.approx(10 / 15, abs=1e-4)
    assert replace(sparse, name="", description="", loss=loss) == replace(recipe, name="", description="")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lerning_rate = 1e-3", "unknown key lerning_rate"),
        ("[optimiser]\nlerning_rate = 1e-3", "unknown key lerning_rate in recipe.optimiser"),
        ('seed = "3"', "expected recipe.seed to be int"),
        ("seed = true", "expected recipe.seed to be int"),
        ("[optimiser]\nepochs = 4.5", "expected recipe.optimiser.epochs to be int"),
        ("[network]\nchannels = 32", "expected recipe.network.channels to be a list"),
        ("[target]\ngrid = [256]", "expected recipe.target.grid to be a list of 2 values"),
        ('[loss]\nmask = "focal"', "expected recipe.loss.mask to be one of bce, dice_bce"),
        ("loss = 3", r"expected a table \[recipe.loss\]"),
        ("phantom_share = 0.2", "expected phantom_share between 0 and 0.1"),
        ("phantom_share = -0.1", "expected phantom_share between 0 and 0.1"),
        ("seed = = 3", "expected a recipe in TOML"),
        ("[augmentation]\nturned = 0.1", "expected network.views = true"),
        ('[network]\nname = "ResNet"', "expected a network out of DenseSegNet, CompactDenseSegNet"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_in_one_line(
    text: str, says: str, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mistake.toml"
    recipe.write_text(text if "[target]" in text else text + "\n[target]\ngrid = [64, 64]")
    with pytest.raises(InputError, match=says) as error:
        fit(read_recipe(recipe), phantom_folder, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert main(["fit", str(recipe), "--data", str(phantom_folder), "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_a_missing_recipe_or_data_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_TOML)
    (tmp_path / "empty").mkdir()
    for arguments in (
        [str(tmp_path / "none.toml"), "--data", str(tmp_path / "empty")],
        [str(recipe), "--data", str(tmp_path / "empty")],
        [str(recipe), "--data", str(tmp_path / "nowhere")],
    ):
        assert main(["fit", *arguments, "--output", str(tmp_path / "run")]) == 2
        err = capsys.readouterr().err.strip()
        assert err.startswith("error: expected")
        assert "\n" not in err


def test_a_machine_without_image_readers_trains_from_a_packed_file(cases: GridCases, tmp_path: Path) -> None:
    """Machines with an accelerator often have torch and little else."""
    save_grid_cases(tmp_path / "packed.npz", cases)
    (tmp_path / "tiny.toml").write_text(TINY_TOML.replace("epochs = 4", "epochs = 1"))
    absent = ("SimpleITK", "pydicom", "matplotlib", "slicerio", "nrrd")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "from training.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [
        "fit",
        str(tmp_path / "tiny.toml"),
        "--data",
        str(tmp_path / "packed.npz"),
        "--output",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--device", "cpu"],
        cwd=RECIPES.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert load_bundle(tmp_path / "run" / "bundle").name == "tiny"
