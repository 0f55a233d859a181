"""The study of few images: nested draws, equal weights, every image measured by models that did not see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.localisation_unet import weights_of
from Testing.studies import small_data as study
from Testing.studies import small_data_table
from Testing.studies.small_data_table import (
    SizeErrors,
    by_images,
    far_share,
    interval,
    median_mm,
    more_gain,
    resampled,
    table_of,
)
from Testing.training.blob_radiographs import write_blob_radiographs
from training.grid_cases import load_grid_cases
from training.recipe_values import build_from, read_values
from training.results_file import ResultsFile

SHIPPED = Path(study.__file__).parents[2] / "training" / "recipes" / "small-data" / "hand.toml"
TINY = """
images = [0, 4, 2]
draws = 2
folds = 2
steps = 8
search_steps = 8
learning_rates = [3e-3]

[spatial_configuration]
filters = 14
levels = 2
spatial_stride = 4
kernel = 3

[u_net]
levels = 3

[recipe]
name = "tiny"
family = "heatmap"

[recipe.target]
grid = [32, 32]

[recipe.loss]
kind = "sum"
sigma = 2.5

[recipe.augmentation]
shift = 0.02

[recipe.optimiser]
batch = 1
clip = 1e4
"""


@pytest.fixture
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_data_table, "REPEATS", 50)
    monkeypatch.setattr(study, "PARTS", 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs", train=12, test=1)


def test_the_shipped_study_compares_networks_of_equal_weights() -> None:
    read: study.SmallData = build_from(study.SmallData, read_values(SHIPPED), "study")
    weights = {
        name: weights_of(HEATMAP_NETWORKS[network.name](37, **network.arguments))
        for name, network in read.networks(37).items()
    }
    assert weights["u-net"] == pytest.approx(weights["scn"], rel=0.02)
    assert read.steps == 4000
    assert read.images == (0, 50, 25, 10)


def test_smaller_draws_are_parts_of_larger_ones(data: Path) -> None:
    cases = load_grid_cases(data, (32, 32)).of_split("train")
    names = {images: set(study.draw(cases, images, 1, 0).names) for images in (0, 7, 3)}
    assert names[3] < names[7] < names[0]
    assert len(names[3]) == 3
    assert len(names[7]) == 7
    others = {tuple(study.draw(cases, 3, number, 0).names) for number in range(6)}
    assert len(others) > 1


def test_more_images_than_there_are_are_told_before_anything_is_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would be called what they are not in the table."""
    (tmp_path / "tiny.toml").write_text(TINY.replace("images = [0, 4, 2]", "images = [7, 4]"))
    asked = [str(tmp_path / "tiny.toml"), "--data", str(data), "--output", str(tmp_path / "runs")]
    assert study.main(asked) == 2
    assert "expected to draw 7 images, got 6" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))
    assert len(study.draw(load_grid_cases(data, (32, 32)).of_split("train"), 12, 0, 0)) == 12


def test_a_person_who_stops_it_is_not_sent_to_an_option_that_it_lacks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "train_all", stopped)
    (tmp_path / "tiny.toml").write_text(TINY)
    asked = [str(tmp_path / "tiny.toml"), "--data", str(data), "--output", str(tmp_path / "runs")]
    assert study.main(asked) == 130
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.usefixtures("_in_a_hurry")
def test_the_study_is_made_in_pieces_and_ends_with_a_table_and_a_picture(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    asked = [str(tmp_path / "tiny.toml"), "--data", str(data), "--output", str(tmp_path / "runs")]
    assert study.main([*asked, "--max-minutes", "0"]) == 3
    # One network after the other, or beside it in a process of its own.
    assert study.main([*asked, "--networks", "u-net"]) == 0
    assert "| scn |" not in capsys.readouterr().out
    assert study.main([*asked, "--networks", "scn"]) == 0
    results = (tmp_path / "runs" / "results.jsonl").read_text()
    assert sum("images/draw-" in line for line in results.splitlines()) == 2 * 2 * (1 + 2 + 2)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| 6 |", "| 4 |", "| 2 |"))]
    assert [row.split("|")[2].strip() for row in rows[:6]] == ["scn", "u-net"] * 3
    assert len(rows) == 9
    assert (tmp_path / "runs" / "small_data.png").stat().st_size > 5000
    # Nothing is done twice.
    assert study.main(asked) == 0
    assert (tmp_path / "runs" / "results.jsonl").read_text() == results


@pytest.mark.usefixtures("_in_a_hurry")
def test_every_image_is_measured_once_in_each_draw_by_a_model_that_did_not_see_it(data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        TINY.replace("images = [0, 4, 2]", "images = [4]").replace("draws = 2", "draws = 1")
    )
    assert study.main([str(tmp_path / "tiny.toml"), "--data", str(data), "--output", str(tmp_path / "runs")]) == 0
    cases = load_grid_cases(data, (32, 32)).of_split("train")
    seen = []
    kept = study.Kept(tmp_path / "runs", ResultsFile(tmp_path / "runs" / "results.jsonl"))
    for fold in range(2):
        result = kept.result(study.run_name("scn", 4, 0, fold))
        assert result is not None
        learned = study.draw(cases.fold(fold, 2)[0], 4, 0, fold)
        assert not set(result.cases) & set(learned.names)
        seen += list(result.cases)
    assert sorted(seen) == sorted(cases.names)


def test_the_table_counts_errors_and_says_by_how_much_one_network_wins() -> None:
    near = np.full((3, 20, 5), 1.0)
    far = near.copy()
    far[:, :, 0] = 12.0
    far[0, 0, 1] = np.nan
    sizes = [SizeErrors("scn", 10, near, 1e-3), SizeErrors("u-net", 10, far, 3e-3)]
    assert far_share(far) == pytest.approx(60 / 299)
    assert median_mm(far) == 1.0
    table = table_of(sizes)
    assert "| 10 | u-net | 3 | 20.07% [20.0" in table
    assert "| 10 | +20.07% [+20.0" in table


def test_that_one_network_wins_by_more_the_fewer_images_has_an_interval_of_its_own() -> None:
    """Cases are easy or hard for both networks and sizes alike: what they differ by is sure, each of them is not."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=(1, 60, 1)) + rng.normal(size=(3, 60, 5)) * 0.01 + 5
    sizes = [
        SizeErrors("scn", 60, hard[:1], 1e-3),
        SizeErrors("u-net", 60, hard[:1] + 0.2, 1e-3),
        SizeErrors("scn", 25, hard, 1e-3),
        SizeErrors("u-net", 25, hard + 0.3, 1e-3),
        SizeErrors("scn", 10, hard + 1, 1e-3),
        SizeErrors("u-net", 10, hard + 1.7, 1e-3),
    ]
    by = by_images(sizes)
    more, low, high = more_gain(by[10], by[60], median_mm)
    assert more == pytest.approx(0.5)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)
    (row,) = [line for line in table_of(sizes).splitlines() if line.startswith("| 10 less 60 |")]
    assert row.endswith("| +0.50 [+0.50, +0.50] |")
    # What a draw happens to hold makes it unsure again.
    of_draws = np.array([-0.5, 0.0, 0.5])[:, None, None]
    unsure = {**by[10], "u-net": SizeErrors("u-net", 10, hard + 1.7 + of_draws, 1e-3)}
    _, low, high = more_gain(unsure, by[60], median_mm)
    assert low < 0.2 < 0.8 < high
    assert "less" not in table_of(sizes[:2])


def test_a_learning_rate_at_the_edge_of_what_was_searched_is_told() -> None:
    errors = np.ones((1, 4, 2))
    sizes = [SizeErrors("scn", 10, errors, 1e-3), SizeErrors("u-net", 10, errors, 3e-4)]
    notes = [line for line in table_of(sizes, (3e-4, 1e-3, 3e-3)).splitlines() if line.startswith("*")]
    assert notes == [
        "* The learning rate of u-net, 0.0003, is the smallest that was searched: one beyond may be better."
    ]
    assert "*" not in table_of(sizes, (1e-4, 3e-4, 1e-3, 3e-3))
    assert "*" not in table_of(sizes)


def test_intervals_grow_with_what_draws_and_cases_differ_by() -> None:
    rng = np.random.default_rng(0)
    alike = 5 + rng.normal(size=(3, 30, 5)) * 0.1
    of_cases = alike + rng.normal(size=(1, 30, 1))
    of_draws = alike + np.array([-2.0, 0.0, 2.0])[:, None, None]

    def width(errors: np.ndarray) -> float:
        found = study_interval(SizeErrors("scn", 10, errors, 1e-3))
        return found[1] - found[0]

    assert width(alike) < width(of_cases) < width(of_draws)


def study_interval(size: SizeErrors) -> tuple[float, float]:
    return interval(resampled([size], median_mm)[:, 0])
