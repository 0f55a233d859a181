"""``python -m Testing.studies.presence``: does a model for volumes notice that a landmark is not in the volume?

Volumes as they are, with what the data set itself says to be absent, and cut as :mod:`training.cut_volumes` does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import open_predictor
from training.cut_volumes import cut_volumes
from training.measure_volume import read_volume_case
from training.metrics import bootstrap_pooled_ci95
from training.volume_data import read_volume_dataset


def said_present(predictor: Predictor, image: MedicalImage, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which landmarks (N,) the model says to be there."""
    found = predictor.predict(image).landmarks
    presence = dict(zip(found.names, found.presence, strict=True))
    return np.array([presence[name] is Presence.PRESENT for name in names], bool)


def share(name: str, of_cases: list[tuple[int, int]]) -> str:
    """A row: how many of how many in all cases together, and the interval of that share, resampling cases."""
    counts = np.array(of_cases, np.float64)
    hits, total = counts.sum(axis=0)
    if total == 0:
        return f"| {name} | none | - |"
    low, high = bootstrap_pooled_ci95(counts[:, 0], counts[:, 1])
    return f"| {name} | {int(hits)} of {int(total)} ({hits / total:.1%}) | {low:.1%} to {high:.1%} |"


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print its table."""
    dataset = read_volume_dataset(arguments.data).of_split(arguments.split)
    predictor = open_predictor(arguments.model, "cpu")
    whole: list[tuple[int, int]] = []
    kept: list[tuple[int, int]] = []
    alarms: list[tuple[int, int]] = []
    stated: list[tuple[int, int]] = []
    for number, case in enumerate(tqdm(dataset.cases, unit="case", file=sys.stderr)):
        of_case: list[list[NDArray[np.bool_]]] = [[], [], [], []]
        whole_volume = read_volume_case(case)
        there = np.where(np.isfinite(case.points_lps_mm).all(axis=1), 1.0, np.where(case.absent, 0.0, np.nan))
        looks = [(whole_volume, there), *cut_volumes(whole_volume, case.points_lps_mm, case.absent, number)]
        for look, (image, truth) in enumerate(looks):
            present = said_present(predictor, image, dataset.landmark_names)
            of_case[0 if look == 0 else 1].append(present[truth == 1])
            of_case[2 if look == 0 else 3].append(present[truth == 0])
        for total, parts in zip((whole, kept, stated, alarms), of_case, strict=True):
            said = np.concatenate(parts) if parts else np.zeros(0, bool)
            total.append((int(said.sum()), len(said)))
    print(f"{predictor.name} {predictor.version} on {len(dataset.cases)} volumes of {dataset.name} {arguments.split}\n")
    print("| | said to be present | 95 % over cases |\n|---|---|---|")
    print(share("present, whole volumes (sensitivity)", whole))
    print(share("present, cut volumes (sensitivity)", kept))
    print(share("absent, whole volumes (false alarms)", stated))
    print(share("absent, cut volumes (false alarms)", alarms))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; a person's mistake is told in one line with status 2."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.presence", description=__doc__)
    parser.add_argument("--model", required=True, help="a model for volumes")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    return exit_status(lambda: run(parser.parse_args(argv)), resumes=False)


if __name__ == "__main__":
    sys.exit(main())
