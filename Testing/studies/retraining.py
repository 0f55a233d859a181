"""``python -m Testing.studies.retraining``: do corrections make the next model better, and what about them does?

A model learns from 20 training cases. A simulated annotator then goes through 10, 20 and 40 more in real sessions: landmark by
landmark as the model doubts them, those that are more than 3 mm off are dragged to where they belong, by a hand that is off by
1 mm across and 2 mm along the contour, the others accepted. After each number of cases the next model learns from the library.
Against this base setting, one factor at a time: cases and landmarks in random order, no propagation, a model that is trained
anew, one that does not see the first cases again; and the upper bound of an oracle, to whom the worst cases and landmarks come first.

What is done is not done again, and what was begun is gone on with. With ``--fold`` the cases of that fold of ``train`` are
reported on instead of ``test``, and none of them is learned from: choices are made there.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import Order
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.files import write_json, write_text
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import open_bundle
from Testing.studies.annotator import PointOrder, review_case, slips_lps_mm
from Testing.studies.retraining_table import BASE, ORACLE, Stage, draw_curves, table_of
from training.data import Case, Dataset, read_dataset
from training.finetune import finetune
from training.finetuning.recipe import FinetuneRecipe
from training.finetuning.request import FinetuneRequest
from training.fit import fit
from training.grid_cases import load_grid_cases, save_grid_cases
from training.recipe import Recipe, build_from, read_values

logger = logging.getLogger(__name__)
WHO = "simulated annotator"
FOLDS = 5


@dataclass(frozen=True)
class RetrainingStudy:
    """What all settings share: the first model's recipe and number of cases, how many are corrected in all, and the seeds."""

    recipe: Recipe
    finetune: FinetuneRecipe
    first_cases: int
    corrected: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """One way to work: how cases and landmarks come, whether neighbours move along, how the next model is made.

    Without ``replay`` the cases of the first model are not at hand, as with a model that somebody else trained.
    """

    cases: Order | Literal["worst"] = "doubt"
    points: PointOrder = "doubt"
    strength: float = 1.0
    anew: bool = False
    replay: bool = True


SETTINGS = {
    BASE: Setting(),
    "random": Setting("random", "random"),
    "no-propagation": Setting(strength=0.0),
    "anew": Setting(anew=True),
    "no-replay": Setting(replay=False),
    ORACLE: Setting("worst", "worst"),
}


@dataclass(frozen=True)
class Work:
    """One setting and seed, in a folder of its own.

    Attributes
    ----------
    pool, reported : what there is to correct, and what models are measured on; as are the cases of ``first``.
    start, packed : the first model, and what it learned from.
    """

    study: RetrainingStudy
    setting: Setting
    seed: int
    folder: Path
    pool: Dataset
    first: Dataset
    reported: Dataset
    start: Path
    packed: Path

    def stages(self) -> list[Stage]:
        """Those that are done, in their order."""
        found = []
        for corrected in (0, *self.study.corrected):
            path = self._stage(corrected)
            if not path.is_file():
                break
            raw = json.loads(path.read_text())
            found.append(Stage(raw["corrected"], raw["drags"], np.array(raw["errors_mm"]), raw["first_mm"]))
        return found

    def run(self, deadline: float) -> bool:
        """All stages that are not done yet; false when time runs out first."""
        library, model = self._library(), self.start
        for corrected in (0, *self.study.corrected):
            made = self.folder / f"model-{corrected}"
            if not self._stage(corrected).is_file():
                if time.monotonic() > deadline:
                    return False
                if corrected:
                    self._correct(library, load_bundle(model), corrected)
                    self._learn(model, made, corrected)
                self._measure(made / "bundle" if corrected else model, corrected)
            model = made / "bundle" if corrected else model
        return True

    def _stage(self, corrected: int) -> Path:
        return self.folder / f"{corrected}.json"

    def _library(self) -> Library:
        """All cases of the pool, under ids that name their images."""
        folder = self.folder / "library"
        library = Library.open(folder) if (folder / "library.json").is_file() else Library.create(folder, "study")
        known = {entry.name for entry in library.cases()}
        for case in self.pool.cases:
            if case.name not in known:
                library.add(case.image_path, spacing_mm=case.spacing_mm)
        return library

    def _correct(self, library: Library, bundle: Bundle, corrected: int) -> None:
        """Go through cases until ``corrected`` are done; what an interrupted stage did stays."""
        path = self.folder / "drags.json"
        drags: dict[str, int] = json.loads(path.read_text()) if path.is_file() else {}
        predictor = open_bundle(bundle, "cpu")
        for predicted in predict_cases(library, bundle, predictor, "model"):
            if predicted.problem:
                raise InputError(predicted.problem)
        for entry in library.cases():  # what was saved right before the end came is done too
            if entry.newest is not None and entry.newest.is_reviewed and entry.id not in drags:
                reviews = library.case(entry.id).load()[0].landmarks.review
                drags[entry.id] = sum(review in (Review.CORRECTED, Review.PLACED) for review in reviews)
                write_json(path, drags)
        while len(drags) < corrected:
            case_id = self._next(library, drags)
            drags[case_id] = self._review(library, case_id)
            write_json(path, drags)

    def _next(self, library: Library, done: Mapping[str, int]) -> str:
        if self.setting.cases != "worst":
            following = library.next_case(self.setting.cases, seed=self.seed)
            assert following is not None
            return following.id
        errors = {}
        for entry in library.cases():
            if entry.id not in done:
                state, _ = library.case(entry.id).load()
                truth = self._truth(entry.name, state.geometry, state.landmarks.names)[1]
                errors[entry.id] = float(np.nanmean(np.linalg.norm(state.landmarks.points_lps_mm - truth, axis=1)))
        return max(errors, key=lambda case_id: errors[case_id])

    def _review(self, library: Library, case_id: str) -> int:
        kept = library.case(case_id)
        session = Session(kept, WHO, data_folder=self.folder / "user")
        session.set_strength(self.setting.strength)
        names, geometry = session.state.landmarks.names, session.state.geometry
        case, truth = self._truth(kept.name, geometry, names)
        slips = slips_lps_mm(self.pool, case, names, geometry.axes_lps)
        rng = np.random.default_rng((self.seed, zlib.crc32(case.name.encode())))
        drags = review_case(session, truth, slips, self.setting.points, rng)
        session.save()
        session.close()
        return drags

    def _truth(self, name: str, geometry: ImageGeometry, names: tuple[str, ...]) -> tuple[Case, NDArray[np.float64]]:
        case = next(case for case in self.pool.cases if case.name == name)
        return case, truth_lps_mm(self.pool, case, geometry, names)

    def _learn(self, model: Path, output: Path, corrected: int) -> None:
        options = replace(self.study.finetune, seed=self.seed)
        if self.setting.anew:
            steps = self.study.recipe.optimiser.steps
            share = len(self.first.cases) / (len(self.first.cases) + corrected)
            options = replace(options, anew=True, steps=steps, learning_rate_share=1.0, replay_share=share)
        finetune(
            FinetuneRequest(
                model=str(model),
                library=self.folder / "library",
                output=output,
                options=options,
                replay=self.packed if self.setting.replay else None,
                resume=(output / "run.json").is_file(),
                activate=False,
                data_folder=self.folder / "user",
            )
        )

    def _measure(self, model: Path, corrected: int) -> None:
        predictor = open_bundle(load_bundle(model), "cpu")
        errors, first = (case_errors_mm(predictor, dataset) for dataset in (self.reported, self.first))
        path = self.folder / "drags.json"
        drags = sum(json.loads(path.read_text()).values()) if corrected else 0
        measured = {"corrected": corrected, "drags": drags, "errors_mm": errors.round(4).tolist()}
        write_json(self._stage(corrected), {**measured, "first_mm": round(float(first.mean()), 4)})
        logger.info("%s, %d cases corrected: %.2f mm", self.folder.name, corrected, errors.mean())


def truth_lps_mm(dataset: Dataset, case: Case, geometry: ImageGeometry, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Where landmarks (N, 3) of a case truly are."""
    columns = [dataset.landmark_names.index(name) for name in names]
    return lps_mm_from_pixels(geometry, case.points_px[columns])


def case_errors_mm(predictor: Predictor, dataset: Dataset) -> NDArray[np.float64]:
    """Mean error (M,) over the landmarks of each case; one that is called absent counts with its best guess."""
    errors = []
    for case in dataset.cases:
        image = read_image(case.image_path, case.spacing_mm)
        found = predictor.predict(image).landmarks
        truth = truth_lps_mm(dataset, case, image.geometry, found.names)
        errors.append(np.nanmean(np.linalg.norm(found.points_lps_mm - truth, axis=1)))
    return np.array(errors)


def works(study: RetrainingStudy, data: Path, fold: int | None, output: Path) -> Iterator[Work]:
    """Every setting and seed, the first seed of all settings first; a first model is trained where it is missing."""
    dataset = read_dataset(data)
    train = dataset.of_split("train")
    reported = dataset.of_split("test")
    if fold is not None:
        train, reported = train.fold(fold, FOLDS)
    for seed in study.seeds:
        order = np.random.default_rng(seed).permutation(len(train.cases))
        first = replace(train, cases=tuple(train.cases[row] for row in order[: study.first_cases]))
        pool = replace(train, cases=tuple(train.cases[row] for row in order[study.first_cases :]))
        folder = output / f"seed-{seed}"
        packed, start = folder / "first-cases.npz", folder / "first-model"
        recipe = replace(study.recipe, seed=seed)
        if not packed.is_file():
            cases = load_grid_cases(data, recipe.target.grid)
            save_grid_cases(packed, cases.select(np.isin(cases.names, [case.name for case in first.cases])))
        if not (start / "bundle").is_dir():
            fit(recipe, packed, start, resume=True)
        for name, setting in SETTINGS.items():
            yield Work(study, setting, seed, folder / name, pool, first, reported, start / "bundle", packed)


def run(arguments: argparse.Namespace) -> int:
    """Run the study as far as time allows, print its table; 0 when it is whole, 3 when time ran out first."""
    study: RetrainingStudy = build_from(RetrainingStudy, read_values(arguments.study), "study")
    deadline = time.monotonic() + 60 * arguments.max_minutes
    found: dict[str, dict[int, list[Stage]]] = {}
    whole = True
    for work in works(study, arguments.data, arguments.fold, arguments.output):
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
    parser.add_argument("--fold", type=int, help="report on this fold of train instead of test")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), help="only these")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop after this time, with status 3")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: run(arguments), resumes=False)


if __name__ == "__main__":
    sys.exit(main())
