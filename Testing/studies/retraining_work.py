"""One way to work with one seed: an annotator who corrects case after case, and the models that learn from it."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import Order
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import open_bundle
from Testing.studies.annotator import PointOrder, review_case, slips_lps_mm
from Testing.studies.retraining_table import Stage
from training.data import Case, Dataset
from training.dense_shape_recipe import DenseShapeRecipe
from training.finetune import finetune
from training.finetuning.recipe import FinetuneRecipe
from training.finetuning.request import FinetuneRequest
from training.fit import fit
from training.grid_cases import load_grid_cases, save_grid_cases
from training.results_file import ResultsFile

Learning = Literal["on", "anew", "anew-as-long", "uncorrected"]

logger = logging.getLogger(__name__)
WHO = "simulated annotator"


@dataclass(frozen=True)
class RetrainingStudy:
    """What all settings share: the first model's recipe and number of cases, how many are corrected in all, and the seeds."""

    recipe: DenseShapeRecipe
    finetune: FinetuneRecipe
    first_cases: int
    corrected: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """One way to work: how cases and landmarks come, whether neighbours move along, how the next model is made.

    The last model learns ``"on"``, or another begins ``"anew"`` with random weights and has as many steps as the first model
    had, or (``"anew-as-long"``) as many as models that learn on had in all by then; those has the model that learns
    ``"uncorrected"``, too, from the first cases alone: what steps without corrections are worth. Without ``replay`` the
    cases of the first model are not at hand, as with a model that somebody else trained.
    """

    cases: Order | Literal["worst"] = "doubt"
    points: PointOrder = "doubt"
    strength: float = 1.0
    learning: Learning = "on"
    replay: bool = True


@dataclass(frozen=True)
class Work:
    """One setting and seed, in a folder of its own.

    Attributes
    ----------
    part : what is reported on: ``test``, or a fold of ``train``.
    data : the folder of all cases.
    pool, reported : what there is to correct, and what models are measured on; as are the cases of ``first``.
    start, packed : the folder of the first model, and what it learned from.
    results : of all works that are done.
    """

    study: RetrainingStudy
    setting: Setting
    seed: int
    folder: Path
    part: str
    data: Path
    pool: Dataset
    first: Dataset
    reported: Dataset
    start: Path
    packed: Path
    results: ResultsFile

    @property
    def name(self) -> str:
        """Of its results."""
        return f"{self.part}/seed-{self.seed}/{self.folder.name}"

    def _result(self) -> dict[str, Any] | None:
        """What it came to, where it is whole; raises :class:`InputError` where another study did."""
        line = self.results.lines().get(self.name)
        if line is not None and line["study"] != plain(self.study):
            raise InputError(
                f"expected the results of this study in {self.results.path}, but {self.name} is of another. Give another --results."
            )
        return line

    def stages(self) -> list[Stage]:
        """Those that are done, in their order."""
        return [
            Stage(raw["corrected"], raw["drags"], np.array(raw["errors_mm"]), raw["first_mm"]) for raw in self._stages()
        ]

    def _stages(self) -> list[dict[str, Any]]:
        whole = self._result()
        if whole is not None:
            return list(whole["stages"])
        paths = [self._stage(corrected) for corrected in (0, *self.study.corrected)]
        return [json.loads(path.read_text()) for path in takewhile(Path.is_file, paths)]

    def run(self, deadline: float) -> bool:
        """All stages that are not done yet; false when time runs out first."""
        if self._result() is not None:
            return True
        if time.monotonic() > deadline:
            return False
        self._learn_first()
        model = self.start / "bundle"
        for corrected in (0, *self.study.corrected):
            made = self.folder / f"model-{corrected}"
            if not self._stage(corrected).is_file():
                if time.monotonic() > deadline:
                    return False
                if corrected and self.setting.learning == "uncorrected":
                    fit(self._recipe(self._steps_by(corrected)), self.packed, made, resume=True)
                elif corrected:
                    self._correct(load_bundle(model), corrected)
                    self._learn(model, made, corrected)
                self._measure(made / "bundle" if corrected else model, corrected)
            model = made / "bundle" if corrected else model
        self.results.add(self.name, {"stages": self._stages(), "study": plain(self.study)})
        return True

    def _learn_first(self) -> None:
        """The first model of a seed, where no setting has made it yet."""
        recipe = self._recipe(self.study.recipe.optimiser.steps)
        if not self.packed.is_file():
            cases = load_grid_cases(self.data, recipe.target.grid)
            save_grid_cases(self.packed, cases.select(np.isin(cases.names, [case.name for case in self.first.cases])))
        if not (self.start / "bundle").is_dir():
            fit(recipe, self.packed, self.start, resume=True)

    def _recipe(self, steps: int) -> DenseShapeRecipe:
        optimiser = replace(self.study.recipe.optimiser, steps=steps)
        return replace(self.study.recipe, seed=self.seed, optimiser=optimiser)

    def _steps_by(self, corrected: int) -> int:
        """How many a model that learns on has had by then, those of the first model included."""
        times = self.study.corrected.index(corrected) + 1
        return self.study.recipe.optimiser.steps + times * self.study.finetune.steps

    def _stage(self, corrected: int) -> Path:
        return self.folder / f"{corrected}.json"

    def _library(self) -> Library:
        """All cases of the pool, under their own names."""
        folder = self.folder / "library"
        library = Library.open(folder) if (folder / "library.json").is_file() else Library.create(folder, "study")
        known = {entry.name for entry in library.cases()}
        for case in self.pool.cases:
            if case.name not in known:
                library.add(case.image_path, spacing_mm=case.spacing_mm)
        return library

    def _correct(self, bundle: Bundle, corrected: int) -> None:
        """Go through cases until ``corrected`` are done; what an interrupted stage did stays."""
        library = self._library()
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
        if self.setting.cases == "random":  # by name: ids are drawn anew for each library, the order would be, too
            names = {entry.name: entry.id for entry in library.cases() if entry.id not in done}
            return names[
                min(names, key=lambda name: np.random.default_rng((self.seed, zlib.crc32(name.encode()))).random())
            ]
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
        if self.setting.learning != "on":
            as_long = self.setting.learning == "anew-as-long"
            steps = self._steps_by(corrected) if as_long else self.study.recipe.optimiser.steps
            share = len(self.first.cases) / (len(self.first.cases) + corrected)
            options = replace(options, anew=True, steps=steps, learning_rate_share=1.0, replay_share=share)
        request = FinetuneRequest(
            model=str(model),
            library=self.folder / "library",
            output=output,
            options=options,
            replay=self.packed if self.setting.replay else None,
            resume=(output / "run.json").is_file(),
            activate=False,
            data_folder=self.folder / "user",
        )
        if not finetune(request):  # Ctrl+C ends it with a checkpoint, and the study with it
            raise KeyboardInterrupt

    def _measure(self, model: Path, corrected: int) -> None:
        predictor = open_bundle(load_bundle(model), "cpu")
        errors, first = (case_errors_mm(predictor, dataset) for dataset in (self.reported, self.first))
        path = self.folder / "drags.json"
        drags = sum(json.loads(path.read_text()).values()) if corrected and path.is_file() else 0
        measured = {"corrected": corrected, "drags": drags, "errors_mm": errors.round(4).tolist()}
        write_json(self._stage(corrected), {**measured, "first_mm": round(float(first.mean()), 4)})
        logger.info("%s, %d cases corrected: %.2f mm", self.folder.name, corrected, errors.mean())


def plain(study: RetrainingStudy) -> dict[str, Any]:
    """A study as JSON gives it back, without the seeds, of which there may be more one day."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(study)))
    values.pop("seeds")
    return values


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
