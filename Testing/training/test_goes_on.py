"""A run that was stopped goes on with what it was begun with, and its logs are those of one that never stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import load_bundle
from Testing.training.finetuning.chest_library import MODEL
from Testing.training.kept_state import rows_of, state_of
from training.fit import fit
from training.grid_cases import read_grid_cases, save_grid_cases
from training.rewrite_bundle import rewrite_bundle
from training.run_epochs import append_row, forget_rows
from training.run_recipe import OptimiserRecipe
from training.trainer import build_optimiser

TINY = replace(MODEL, optimiser=replace(MODEL.optimiser, epochs=2))


def other_data(folder: Path, output: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The packed cases of a data folder, some of them changed."""
    save_grid_cases(output, read_grid_cases(folder, TINY.target.grid))
    with np.load(output) as raw:
        arrays = dict(raw)
    change(arrays)
    np.savez_compressed(output, **arrays)
    return output


def moved(arrays: dict[str, Any]) -> None:
    arrays["points"] += 0.5


def fewer(arrays: dict[str, Any]) -> None:
    arrays["splits"][0] = "test"


def one_landmark_less(arrays: dict[str, Any]) -> None:
    arrays["points"] = arrays["points"][:, 1:]
    for name in ("landmark_names", "landmark_structures"):
        arrays[name] = arrays[name][1:]


def test_a_run_goes_on_with_the_data_that_it_was_begun_with(phantom_folder: Path, tmp_path: Path) -> None:
    """With as many other cases it would train on, and nobody would know."""
    run = tmp_path / "run"
    assert not fit(TINY, phantom_folder, run, stop_after_epoch=1)
    before = (run / "checkpoint.pt").read_bytes()
    for change in (moved, fewer, one_landmark_less):
        data = other_data(phantom_folder, tmp_path / f"{change.__name__}.npz", change)
        with pytest.raises(InputError, match=r"expected the --data that .*run was begun with, got another") as caught:
            fit(TINY, data, run, resume=True)
        assert "\n" not in str(caught.value)
    assert (run / "checkpoint.pt").read_bytes() == before
    # The same data from another place are the same.
    same = other_data(phantom_folder, tmp_path / "same.npz", lambda arrays: None)
    assert fit(TINY, same, run, resume=True, stop_after_epoch=2)
    (run / "begun.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        fit(TINY, phantom_folder, run, resume=True)


def test_a_run_goes_on_from_the_model_that_it_was_begun_with(
    phantom_folder: Path, chest_bundle: Path, tmp_path: Path
) -> None:
    """Without it the template would be another, to which the weights that were learned do not belong."""
    run = tmp_path / "run"
    assert not fit(TINY, phantom_folder, run, start_from=chest_bundle, stop_after_epoch=1)
    with pytest.raises(InputError, match=r"expected the --start-from that .*run was begun with"):
        fit(TINY, phantom_folder, run, resume=True)
    other = shutil.copytree(chest_bundle, tmp_path / "other")
    rewrite_bundle(load_bundle(other), metadata={"version": "2.0.0"})
    with pytest.raises(InputError, match=r"expected the --start-from that .*run was begun with"):
        fit(TINY, phantom_folder, run, resume=True, start_from=other)
    less = other_data(phantom_folder, tmp_path / "less.npz", one_landmark_less)
    with pytest.raises(InputError, match="landmarks of right_lung that the template has"):
        fit(TINY, less, run, resume=True, start_from=chest_bundle)
    assert fit(TINY, phantom_folder, run, resume=True, start_from=chest_bundle)


def test_a_run_of_which_nobody_wrote_what_it_was_begun_with_goes_on(phantom_folder: Path, tmp_path: Path) -> None:
    assert not fit(TINY, phantom_folder, tmp_path, stop_after_epoch=1)
    (tmp_path / "begun.json").unlink()
    assert fit(TINY, phantom_folder, tmp_path, resume=True)
    assert state_of(tmp_path)["epoch"] == 2


def test_rows_of_epochs_that_no_checkpoint_knows_go_from_both_curves(phantom_folder: Path, tmp_path: Path) -> None:
    """A run that was killed between its log and its checkpoint; power that fails leaves files empty, or of blank lines."""
    recipe = replace(TINY, validation_fold=1, folds=4, optimiser=replace(TINY.optimiser, epochs=2))
    assert not fit(recipe, phantom_folder, tmp_path, stop_after_epoch=1)
    (tmp_path / "validation.csv").write_text("epoch,dsc,tre_mm,missed_share\n0,50,5,0\n\n1,60,4,0\n")
    with (tmp_path / "training.csv").open("a") as file:
        file.write("\n\n")
    assert fit(recipe, phantom_folder, tmp_path, resume=True)
    assert [row["epoch"] for row in rows_of(tmp_path / "training.csv")] == [0, 1]
    validation = rows_of(tmp_path / "validation.csv")
    assert [row["epoch"] for row in validation] == [0, 1]
    assert validation[0]["dsc"] == 50


@pytest.mark.parametrize("left", ["", "\n\n", "epoch,loss\n", "epoch,other\n3,1\n"])
def test_a_log_without_a_row_that_counts_begins_anew(tmp_path: Path, left: str) -> None:
    curve = tmp_path / "training.csv"
    curve.write_text(left)
    forget_rows(curve, 2)
    append_row(curve, {"epoch": 2, "loss": 0.5})
    assert rows_of(curve) == [{"epoch": 2, "loss": 0.5}]


def test_the_first_row_of_an_empty_log_has_names_above_it(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").touch()
    append_row(tmp_path / "curve.csv", {"epoch": 0, "loss": 0.5})
    assert rows_of(tmp_path / "curve.csv") == [{"epoch": 0, "loss": 0.5}]


@pytest.mark.parametrize("name", ["nesterov", "adamw"])
def test_one_cycle_leaves_the_momentum_of_the_recipe(name: str) -> None:
    recipe = OptimiserRecipe(name=name, schedule="one_cycle", momentum=0.99)  # type: ignore[arg-type]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser, schedule = build_optimiser([weight], recipe, 10)
    rates, momenta = [], []
    for _ in range(9):
        rates.append(optimiser.param_groups[0]["lr"])
        momenta.append(optimiser.param_groups[0].get("momentum"))
        optimiser.step()
        schedule.step()
    assert max(rates) > 2 * rates[0]
    assert set(momenta) == ({0.99} if name == "nesterov" else {None})
