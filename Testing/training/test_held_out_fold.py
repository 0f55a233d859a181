"""``--fold`` measures the cases that a model was trained without, and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from DenseLandmarksLib.models.bundle import METADATA
from Testing.training.blob_radiographs import write_blob_radiographs
from training.__main__ import main
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_task import HeatmapTask

RECIPE = HeatmapRecipe(
    "tiny",
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [2, 4], "residual_units": 1}),
    target=HeatmapTargetRecipe(grid=(64, 48)),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs", train=10, test=3)


def task_of(data: Path, fold: int, folds: int) -> HeatmapTask:
    return HeatmapTask.read(replace(RECIPE, validation_fold=fold, folds=folds), data, "cpu", None)


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of bundles that nobody trained: of folds out of three and five, of all cases, and one that does not say."""
    root = tmp_path_factory.mktemp("bundles")
    for name, fold, folds in (("1-of-3", 1, 3), ("2-of-3", 2, 3), ("1-of-5", 1, 5), ("all", -1, 3), ("silent", 1, 3)):
        task = task_of(data, fold, folds)
        task.export(root / name, task.new_network(), None)
    metadata = json.loads((root / "silent" / METADATA).read_text())
    del metadata["training"]["recipe"]
    (root / "silent" / METADATA).write_text(json.dumps(metadata))
    return {path.name: str(path) for path in root.iterdir()}


def words(data: Path, model: str, report: Path, *more: str) -> list[str]:
    return ["evaluate", "--device", "cpu", "--model", model, "--data", str(data), "--report", str(report), *more]


def test_the_cases_that_are_measured_are_those_that_the_model_did_not_see(
    data: Path, models: dict[str, str], tmp_path: Path
) -> None:
    for name, fold, folds in (("1-of-3", 1, 3), ("2-of-3", 2, 3), ("1-of-5", 1, 5)):
        asked = words(data, models[name], tmp_path / "r.json", "--split", "train", "--fold", str(fold))
        assert main([*asked, "--compare", models[name]]) == 0
        report = json.loads((tmp_path / "r.json").read_text())
        measured = {entry["case"] for entry in report["per_case"]}
        task = task_of(data, fold, folds)
        assert task.held is not None
        assert measured == set(task.held.names)
        assert measured.isdisjoint(task.cases.names)
        assert report["split"] == f"train, fold {fold}"


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        ("1-of-3", ("--fold", "0"), "1-of-3, which held out fold 1 of 3"),
        ("all", ("--fold", "1"), "all, which was trained on all cases"),
        ("silent", ("--fold", "1"), "silent, which does not say"),
        ("1-of-3", ("--fold", "1", "--compare", "2-of-3"), "2-of-3, which held out fold 2 of 3"),
        ("1-of-3", ("--fold", "1", "--compare", "all"), "all, which was trained on all cases"),
        ("1-of-3", ("--fold", "1", "--compare", "1-of-5"), "got fold 1 of 3 and of 5"),
        ("1-of-3", ("--fold", "1", "--split", "test"), "expected --split train with --fold"),
    ],
)
def test_a_fold_that_a_model_saw_is_refused_in_one_line(
    model: str,
    more: tuple[str, ...],
    says: str,
    data: Path,
    models: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = tuple(models.get(word, word) for word in more)
    assert main(words(data, models[model], tmp_path / "r.json", "--split", "train", *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())
