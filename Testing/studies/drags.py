"""``python -m Testing.studies.drags``: a simulated annotator corrects the test cases through real sessions.

The worst landmark is dragged to where it belongs, again and again, until the mean error of a case is below 2 mm; with
and without propagation, by an exact hand and by one that is off by 1 mm across and 2 mm along the contour. Told are
drags, corrections that were refused because they would turn a structure over, and how long a command takes until its
edit is on the disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from Testing.studies.annotator import slips_lps_mm
from training.data import read_dataset
from training.propagation import GOOD_ENOUGH_MM

FloatArray = NDArray[np.float64]


@dataclass
class Tally:
    """What one kind of annotator did in all cases."""

    drags: list[int] = field(default_factory=list)
    reached: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)


def correct(session: Session, truth_lps_mm: FloatArray, slips: FloatArray, tally: Tally) -> None:
    """Drag the worst landmark until the case is good; none is dragged twice."""
    names, tried = session.state.landmarks.names, np.zeros(len(truth_lps_mm), bool)
    drags = 0
    while not tried.all():
        error = np.linalg.norm(session.state.landmarks.points_lps_mm - truth_lps_mm, axis=1)
        if error.mean() < GOOD_ENOUGH_MM:
            tally.reached += 1
            break
        worst = int(np.where(tried, -1, error).argmax())
        tried[worst] = True
        before = time.perf_counter()
        try:
            session.move({names[worst]: truth_lps_mm[worst] + slips[worst]})
        except InputError:
            tally.refused += 1
            continue
        tally.seconds.append(time.perf_counter() - before)
        drags += 1
    tally.drags.append(drags)


def main() -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.drags", description=__doc__)
    parser.add_argument("--model", default="chest-xray")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data).of_split(arguments.split)
    bundle = load_bundle(find_bundle(arguments.model))
    predictor = open_bundle(bundle, "cpu")
    tallies = {(hand, strength): Tally() for hand in ("exact", "noisy") for strength in (0.0, 1.0)}
    with tempfile.TemporaryDirectory(prefix="drags-") as folder:
        library = Library.create(Path(folder) / "library", "study")
        for case in tqdm(dataset.cases, leave=False):
            kept = library.add(case.image_path, spacing_mm=case.spacing_mm)
            image, _ = kept.read_image()
            answer = ModelAnswer(predictor.predict(image), bundle.template, bundle.styles)
            names = answer.prediction.landmarks.names
            columns = [dataset.landmark_names.index(name) for name in names]
            truth = lps_mm_from_pixels(image.geometry, case.points_px[columns])
            slips = slips_lps_mm(dataset, case, names, image.geometry.axes_lps)
            for (hand, strength), tally in tallies.items():
                session = Session(kept, "study", revision=0, data_folder=Path(folder) / "user")
                session.take(answer, image.geometry)
                session.set_strength(strength)
                correct(session, truth, slips * (hand == "noisy"), tally)
                session.close()
    print(f"{predictor.name} {predictor.version}, {len(dataset.cases)} {arguments.split} images of {dataset.name}\n")
    print("| hand | propagation | drags until under 2 mm | cases that got there | refused | command ms: median, p95 |")
    print("|---|---|---|---|---|---|")
    for (hand, strength), tally in tallies.items():
        median, p95 = np.percentile(np.array(tally.seconds) * 1000, [50, 95])
        asked = len(tally.seconds) + tally.refused
        print(
            f"| {hand} | {'with' if strength else 'without'} | {np.mean(tally.drags):.1f} | {tally.reached} of "
            f"{len(dataset.cases)} | {tally.refused} of {asked} | {median:.1f}, {p95:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
