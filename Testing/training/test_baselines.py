"""Baselines of volumes: what they are trained towards, how they are read, and the study that compares them."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.level_grid import LevelGrid
from Testing.studies import ladder as study
from Testing.studies.ladder_table import RowErrors, gained_mm, table_of
from training.baselines.heatmap_unet import HeatmapUNet, peaks
from training.baselines.kept_run import Kept, Result, Run, finish
from training.baselines.ladder import (
    ROWS_FOLDER,
    Ladder,
    Row,
    cases_at,
    read_ladder,
    read_rows,
    recipe_of,
    run_of,
    task_of,
)
from training.baselines.patch_network import PATCH, PatchNetwork, log_scaled, log_unscaled, patch_centres
from training.baselines.whole_volume import WholeVolumeNetwork, WholeVolumeTask
from training.heatmap_targets import gaussian_heat
from training.recipe import recipe_to_dict
from training.results_file import ResultsFile
from training.run_recipe import OptimiserRecipe
from training.sight import Sight
from training.stored_pyramid import StoredPyramid
from training.trainer import Trainer
from training.volume_cases import VolumeCases
from training.volume_recipe import LevelsRecipe, LocNetRecipe, VolumeAugmentationRecipe, VolumeRecipe

NAMES = ("left_tip", "right_tip")
FOREVER = math.inf


def blobs(
    points: np.ndarray, size: int, spacing_mm: float, origin: np.ndarray, heights: tuple[float, ...] = (1.9, 1.0)
) -> np.ndarray:
    """Values (z, y, x) from -1 to 1 with a wide bright blob about the first point, and a dim one about the second."""
    z, y, x = np.indices((size,) * 3) * spacing_mm
    values = np.full((size,) * 3, -1.0)
    for (px, py, pz), height in zip(points - origin, heights, strict=True):
        values += height * np.exp(-((x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2) / (2 * 3.5**2))
    return values


def synthetic_cases(count: int = 4, spacings_mm: tuple[float, ...] = (3.0, 1.5), coarse_size: int = 16) -> VolumeCases:
    """Volumes with two blobs each, at their levels, the first of which has so many voxels along each side."""
    extent_mm = coarse_size * spacings_mm[0]
    rng = np.random.default_rng(3)
    points, pyramids = [], []
    for _ in range(count):
        corner = rng.uniform(-50, 50, 3)
        points.append(corner + rng.uniform(0.3, 0.7, (2, 3)) * extent_mm)
        grids, levels = [], []
        for spacing in spacings_mm:
            origin, size = corner + spacing / 2, round(extent_mm / spacing)
            grids.append(LevelGrid(tuple(origin.tolist()), spacing, (size,) * 3))
            levels.append(blobs(points[-1], size, spacing, origin).clip(-1, 1).astype(np.float16))
        pyramids.append(StoredPyramid(grids, levels))
    names = tuple(f"case{number}" for number in range(count))
    absent = np.zeros((count, 2), bool)
    return VolumeCases(
        "blobs", names, ("train",) * count, tuple(pyramids), np.stack(points), absent, NAMES, ("tips",) * 2
    )


def small_ladder(steps: int = 4, batch: int = 2) -> Ladder:
    recipe = VolumeRecipe(
        "small",
        levels=LevelsRecipe(crop_size=16, spacings_mm=(3.0, 1.5)),
        network=LocNetRecipe(channels=(4, 4, 8, 8), convolutions=1, presence=False),
        augmentation=VolumeAugmentationRecipe(shift_mm=2.0, mirror=0.5, noise_mm=2.0),
        optimiser=OptimiserRecipe(name="adam", schedule="constant", batch=batch, learning_rate=1e-2, ema=0.0),
    )
    return Ladder(recipe, single_scale_mm=3.0, steps=steps, search_steps=2, learning_rates=(1e-2,), seeds=(1,))


class TestHeatmaps:
    def test_a_heatmap_is_read_where_its_gaussian_is(self) -> None:
        index = torch.tensor([[[3.3, 5.0, 7.45], [10.51, 2.2, 4.9]], [[1.0, 1.6, 1.3], [2.0, 3.0, 4.0]]])
        heat = gaussian_heat(index, torch.full((2,), 1.5), (12, 10, 14), 1.0)
        torch.testing.assert_close(peaks(heat), index, atol=0.05, rtol=0)

    def test_the_loss_is_nothing_for_the_target_and_one_for_an_empty_heatmap(self) -> None:
        network = HeatmapUNet(3, (2, 2, 2, 2), 1, False, sigma_voxels=1.5)
        index = torch.tensor([[[7.2, 8.0, 7.9], [torch.nan] * 3, [torch.nan] * 3]])
        # The second truly is not there, of the third nobody knows.
        present = torch.tensor([[1.0, 0.0, torch.nan]])
        target = torch.zeros(1, 3, 16, 16, 16)
        target[:, :1] = gaussian_heat(index[:, :1], torch.tensor([1.5]), (16, 16, 16), 1.0)
        assert network.loss(target, index, present)[0] == 0
        unknown = target.clone()
        unknown[0, 2] = 9
        assert network.loss(unknown, index, present)[0] == 0
        assert network.loss(torch.zeros_like(target), index, present)[0] == pytest.approx(0.5, rel=1e-3)
        wrong = target.clone()
        wrong[0, 1, 3, 3, 3] = 1
        assert network.loss(wrong, index, present)[0] > 0.01


class TestPatches:
    def test_displacements_come_back_from_their_scale(self) -> None:
        away = torch.tensor([-300.0, -1.0, 0.0, 0.5, 7.0])
        assert log_scaled(away).tolist() == pytest.approx([-math.log2(301), -1, 0, math.log2(1.5), 3])
        torch.testing.assert_close(log_unscaled(log_scaled(away)), away)

    def test_the_patches_lie_side_by_side(self) -> None:
        centres = patch_centres((2, 1, 3))
        assert centres.tolist() == [[x, 3.5, z] for z in (3.5, 11.5) for x in (3.5, 11.5, 19.5)]

    @staticmethod
    def answer(index: Tensor, patches: tuple[int, int, int], sure: float) -> Tensor:
        """What a network says (1, N, 4, z, y, x) that knows where landmarks (N, 3) are."""
        centres = patch_centres(patches)
        away = index[:, None] - centres
        # A voxel reaches half a voxel to each side of its middle.
        number = ((index + 0.5) / PATCH).floor()[:, None]
        inside = (number == ((centres - 3.5) / PATCH).round()).all(dim=2)
        logits = torch.where(inside, sure, -sure)
        said = torch.cat([log_scaled(away), logits[..., None]], dim=2)
        return said.transpose(1, 2).unflatten(2, patches)[None]

    def test_a_landmark_is_read_exactly_and_unlikely_patches_do_not_count(self) -> None:
        index = torch.tensor([[3.1, 9.7, 20.2], [15.0, 0.0, 8.0]])
        network = PatchNetwork(2, (2, 2, 2, 2), 1, False)
        said = self.answer(index, (3, 2, 4), sure=20.0)
        torch.testing.assert_close(network.locate(said)[0], index, atol=1e-4, rtol=0)
        said[0, :, :3] = torch.where(said[0, :, 3:] > 0, said[0, :, :3], torch.tensor(5.0))
        torch.testing.assert_close(network.locate(said)[0], index, atol=1e-4, rtol=0)
        # All patches equally unlikely: the mean of what they say, and no division by nothing.
        said = self.answer(index, (3, 2, 4), sure=20.0)
        said[0, :, 3] = -200
        torch.testing.assert_close(network.locate(said)[0], index, atol=1e-3, rtol=0)

    def test_the_loss_is_nothing_for_the_truth_and_each_position_is_in_one_patch(self) -> None:
        network = PatchNetwork(1, (2, 2, 2, 2), 1, False)
        for x in (0.0, 7.49, 7.5, 8.0, 31.0):
            index = torch.tensor([[x, 3.0, 12.0]])
            said = self.answer(index, (3, 2, 4), sure=30.0)
            loss, terms = network.loss(said, index[None], torch.ones(1, 1))
            assert loss < 1e-5, (x, terms)

    def test_an_absent_landmark_teaches_only_that_no_patch_has_it(self) -> None:
        network = PatchNetwork(1, (2, 2, 2, 2), 1, False)
        nowhere = torch.full((1, 1, 3), torch.nan)
        said = torch.zeros(1, 1, 4, 2, 2, 2)
        _, terms = network.loss(said, nowhere, torch.zeros(1, 1))
        assert terms["displacement"] == 0
        assert terms["patch"] == pytest.approx(8 * math.log(2))
        _, unknown = network.loss(said, nowhere, torch.full((1, 1), torch.nan))
        assert unknown["patch"] == 0

    def test_a_network_halves_three_times(self) -> None:
        assert PatchNetwork(5, (2, 2, 2, 2), 1, True)(torch.zeros(2, 1, 16, 24, 32)).shape == (2, 5, 4, 2, 3, 4)
        with pytest.raises(ValueError, match="four resolutions"):
            PatchNetwork(1, (2, 2, 2), 1, False)


class BrightestVoxel(WholeVolumeNetwork):
    """Its heatmap is the volume."""

    def forward(self, volumes: Tensor) -> Tensor:
        return volumes + 1

    def loss(self, output: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        expected = torch.where(torch.isfinite(index), index, 0).sum()
        return (self.locate(output).sum() - expected).abs(), {"known": torch.isfinite(index).sum()}

    def locate(self, output: Tensor) -> Tensor:
        return peaks(output)


class BrightestTask(WholeVolumeTask):
    def build(self, recipe: VolumeRecipe, landmarks: int) -> WholeVolumeNetwork:
        return BrightestVoxel()


def single_scale(cases: VolumeCases, row: str = "1-heatmap") -> tuple[Row, VolumeRecipe]:
    rows = read_rows()
    return rows[row], recipe_of(small_ladder(), rows[row], cases, 1e-2, 1, 4)


class TestWholeVolumes:
    def test_positions_become_voxels_and_come_back(self) -> None:
        sight = Sight(torch.zeros(1, 1, 8, 10, 12), torch.tensor([[10.0, 20.0, -5.0]]), 2.0)
        corner = torch.tensor([[[10.0 - 11, 20 - 9, -5 - 7]]])
        assert sight.index_of(corner).tolist() == [[[0, 0, 0]]]
        index = torch.tensor([[[1.5, 9.0, 7.0], [11.5, 0.0, 0.0]]])
        torch.testing.assert_close(sight.index_of(sight.lps_mm_of(index)), index)
        assert sight.holds(index).tolist() == [[True, False]]

    @pytest.mark.parametrize(("spacing_mm", "size"), [(3.0, 16), (1.5, 32)])
    def test_a_blob_is_found_in_millimetres_also_in_a_volume_that_is_larger_than_a_crop(
        self, spacing_mm: float, size: int
    ) -> None:
        cases = cases_at(synthetic_cases(), (spacing_mm,))
        recipe = VolumeRecipe("x", levels=LevelsRecipe(crop_size=16, spacings_mm=(spacing_mm,)))
        task = BrightestTask(recipe, cases, None, "cpu")
        for (grid,), points in zip((p.grids for p in cases.pyramids), cases.points_lps_mm, strict=True):
            assert grid.size == (size,) * 3
            lone = blobs(points, size, spacing_mm, np.array(grid.origin_lps_mm), (1.9, 0.0))
            found = task.locate(task.new_network(), StoredPyramid([grid], [lone.astype(np.float16)]))
            assert np.linalg.norm(found[0] - points[0]) < 0.2

    def test_what_was_moved_out_of_sight_is_not_learned(self) -> None:
        cases = cases_at(synthetic_cases(), (3.0,))
        augmentation = VolumeAugmentationRecipe(0, scale=(1.0, 1.0), shift_mm=0, noise=0)
        recipe = VolumeRecipe("x", levels=LevelsRecipe(16, (3.0,)), augmentation=augmentation)
        far = cases.points_lps_mm.copy()
        far[:, 1] += 100
        task = BrightestTask(recipe, VolumeCases(**{**vars(cases), "points_lps_mm": far}), None, "cpu")
        batch = next(iter(task.batches(0)))
        _, terms = task.loss(task.new_network(), batch, 0.0)
        assert terms["known"] == 3 * len(batch.seen)

    def test_a_baseline_is_not_exported(self, tmp_path: Path) -> None:
        cases = synthetic_cases()
        row, recipe = single_scale(cases)
        task = task_of(row, recipe, cases, cases, "cpu")
        with pytest.raises(InputError, match="got a baseline"):
            task.export(tmp_path, task.new_network(), None)


class TestRows:
    def test_the_rows_are_the_papers(self) -> None:
        rows = read_rows()
        assert [row.paper_mm for row in rows.values()] == [
            (6.45, 9.18),
            (5.52, 5.69),
            (4.35, 4.33),
            (3.72, 4.20),
            (3.61, 3.17),
            (2.81, 2.37),
        ]
        assert [row.single_scale for row in rows.values()] == [True, True, True, False, False, False]

    @pytest.mark.parametrize("path", sorted(ROWS_FOLDER.parent.glob("*.toml")), ids=lambda path: path.stem)
    def test_rows_share_layers_augmentation_and_steps(self, path: Path) -> None:
        ladder = read_ladder(path)
        cases = synthetic_cases(2, ladder.spacings_mm, coarse_size=8)
        recipes = [recipe_of(ladder, row, cases, 1e-3, 1, ladder.steps) for row in read_rows().values()]
        for recipe in recipes:
            assert recipe.optimiser == recipes[0].optimiser
            assert recipe.optimiser.epochs == round(ladder.steps / (2 // recipe.optimiser.batch))
            changed = {**recipe_to_dict(recipe), **dict.fromkeys(("levels", "loss", "one_level_at_a_time"))}
            changed["augmentation"] = {**changed["augmentation"], "noise_mm": None}
            changed["network"] = {**changed["network"], "cropping": None}
            if recipe is recipes[0]:
                first = changed
            assert changed == first
        assert [recipe.augmentation.noise_mm > 0 for recipe in recipes[3:]] == [False, False, True]
        assert [recipe.one_level_at_a_time for recipe in recipes[3:]] == [True, False, False]
        assert [recipe.network.cropping == "detached" for recipe in recipes[3:]] == [True, False, False]

    def test_all_rows_see_the_same_volumes_first(self) -> None:
        cases = synthetic_cases()
        seen = []
        for row in read_rows().values():
            recipe = recipe_of(small_ladder(), row, cases, 1e-2, 1, 4)
            seen.append(next(iter(task_of(row, recipe, cases, cases, "cpu").batches(0))).points_lps_mm)
        assert all(torch.equal(one, seen[0]) for one in seen)

    @pytest.mark.parametrize("name", list(read_rows()))
    def test_the_loss_falls(self, name: str) -> None:
        cases = synthetic_cases()
        row = read_rows()[name]
        recipe = recipe_of(small_ladder(), row, cases, 1e-2, 1, 24)
        trainer = Trainer(task_of(row, recipe, cases, cases, "cpu"))
        losses = [trainer.run_epoch()["loss"] for _ in range(12)]
        if row.method != "loc_net" or row.single_scale:
            assert min(losses[-3:]) < 0.8 * losses[0]
        else:  # the weights of the levels change from epoch to epoch; each one's own error does not depend on them
            task = trainer.task
            before = Trainer(task).network.eval()
            errors = [
                np.linalg.norm(
                    np.stack([task.locate(network, p) for p in cases.pyramids]) - cases.points_lps_mm, axis=2
                ).mean()
                for network in (before, trainer.network.eval())
            ]
            assert errors[1] < 0.9 * errors[0]


LADDER = """
single_scale_mm = 2.0
steps = 2
search_steps = 1
learning_rates = [1e-3, 1e-2]
search_folds = 2
seeds = [1]
folds = {folds}

[recipe]
name = "tiny"
family = "multi_scale"

[recipe.intensity]
low = 0.0
high = 1000.0

[recipe.levels]
crop_size = 16
spacings_mm = [3.0, 1.5]

[recipe.network]
channels = [2, 2, 2, 2]
presence = false

[recipe.optimiser]
name = "adam"
schedule = "constant"
batch = 2
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four training and two test volumes of 32 mm."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    cases, rows = [], []
    rng = np.random.default_rng(5)
    for number, split in enumerate(("train",) * 4 + ("test",) * 2):
        origin = rng.uniform(-20, 20, 3)
        points = origin + rng.uniform(8, 24, (2, 3))
        volume = sitk.GetImageFromArray(((blobs(points, 16, 2.0, origin) + 1) * 500).astype(np.int16))
        volume.SetSpacing((2.0,) * 3)
        volume.SetOrigin(origin.tolist())
        sitk.WriteImage(volume, str(folder / "images" / f"{number}.nii.gz"))
        cases.append({"case": f"case{number}", "split": split, "image": f"images/{number}.nii.gz"})
        # In one test case nobody looked for the second landmark.
        known = list(zip(NAMES, points, strict=True))[: 1 if number == 5 else 2]
        rows += [(f"case{number}", name, *map(float, point)) for name, point in known]
    (folder / "dataset.json").write_text(json.dumps({"name": "blobs", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "x_lps_mm", "y_lps_mm", "z_lps_mm"), *rows])
    return folder


def ladder_file(folder: Path, folds: int = 0, text: str = LADDER) -> str:
    path = folder / "tiny.toml"
    path.write_text(text.format(folds=folds))
    return str(path)


class TestStudy:
    def test_all_rows_are_trained_once_and_told(
        self, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "runs"
        request = [ladder_file(tmp_path), "--data", str(data), "--output", str(output)]
        assert study.main([*request, "--max-minutes", "0"]) == 3
        assert "not done yet: heatmap U-Net 0 of 1 seeds" in capsys.readouterr().out
        assert study.main(request) == 0
        told = capsys.readouterr().out
        assert told.strip() == (output / "ladder.md").read_text().strip()
        assert "2 cases of test; 4 cases to learn from, 2 steps of 2, channels 2-2-2-2" in told
        lines = [line for line in told.splitlines() if line.startswith("| ")][1:]
        assert [line.split(" | ")[0][2:] for line in lines] == [row.title for row in read_rows().values()]
        assert [line.split(" | ")[6] for line in lines][::5] == ["6.45 ± 9.18", "2.81 ± 2.37"]
        results = (output / "results.jsonl").read_text()
        lines = {line["name"]: line for line in map(json.loads, results.splitlines())}
        assert len(lines) == 6 * (2 + 1)  # two rates looked at and a seed, each row
        first = lines["1-heatmap/test/seed-1"]
        assert first["cases"] == ["case4", "case5"]
        assert [[e is None for e in case] for case in first["errors_mm"]] == [[False, False], [False, True]]
        assert lines["1-heatmap/search-0.01"]["cases"] == ["case0", "case2"]  # a fold of train, never of test
        # What came out is enough for another folder: nothing is done again.
        kept = tmp_path / "published.jsonl"
        kept.write_text(results)
        request[-1] = str(tmp_path / "elsewhere")
        assert study.main([*request, "--results", str(kept)]) == 0
        assert kept.read_text() == results
        assert not list((tmp_path / "elsewhere").glob("*/"))
        assert capsys.readouterr().out == told

    def test_out_of_fold_no_model_has_seen_its_cases_and_test_is_left_alone(self, tmp_path: Path, data: Path) -> None:
        output = tmp_path / "runs"
        request = [ladder_file(tmp_path, folds=2), "--data", str(data), "--output", str(output)]
        assert study.main([*request, "--rows", "3-patches"]) == 0
        kept = Kept(output, ResultsFile(output / "results.jsonl"))
        results = [kept.result(f"3-patches/{name}") for name in ("fold-0/seed-1", "fold-1/seed-1", "search-0.01")]
        of_folds = [set(one.cases) for one in results if one is not None]
        measured = [*of_folds[0], *of_folds[1]]
        assert of_folds[2] < of_folds[1]  # searched for once, among what the models of the first fold learn from
        assert sorted(measured) == ["case0", "case1", "case2", "case3"]
        assert (output / "ladder.md").read_text().count("\n| ") == 2

    def test_the_rate_is_the_smallest_that_is_hardly_worse_than_the_best(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        errors_mm = {3e-4: 4.0, 1e-3: 3.2, 3e-3: 3.1, 1e-2: math.inf}

        def told(run: Run, device: str, deadline: float) -> Result:
            rate = run.recipe.optimiser.learning_rate
            return Result(("case0",), np.array([[errors_mm[rate]]]), rate, 0.0)

        monkeypatch.setattr(study, "finish", told)
        ladder = replace(small_ladder(), learning_rates=tuple(errors_mm))
        row, cases = read_rows()["6-noise"], synthetic_cases()
        kept = Kept(tmp_path, ResultsFile(tmp_path / "results.jsonl"))
        assert study.searched_rate(ladder, "6-noise", row, kept, cases, "cpu", FOREVER) == 1e-3
        errors_mm[1e-3] = 3.4
        assert study.searched_rate(ladder, "6-noise", row, kept, cases, "cpu", FOREVER) == 3e-3

    def test_volumes_in_another_window_are_not_learned_from(
        self, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rest = ["--data", str(data), "--output", str(tmp_path / "runs"), "--max-minutes", "0"]
        assert study.main([ladder_file(tmp_path), *rest]) == 3
        other = LADDER.replace("high = ", "high = 1")
        assert other != LADDER
        assert study.main([ladder_file(tmp_path, text=other), *rest]) == 2
        assert "expected volumes in the window of" in capsys.readouterr().err

    def test_another_recipe_does_not_go_on_with_what_was_begun(
        self, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rest = ["--data", str(data), "--output", str(tmp_path / "runs"), "--rows", "3-patches"]
        assert study.main([ladder_file(tmp_path), *rest]) == 0
        other = LADDER.replace("batch = 2", "batch = 1")
        assert study.main([ladder_file(tmp_path, text=other), *rest]) == 2
        error = capsys.readouterr().err.split("\r")[-1].strip()  # behind what was told of reading
        assert error.startswith("error: expected to go on with the recipe")
        assert "\n" not in error
        assert study.main([ladder_file(tmp_path), *rest[:-1], "7-ours"]) == 2
        assert "got 7-ours" in capsys.readouterr().err
        damaged = tmp_path / "damaged.jsonl"
        damaged.write_text((tmp_path / "runs" / "results.jsonl").read_text()[1:])
        assert study.main([ladder_file(tmp_path), *rest, "--results", str(damaged)]) == 2
        assert capsys.readouterr().err.startswith("error: expected a line of JSON for each run in")

    def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cases = synthetic_cases()
        row = read_rows()["6-noise"]
        recipe = recipe_of(small_ladder(), row, cases, 1e-2, 1, 6)
        kept = Kept(tmp_path, ResultsFile(tmp_path / "results.jsonl"))
        whole = finish(run_of(kept, "whole", row, recipe, cases, cases), "cpu", FOREVER)
        run_epoch = Trainer.run_epoch

        def stopped(trainer: Trainer) -> dict[str, float]:
            if trainer.epoch == 2:
                raise KeyboardInterrupt
            return run_epoch(trainer)

        pieces = run_of(kept, "pieces", row, recipe, cases, cases)
        monkeypatch.setattr(Trainer, "run_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            finish(pieces, "cpu", FOREVER)
        assert kept.result("pieces") is None
        monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
        resumed = finish(pieces, "cpu", FOREVER)
        assert whole is not None
        assert resumed is not None
        assert np.array_equal(resumed.errors_mm, whole.errors_mm)
        assert recipe.optimiser.epochs == 3

    def test_a_training_that_breaks_down_is_infinitely_wrong(self, tmp_path: Path) -> None:
        cases = synthetic_cases()
        row = read_rows()["2-single-scale"]
        recipe = recipe_of(small_ladder(), row, cases, 1e30, 1, 6)
        kept = Kept(tmp_path, ResultsFile(tmp_path / "results.jsonl"))
        result = finish(run_of(kept, "wild", row, recipe, cases, cases), "cpu", FOREVER)
        assert result is not None
        assert result.mean_mm == math.inf
        table = table_of([study.errors_of(row, [[result]])] * 2, 10.0)
        assert table.splitlines()[-1].startswith("| single-scale Loc-Net | inf ± nan | inf | inf | 100.0 % | +nan")


class TestResultsFile:
    def test_a_line_that_was_torn_is_as_if_it_had_not_been_and_makes_room(self, tmp_path: Path) -> None:
        results = ResultsFile(tmp_path / "results.jsonl")
        assert results.lines() == {}
        for number in range(2):
            results.add(f"run-{number}", {"seconds": number, "recipe": "x" * 100})
        whole = results.path.read_bytes()
        for torn in (whole[-1:], whole[-40:], whole):
            results.path.write_bytes(whole + torn[:-1])
            assert list(results.lines())[:2] == ["run-0", "run-1"]
            results.add("run-2", {"seconds": 2})
            assert list(results.lines())[-1] == "run-2"
            assert results.path.read_bytes().count(b"\n") == len(results.lines()) + (torn == whole)


class TestTable:
    def test_its_figures_are_those_of_all_errors_and_of_paired_cases(self) -> None:
        before = RowErrors("before", (5.0, 6.0), np.array([[[4.0, 12.0], [2.0, np.nan], [3.0, 5.0]]]), (1e-3,))
        row = RowErrors(
            "after",
            (math.nan, math.nan),
            np.array([[[1.0, 3.0], [1.0, np.nan], [2.0, 2.0]], [[3.0, 5.0], [1.0, np.nan], [0.0, 0.0]]]),
            (3e-3, 1e-3),
        )
        # Cases before: 8, 2, 4; after, both seeds together: 3, 1, 1.
        assert row.of_cases_mm.tolist() == [3, 1, 1]
        better, low, high = gained_mm(before, row)
        assert better == pytest.approx((5 + 1 + 3) / 3)
        assert 1 <= low < better < high <= 5
        lines = table_of([before, row], far_mm=10.0).splitlines()
        assert lines[2] == "| before | 5.20 ± 3.54 | 4.00 | 5.20 | 20.0 % | – | 5.00 ± 6.00 | 0.001 |"
        assert lines[3] == (
            f"| after | 1.80 ± 1.47 | 1.50 | 1.80, 1.80 | 0.0 % | +3.00 [{low:+.2f}, {high:+.2f}] | – | 0.001, 0.003 |"
        )
        assert "over 10 mm" in lines[0]
