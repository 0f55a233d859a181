"""``python -m Testing.studies.retraining``: do corrections make the next model better, and what about them does?

A model learns from 20 training cases. A simulated annotator then goes through 10, 20 and 40 more in real sessions: landmark by
landmark as the model doubts them, those that are more than 3 mm off are dragged to where they belong, by a hand that is off by
1 mm across and 2 mm along the contour, the others accepted. After each number of cases the next model learns from the library.
Against this base setting, one factor at a time: cases and landmarks in random order, no propagation, a model that is trained
anew (as long as the first, or as long as all steps together), one that has as many steps and no corrections, one that does not
see the first cases again; and the upper bound of an oracle, to whom the worst cases and landmarks come first.

What is done is not done again, and what was begun is gone on with; of a setting and seed that are whole the line in --results
is enough. With ``--fold`` the cases of that fold of ``train`` are
reported on instead of ``test``, and none of them is learned from: choices are made there.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.files import write_text
from Testing.studies.retraining_table import BASE, ORACLE, Stage, draw_curves, table_of
from Testing.studies.retraining_work import RetrainingStudy, Setting, Work
from training.data import read_dataset
from training.recipe_values import build_from, read_values
from training.results_file import ResultsFile

FOLDS = 5
SETTINGS = {
    BASE: Setting(),
    "random": Setting("random", "random"),
    "no-propagation": Setting(strength=0.0),
    "anew": Setting(learning="anew"),
    "anew-as-long": Setting(learning="anew-as-long"),
    "uncorrected": Setting(learning="uncorrected"),
    "no-replay": Setting(replay=False),
    ORACLE: Setting("worst", "worst"),
}


def works(study: RetrainingStudy, data: Path, fold: int | None, output: Path, results: ResultsFile) -> Iterator[Work]:
    """Every setting and seed, the first seed of all settings first."""
    dataset = read_dataset(data)
    train = dataset.of_split("train")
    part, reported = "test", dataset.of_split("test")
    if fold is not None:
        part = f"fold-{fold}"
        train, reported = train.fold(fold, FOLDS)
    for seed in study.seeds:
        order = np.random.default_rng(seed).permutation(len(train.cases))
        first = replace(train, cases=tuple(train.cases[row] for row in order[: study.first_cases]))
        pool = replace(train, cases=tuple(train.cases[row] for row in order[study.first_cases :]))
        folder = output / f"seed-{seed}"
        start, packed = folder / "first-model", folder / "first-cases.npz"
        for name, setting in SETTINGS.items():
            yield Work(study, setting, seed, folder / name, part, data, pool, first, reported, start, packed, results)


def run(arguments: argparse.Namespace) -> int:
    """Run the study as far as time allows, print its table; 0 when it is whole, 3 when time ran out first."""
    study: RetrainingStudy = build_from(RetrainingStudy, read_values(arguments.study), "study")
    deadline = time.monotonic() + 60 * arguments.max_minutes
    found: dict[str, dict[int, list[Stage]]] = {}
    whole = True
    results = ResultsFile(arguments.results or arguments.output / "results.jsonl")
    for work in works(study, arguments.data, arguments.fold, arguments.output, results):
        name = work.folder.name
        if not arguments.settings or name in arguments.settings:
            whole = work.run(deadline) and whole
        found.setdefault(name, {})[work.seed] = work.stages()
    table = table_of(found)
    write_text(arguments.output / "retraining.md", table)
    draw_curves(found, arguments.output / "retraining.png")
    print(table)
    return 0 if whole else 3


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; a person's mistake is told in one line with status 2."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.retraining", description=__doc__)
    parser.add_argument("study", type=Path, help="TOML file, see training/recipes/retraining")
    parser.add_argument("--data", type=Path, required=True, help="data folder of radiographs")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs; go on by giving it again")
    parser.add_argument("--results", type=Path, help="what runs came to, by default results.jsonl in --output")
    parser.add_argument("--fold", type=int, help="report on this fold of train instead of test")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), help="only these")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop after this time, with status 3")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: run(arguments), resumes=False)


if __name__ == "__main__":
    sys.exit(main())
