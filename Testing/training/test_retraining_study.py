"""The study of retraining: every way to work runs, nothing is done twice, and what was stopped goes on to the same end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Testing.studies import retraining as study
from Testing.studies import retraining_table, retraining_work
from Testing.studies.retraining_table import BASE, ORACLE, TITLES, Results, Stage, draw_curves, paired, table_of
from training.recipe_values import build_from, read_values
from training.results_file import ResultsFile

SHIPPED = Path(study.__file__).parents[2] / "training" / "recipes" / "retraining" / "chest.toml"
TINY = """
first_cases = 3
corrected = [1, 2]
seeds = [1]

[recipe]
name = "tiny"

[recipe.network]
channels = [4, 8]

[recipe.target]
grid = [48, 48]
structures = ["heart"]

[recipe.optimiser]
epochs = 1
steps = 30
batch = 2
learning_rate = 1e-2
ema = 0.0

[finetune]
steps = 3
epochs = 1
ema = 0.0
learning_rate_share = 0.3
"""
UNCORRECTED = "uncorrected"
Ask = Callable[..., list[str]]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven training and two test radiographs, all with a heart."""
    folder = shutil.copytree(phantom_folder, tmp_path_factory.mktemp("data") / "phantoms")
    index = json.loads((folder / "dataset.json").read_text())
    without = "case01"  # nobody marked its heart
    index["cases"] = [case for case in index["cases"] if case["case"] != without]
    (folder / "dataset.json").write_text(json.dumps(index))
    rows = (folder / "landmarks.csv").read_text().splitlines(keepends=True)
    (folder / "landmarks.csv").write_text("".join(row for row in rows if not row.startswith(f"{without},")))
    return folder


@pytest.fixture(scope="module")
def ask(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """The words of the study's command for an output folder."""
    toml = tmp_path_factory.mktemp("study") / "tiny.toml"
    toml.write_text(TINY)
    return lambda output, *more: [str(toml), "--data", str(data), "--output", str(output), *more]


@pytest.fixture(scope="module")
def done(ask: Ask, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nobody stopped."""
    folder = tmp_path_factory.mktemp("runs") / "done"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retraining_table, "REPEATS", 50)
        assert study.main(ask(folder)) == 0
    return folder


@pytest.fixture
def begun(done: Path, tmp_path: Path) -> Path:
    """A study of which nothing but the first model is there."""
    for name in ("first-cases.npz", "first-model"):
        place, copied = done / "seed-1" / name, tmp_path / "begun" / "seed-1" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if place.is_dir() else shutil.copy)(place, copied)
    return tmp_path / "begun"


def stage(folder: Path, setting: str, corrected: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "seed-1" / setting / f"{corrected}.json").read_text())
    return content


def drags_of(folder: Path, setting: str) -> list[int]:
    return [stage(folder, setting, corrected)["drags"] for corrected in (0, 1, 2)]


def test_the_shipped_study_corrects_as_many_cases_as_it_says_at_128_pixels() -> None:
    read: study.RetrainingStudy = build_from(study.RetrainingStudy, read_values(SHIPPED), "study")
    assert (read.first_cases, read.corrected, read.seeds) == (20, (10, 20, 40), (1, 2, 3))
    assert read.recipe.target.grid == (128, 128)
    assert len(study.SETTINGS) * len(read.seeds) <= 30


def test_every_setting_differs_from_the_base_in_what_its_title_says() -> None:
    base = vars(study.SETTINGS[BASE])
    changed = {
        name: {key for key, value in vars(setting).items() if value != base[key]}
        for name, setting in study.SETTINGS.items()
    }
    assert next(iter(changed)) == BASE
    assert changed.keys() == TITLES.keys()
    orders = {"cases", "points"}
    assert changed.pop("random") == changed.pop(ORACLE) == orders
    assert not changed.pop(BASE)
    assert all(len(factors) == 1 for factors in changed.values())


def test_every_setting_runs_and_all_begin_with_the_same_model(done: Path) -> None:
    for name in study.SETTINGS:
        assert stage(done, name, 0) == stage(done, BASE, 0)
        if name == UNCORRECTED:
            assert drags_of(done, name) == [0, 0, 0]
            continue
        drags = drags_of(done, name)
        assert 0 == drags[0] < drags[1] < drags[2]
        assert len(stage(done, name, 2)["errors_mm"]) == 2
        assert np.isfinite(stage(done, name, 2)["errors_mm"]).all()
        learned = json.loads((done / "seed-1" / name / "model-2" / "cases.json").read_text())["cases"]
        assert len(learned) == 2
        assert all(sum(case["decisions"].values()) > 0 for case in learned)
    last = {name: stage(done, name, 2)["errors_mm"] for name in study.SETTINGS}
    assert all(last[name] != last[BASE] for name in ("anew", "anew-as-long", UNCORRECTED, "no-replay"))
    assert last["anew"] != last["anew-as-long"]


def test_cases_drawn_at_random_come_in_the_same_order_in_every_library_and_in_another_for_another_seed() -> None:
    def order(seed: int, salt: str) -> list[str]:
        work: Any = SimpleNamespace(setting=SimpleNamespace(cases="random"), seed=seed)
        entries = [SimpleNamespace(name=f"JPCLN{n:03}", id=f"{salt}{n * 7 % 40}") for n in range(40)]
        names = {entry.id: entry.name for entry in entries}
        library: Any = SimpleNamespace(cases=lambda: entries)
        drawn: dict[str, int] = {}
        while len(drawn) < len(entries):
            drawn[retraining_work.Work._next(work, library, drawn)] = 1
        return [names[one] for one in drawn]

    assert order(1, "a") == order(1, "b")
    assert order(1, "a") != order(2, "a") != sorted(order(2, "a"))


def test_a_study_that_is_interrupted_while_a_model_learns_ends(
    ask: Ask, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining_work, "finetune", lambda request: False)
    assert study.main(ask(begun)) == 130
    assert not list(begun.rglob("1.json"))


def test_the_first_cases_are_replayed_unless_the_setting_is_without(done: Path) -> None:
    cards = {
        name: (done / "seed-1" / name / "model-1" / "bundle" / "docs" / "README.md").read_text()
        for name in study.SETTINGS
        if name != UNCORRECTED
    }
    assert {name for name, card in cards.items() if "replayed" not in card} == {"no-replay"}


def test_a_model_that_is_trained_anew_sees_first_and_corrected_cases_equally_often_at_each_stage(done: Path) -> None:
    for name, steps in (("anew", (30, 30)), ("anew-as-long", (30 + 3, 30 + 3 + 3))):
        for corrected in (1, 2):
            begun = json.loads((done / "seed-1" / name / f"model-{corrected}" / "run.json").read_text())
            assert begun["finetune"]["replay_share"] == pytest.approx(3 / (3 + corrected))
            assert begun["finetune"]["steps"] == steps[corrected - 1]
            assert begun["finetune"]["anew"]


def test_what_steps_alone_are_worth_is_learned_from_the_first_cases_and_nobody_corrects(done: Path) -> None:
    folder = done / "seed-1" / UNCORRECTED
    assert not (folder / "library").exists()
    first = json.loads((done / "seed-1" / "first-model" / "begun.json").read_text())
    for corrected, steps in ((1, 30 + 3), (2, 30 + 3 + 3)):
        begun = json.loads((folder / f"model-{corrected}" / "begun.json").read_text())
        assert begun["data"] == first["data"]
        recipe = json.loads((folder / f"model-{corrected}" / "recipe.json").read_text())
        assert recipe["optimiser"]["steps"] == steps


def test_it_ends_with_a_table_and_a_picture_and_does_nothing_again(
    done: Path, ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining_table, "REPEATS", 50)
    table = (done / "retraining.md").read_text()
    titles = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    assert titles == [TITLES[BASE]] * 3 + [TITLES[name] for name in list(study.SETTINGS)[1:] for _ in range(2)]
    assert (done / "retraining.png").stat().st_size > 5000
    kept = [path for path in (done / "seed-1").rglob("*") if path.is_file()]
    times = [path.stat().st_mtime_ns for path in kept]
    assert study.main(ask(done)) == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert table in capsys.readouterr().out
    assert [path for path in (done / "seed-1").rglob("*") if path.is_file()] == kept


def test_the_table_is_made_again_from_the_results_alone(
    done: Path, ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining_table, "REPEATS", 50)
    published = shutil.copy(done / "results.jsonl", tmp_path / "published.jsonl")
    assert study.main(ask(tmp_path / "elsewhere", "--results", str(published))) == 0
    assert (tmp_path / "elsewhere" / "retraining.md").read_text() == (done / "retraining.md").read_text()
    assert not list((tmp_path / "elsewhere").glob("*/"))
    assert published.read_text() == (done / "results.jsonl").read_text()
    # Not for another fold, nor for another study.
    assert (
        study.main(ask(tmp_path / "elsewhere", "--results", str(published), "--fold", "0", "--max-minutes", "-1")) == 3
    )
    other = tmp_path / "other.toml"
    other.write_text(TINY.replace("steps = 30", "steps = 31"))
    assert study.main([str(other), *ask(tmp_path / "elsewhere", "--results", str(published))[1:]]) == 2
    assert "is of another. Give another --results." in capsys.readouterr().err


def test_a_study_whose_time_runs_out_goes_on_and_comes_to_the_same_drags(
    done: Path, begun: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = iter(range(100))
    with monkeypatch.context() as patch:  # every look at the clock takes a minute
        clock = SimpleNamespace(monotonic=lambda: 60.0 * next(minutes))
        patch.setattr(study, "time", clock)
        patch.setattr(retraining_work, "time", clock)
        assert study.main(ask(begun, "--settings", BASE, "--max-minutes", "3.5")) == 3
    assert stage(begun, BASE, 1) == stage(done, BASE, 1)
    assert not (begun / "seed-1" / BASE / "2.json").exists()
    assert not (begun / "seed-1" / "anew").exists()
    assert study.main(ask(begun, "--settings", BASE)) == 0
    assert drags_of(begun, BASE) == drags_of(done, BASE)


@pytest.mark.parametrize("last", ["drags.json", "2.json"])
def test_a_study_that_is_killed_goes_on_and_comes_to_the_same_drags(
    done: Path, begun: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """After a case was saved and before it was counted; after a model was made and before it was measured."""
    write_json = retraining_work.write_json

    def killed(path: Path, content: Any) -> None:
        if path.name == last:
            raise KeyboardInterrupt
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(retraining_work, "write_json", killed)
        assert study.main(ask(begun, "--settings", ORACLE)) == 130
    # A setting can be asked for alone: the table has the others as far as they are.
    assert study.main(ask(begun, "--settings", ORACLE)) == 0
    assert drags_of(begun, ORACLE) == drags_of(done, ORACLE)


def test_with_no_time_at_all_there_is_a_table_without_rows(begun: Path, ask: Ask) -> None:
    assert study.main(ask(begun, "--max-minutes", "-1")) == 3
    assert len((begun / "retraining.md").read_text().splitlines()) == 2


def test_on_a_fold_nothing_of_it_is_learned_from(data: Path, done: Path, ask: Ask, tmp_path: Path) -> None:
    read: study.RetrainingStudy = build_from(study.RetrainingStudy, read_values(Path(ask(tmp_path)[0])), "study")
    whole = study.read_dataset(data)
    reported = []
    for fold in range(study.FOLDS):
        folder = tmp_path / f"fold-{fold}" / "seed-1"
        shutil.copytree(done / "seed-1" / "first-model", folder / "first-model")
        work = next(study.works(read, data, fold, folder.parent, ResultsFile(tmp_path / "results.jsonl")))
        names = [{case.name for case in part.cases} for part in (work.first, work.pool, work.reported)]
        assert sum(map(len, names)) == len(set.union(*names)) == 7
        assert len(names[0]) == 3
        reported += sorted(names[2])
    assert sorted(reported) == sorted(case.name for case in whole.of_split("train").cases)


# ---- the table ------------------------------------------------------------------------------------------------------


def made_up(worse_by: float) -> Results:
    """Two settings and seeds, three stages; cases differ far more than the settings do."""
    cases = np.array([1.0, 5.0, 20.0])

    def stages(seed: int, more: float) -> list[Stage]:
        return [
            Stage(corrected, 10 * corrected, cases + seed - corrected / 10 + more * (corrected > 0), 2.0 + seed)
            for corrected in (0, 10, 20)
        ]

    results = {name: {seed: stages(seed, more) for seed in (1, 2)} for name, more in ((BASE, 0.0), ("anew", worse_by))}
    results["anew"][3] = stages(3, 100.0)[:2]  # not done yet
    return results


def test_differences_to_the_base_are_paired_over_cases_and_seeds() -> None:
    rows = table_of(made_up(0.5)).splitlines()[2:]
    assert len(rows) == 3 + 2
    assert rows[0] == f"| {TITLES[BASE]} | 0 | 0 | 10.17 ± 0.71 |  | 3.50 |"
    assert rows[2].startswith(f"| {TITLES[BASE]} | 20 | 200 | 8.17 ± 0.71 |  |")
    # However much cases and seeds differ, each is half a millimetre worse.
    assert rows[3] == f"| {TITLES['anew']} | 10 | 100 | 9.67 ± 0.71 | +0.50 [+0.50, +0.50] | 3.50 |"


def test_the_interval_is_as_wide_as_cases_and_seeds_disagree() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(5, 3, (3, 40))
    of_cases = np.tile(rng.normal(1, 1, 40), (3, 1))
    of_seeds = np.tile([[-1.0], [1.0], [3.0]], (1, 40))
    widths = []
    for differences in (of_cases, of_cases + of_seeds - 1):
        mean, low, high = paired(base, base + differences)
        assert mean == pytest.approx(differences.mean())
        assert low < mean < high
        widths.append(high - low)
    # A mean of 40 cases of deviation 1 has an interval of 2 x 1.96 / sqrt(40).
    assert widths[0] == pytest.approx(2 * 1.96 * of_cases[0].std() / np.sqrt(40), rel=0.15)
    assert widths[1] > 2 * widths[0]


def test_the_picture_shows_every_setting_there_can_be(tmp_path: Path) -> None:
    one = made_up(0.5)[BASE]
    draw_curves(dict.fromkeys(study.SETTINGS, one), tmp_path / "all.png")
    draw_curves({BASE: one}, tmp_path / "plots" / "base.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("all.png", "plots/base.png")]
    assert sizes[0] > sizes[1] > 5000
