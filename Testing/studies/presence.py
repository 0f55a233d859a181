"""``python -m Testing.studies.presence``: does a model for volumes notice that a landmark is not in the volume?

Each volume is cut, for every annotated landmark once, so that this one lies 11 to 40 mm outside: that is truly absent. Other
landmarks count as present where the cut volume still shows them, as absent more than 10 mm outside, and not at all between.
Beside them the volumes as they are, with what the data set itself says to be absent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import open_predictor
from training.measure_volume import read_volume_case
from training.metrics import bootstrap_ci95
from training.volume_data import VolumeCase, read_volume_dataset

ABSENT_MM = 10.0
BEYOND_MM = (11.0, 40.0)
# Less than this much of the volume along the cut axis is no scan that anybody would make.
LEAST_LEFT_MM = 60.0


def cut_away(
    image: MedicalImage, point_lps_mm: NDArray[np.float64], rng: np.random.Generator
) -> tuple[MedicalImage, int, int, bool] | None:
    """The volume cut across one of its axes so that a point lies outside; the axis, the first voxel left out, whether it is above.

    ``None`` where too little would be left, whichever side is kept.
    """
    volume = image.volume
    size, spacing = np.array(volume.GetSize()), np.array(volume.GetSpacing())
    index = np.array(volume.TransformPhysicalPointToContinuousIndex(point_lps_mm.tolist()))
    ways = []
    for axis in range(3):
        beyond = rng.uniform(*BEYOND_MM) / spacing[axis]
        for above, left in ((True, index[axis] - beyond), (False, size[axis] - 1 - index[axis] - beyond)):
            if left * spacing[axis] >= LEAST_LEFT_MM:
                ways.append((axis, above, beyond))
    if not ways:
        return None
    axis, above, beyond = ways[rng.integers(len(ways))]
    start, kept = [0, 0, 0], size.tolist()
    if above:
        edge = int(np.floor(index[axis] - beyond))
        kept[axis] = edge
    else:
        edge = int(np.ceil(index[axis] + beyond))
        start[axis], kept[axis] = edge, int(size[axis]) - edge
    return replace(image, volume=sitk.RegionOfInterest(volume, kept, start)), axis, edge, above


def truth_after(
    image: MedicalImage, points_lps_mm: NDArray[np.float64], axis: int, edge: int, above: bool
) -> NDArray[np.float64]:
    """1 where a landmark (N, 3) is still in the cut volume, 0 where it is truly absent, NaN between and where unknown."""
    volume = image.volume
    truth = np.full(len(points_lps_mm), np.nan)
    for row, point in enumerate(points_lps_mm):
        if np.isfinite(point).all():
            along = volume.TransformPhysicalPointToContinuousIndex(point.tolist())[axis]
            outside_mm = (along - (edge - 0.5) if above else edge - 0.5 - along) * volume.GetSpacing()[axis]
            truth[row] = 1.0 if outside_mm <= 0 else 0.0 if outside_mm > ABSENT_MM else np.nan
    return truth


def looks(case: VolumeCase, seed: int) -> Iterator[tuple[MedicalImage, NDArray[np.float64]]]:
    """The volume of a case as it is and once cut for each landmark, with what is true of each landmark (N,)."""
    image = read_volume_case(case)
    known = np.isfinite(case.points_lps_mm).all(axis=1)
    yield image, np.where(known, 1.0, np.where(case.absent, 0.0, np.nan))
    for row in np.flatnonzero(known).tolist():
        cut = cut_away(image, case.points_lps_mm[row], np.random.default_rng((seed, row)))
        if cut is not None:
            smaller, axis, edge, above = cut
            truth = truth_after(image, case.points_lps_mm, axis, edge, above)
            yield smaller, np.where(case.absent, 0.0, truth)


def said_present(predictor: Predictor, image: MedicalImage, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which landmarks (N,) the model says to be there."""
    found = predictor.predict(image).landmarks
    presence = dict(zip(found.names, found.presence, strict=True))
    return np.array([presence[name] is Presence.PRESENT for name in names], bool)


def share(name: str, of_cases: list[tuple[int, int]]) -> str:
    """A row: how many of how many, and the interval over cases."""
    counts = np.array(of_cases, np.float64)
    counts = counts[counts[:, 1] > 0]
    if not len(counts):
        return f"| {name} | none | - |"
    low, high = bootstrap_ci95(counts[:, 0] / counts[:, 1])
    hits, total = counts.sum(axis=0)
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
        for look, (image, truth) in enumerate(looks(case, number)):
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
    return exit_status(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
