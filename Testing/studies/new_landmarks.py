"""``python -m Testing.studies.new_landmarks``: new landmarks as a person gives them, through sessions of a library.

The model was trained without every fourth landmark. Ten of these are defined by their true position, each in one
training image, and looked up in all test images; beside it the mean position over the training images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.look_up_everywhere import look_up_everywhere
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.data import Case, Dataset, read_dataset
from training.metrics import bootstrap_ci95
from training.new_landmark_cases import from_relative, mean_position

PER_STRUCTURE = 2
WHO = "study"


def held_back(dataset: Dataset, known: set[str]) -> list[str]:
    """Two landmarks of each structure that the model was not trained on, apart from each other."""
    chosen = []
    for structure in dataset.structures:
        names = [dataset.landmark_names[i] for i in dataset.landmarks_of(structure)]
        new = [name for name in names if name not in known]
        chosen += [new[(2 * i + 1) * len(new) // (2 * PER_STRUCTURE)] for i in range(PER_STRUCTURE)]
    return chosen


def main() -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.new_landmarks", description=__doc__)
    parser.add_argument("--model", required=True, help="a model trained without some landmarks of the data")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data)
    bundle = load_bundle(find_bundle(arguments.model))
    names = held_back(dataset, set(bundle.template.landmark_names))
    columns = [dataset.landmark_names.index(name) for name in names]
    train = [case for case in dataset.of_split("train").cases if np.isfinite(case.points_px[columns]).all()]
    test = list(dataset.of_split("test").cases)
    predictor = open_bundle(bundle, "cpu")
    with tempfile.TemporaryDirectory(prefix="new-landmarks-") as folder:
        library = Library.create(Path(folder) / "library", "study")

        def open_case(case: Case) -> tuple[LibraryCase, Session]:
            """The case in the library, predicted."""
            kept = library.add(case.image_path, who=WHO, spacing_mm=case.spacing_mm)
            session = Session(kept, WHO, data_folder=Path(folder) / "user")
            image, _ = kept.read_image()
            session.take(ModelAnswer(predictor.predict(image), bundle.template, bundle.styles), image.geometry)
            return kept, session

        defining = train[:: len(train) // len(names)][: len(names)]
        for name, column, case in zip(names, columns, tqdm(defining, desc="defining", leave=False), strict=True):
            _, session = open_case(case)
            point = lps_mm_from_pixels(session.state.geometry, case.points_px[[column]])[0]
            session.define_landmark(name, point, structure=dataset.landmark_structures[column])
            session.save()
            session.close()
        where = {}
        for case in tqdm(test, desc="predicting", leave=False):
            kept, session = open_case(case)
            session.save()
            session.close()
            where[kept.id] = case
        looked_up = np.full((len(test), len(names)), np.nan)
        expected = np.full((len(test), len(names)), np.nan)
        for result in look_up_everywhere(library, WHO):
            if result.case not in where:
                continue
            case = where[result.case]
            row = test.index(case)
            state, _ = library.case(result.case).load()
            truth = lps_mm_from_pixels(state.geometry, case.points_px[columns])
            found = state.landmarks.points_lps_mm[state.landmarks.index_of(names)]
            looked_up[row] = np.linalg.norm(found - truth, axis=1)
            assert result.found is not None
            order = [landmark.name for landmark in result.landmarks]
            expected[row] = result.found.error_mm[[order.index(name) for name in names]]
    mean = mean_position(train, lambda case: case.points_px[columns])
    baseline = np.stack(
        [
            np.linalg.norm((from_relative(case, mean) - case.points_px[columns]) * np.array(case.spacing_mm), axis=1)
            for case in test
        ]
    )
    print(f"{predictor.name} {predictor.version}, {len(test)} test images of {dataset.name}; TRE mm\n")
    print("| landmark | defined in | looked up | expected by the model | mean shape |\n|---|---|---|---|---|")
    for i, (name, case) in enumerate(zip(names, defining, strict=True)):
        figures = (np.nanmean(column[:, i]) for column in (looked_up, expected, baseline))
        print(f"| {name} | {case.name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    cells = []
    for column in (looked_up, expected, baseline):
        per_case = np.nanmean(column, axis=1)
        low, high = bootstrap_ci95(per_case)
        cells.append(f"**{per_case.mean():.2f}** [{low:.2f}, {high:.2f}]")
    print(f"| average [95 % ci] | | {' | '.join(cells)} |")
    better = int((np.nanmean(looked_up, axis=1) < baseline.mean(axis=1)).sum())
    print(
        f"\n{np.isfinite(looked_up).sum()} of {looked_up.size} found; better than the mean shape in {better} of {len(test)} images"
    )
    return 0 if np.nanmean(looked_up) < baseline.mean() else 1


if __name__ == "__main__":
    sys.exit(main())
