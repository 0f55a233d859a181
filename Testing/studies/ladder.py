"""``python -m Testing.studies.ladder``: the six rows of table 1 of Ma, Gupta and Sabuncu 2020, on equal terms.

All rows learn from the same volumes, altered alike, for the same number of steps; the learning rate of each is searched for
on a fold of the training cases. Each run has a folder under --output and a line in --results: what is done is not done again,
what was begun is gone on with. So the study can be made in pieces, and its table anew without training. Whatever comes out is
told, next to the paper's own column.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.files import write_text
from Testing.studies.ladder_table import RowErrors, table_of
from training.baselines.kept_run import Kept, Result, chosen_rate, finish
from training.baselines.ladder import Ladder, Row, read_ladder, read_rows, recipe_of, run_of, whole_passes
from training.baselines.patch_network import PATCH
from training.read_volumes import read_volume_cases
from training.results_file import ResultsFile
from training.volume_cases import VolumeCases, load_packed_volumes, save_volume_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Cases that models learn from, and those that they are measured on."""

    name: str
    cases: VolumeCases
    held: VolumeCases


def read_cases(ladder: Ladder, data: Path, output: Path) -> VolumeCases:
    """The volumes at all levels that any row sees, packed once into the output folder unless they come packed."""
    packed = data if data.is_file() else output / "volumes.npz"
    if not packed.is_file():
        split = "train" if ladder.folds else None
        cases = read_volume_cases(data, ladder.spacings_mm, ladder.recipe.intensity, split)
        save_volume_cases(packed, cases)
    # As they are packed: the first piece of a study sees what later ones see.
    cases = load_packed_volumes(packed)
    if cases.spacings_mm != ladder.spacings_mm:
        raise InputError(
            f"expected volumes at {ladder.spacings_mm} mm in {packed}, got {cases.spacings_mm}. Give the folder, and another --output."
        )
    if cases.intensity not in (None, ladder.recipe.intensity):
        raise InputError(
            f"expected volumes in the window of {ladder.recipe.name} in {packed}, got others. Give the folder, and another --output."
        )
    return cases


def parts_of(ladder: Ladder, cases: VolumeCases) -> list[Part]:
    """The whole of ``train`` against ``test``, or each fold of ``train`` against the others."""
    train = cases.of_split("train")
    if not ladder.folds:
        return [Part("test", train, cases.of_split("test"))]
    return [Part(f"fold-{k}", *train.fold(k, ladder.folds)) for k in range(ladder.folds)]


def run_name(row: str, part: str, seed: int) -> str:
    """Of the run that counts."""
    return f"{row}/{part}/seed-{seed}"


def searched_rate(
    ladder: Ladder, name: str, row: Row, kept: Kept, cases: VolumeCases, device: str, deadline: float
) -> float | None:
    """The learning rate for a row, by the errors in a fold of ``cases``; None when time runs out first."""
    learn, look = cases.fold(0, ladder.search_folds)
    found: dict[float, float] = {}
    for rate in ladder.learning_rates:
        recipe = recipe_of(ladder, row, learn, rate, 0, ladder.search_steps)
        result = finish(run_of(kept, f"{name}/search-{rate:g}", row, recipe, learn, look), device, deadline)
        if result is None:
            return None
        found[rate] = result.mean_mm
    return chosen_rate(found)


def train_all(
    ladder: Ladder, rows: Mapping[str, Row], parts: list[Part], kept: Kept, device: str, deadline: float
) -> bool:
    """All runs that are not done yet, first all rows with one seed; whether none is left.

    Rates are searched for among what the models of the first part learn from, once for all parts: out of fold, the cases of
    the others are looked at for this one choice.
    """
    for seed in ladder.seeds:
        for part in parts:
            for name, row in rows.items():
                rate = searched_rate(ladder, name, row, kept, parts[0].cases, device, deadline)
                if rate is None:
                    return False
                recipe = recipe_of(ladder, row, part.cases, rate, seed, ladder.steps)
                run = run_of(kept, run_name(name, part.name, seed), row, recipe, part.cases, part.held)
                result = finish(run, device, deadline)
                if result is None:
                    return False
                logger.info(
                    "%s, %s, seed %d: %.2f mm in %.0f s", row.title, part.name, seed, result.mean_mm, result.seconds
                )
    return True


def errors_of(row: Row, results: list[list[Result]]) -> RowErrors:
    """All errors of a row, of ``results`` per seed and part."""
    return RowErrors(
        row.title,
        row.paper_mm,
        np.stack([np.concatenate([part.errors_mm for part in seed]) for seed in results]),
        tuple(part.learning_rate for seed in results for part in seed),
    )


def report(ladder: Ladder, rows: Mapping[str, Row], parts: list[Part], kept: Kept) -> str:
    """What is done so far, as Markdown."""
    done = []
    missing = []
    for name, row in rows.items():
        of_seeds = [[kept.result(run_name(name, part.name, seed)) for part in parts] for seed in ladder.seeds]
        whole = [[one for one in seed if one is not None] for seed in of_seeds]
        whole = [seed for seed in whole if len(seed) == len(parts)]
        if len(whole) < len(ladder.seeds):
            missing.append(f"{row.title} {len(whole)} of {len(ladder.seeds)} seeds")
        if whole:
            done.append(errors_of(row, whole))
    cases = parts[0].cases
    held = sum(len(part.held) for part in parts)
    where = f"{held} cases of train, out of fold ({ladder.folds})" if ladder.folds else f"{held} cases of test"
    levels = " / ".join(f"{spacing:g}" for spacing in ladder.recipe.levels.spacings_mm)
    batch = ladder.recipe.optimiser.batch
    steps = whole_passes(ladder.steps, len(cases), batch) * max(len(cases) // batch, 1)
    said = [
        f"{cases.data_name}: {len(cases.landmark_names)} landmarks, {where}; {len(cases)} cases to learn from, "
        f"{steps} steps of {batch}, channels "
        f"{'-'.join(map(str, ladder.recipe.network.channels))}; all scales {levels} mm, one scale "
        f"{ladder.single_scale_mm:g} mm, patches {PATCH * ladder.single_scale_mm:g} mm; multi-step trains each scale for its "
        "share of the steps\n"
    ]
    if missing:
        said.append(f"not done yet: {'; '.join(missing)}\n")
    if done:
        said.append(table_of(done, ladder.far_mm))
    return "\n".join(said) + "\n"


def run(arguments: argparse.Namespace) -> int:
    """Run the study as far as time allows and print its table; 0 when it is whole, 3 when time ran out first."""
    ladder, rows = read_ladder(arguments.ladder), read_rows()
    unknown = sorted(set(arguments.rows) - set(rows))
    if unknown:
        raise InputError(f"expected --rows among {', '.join(rows)}, got {', '.join(unknown)}. Correct them.")
    rows = {name: row for name, row in rows.items() if not arguments.rows or name in arguments.rows}
    deadline = time.monotonic() + 60 * arguments.max_minutes
    parts = parts_of(ladder, read_cases(ladder, arguments.data, arguments.output))
    kept = Kept(arguments.output, ResultsFile(arguments.results or arguments.output / "results.jsonl"))
    done = train_all(ladder, rows, parts, kept, arguments.device, deadline)
    table = report(ladder, rows, parts, kept)
    write_text(arguments.output / "ladder.md", table)
    print(table)
    return 0 if done else 3


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; a person's mistake is told in one line with status 2."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.ladder", description=__doc__)
    parser.add_argument("ladder", type=Path, help="TOML file of a data set, see training/recipes/ladder")
    parser.add_argument(
        "--data", type=Path, required=True, help="data folder, not read again once it is packed; or that file"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs; go on by giving it again")
    parser.add_argument("--results", type=Path, help="what runs came to, by default results.jsonl in --output")
    parser.add_argument("--rows", nargs="+", default=(), metavar="ROW", help="only these, by their files' names")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop after this time, with status 3")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
