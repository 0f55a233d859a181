"""``python -m Testing.studies.time_to_landmarks``: from the request for a prediction until its landmarks are in the case.

A warm worker, radiographs as they are, through a session whose journal is on the disk; medians over the images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.prediction_request import PredictionRequest
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.events import Seconds
from training.data import read_dataset


def main() -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.time_to_landmarks", description=__doc__)
    parser.add_argument("--model", default="chest-xray")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    cases = read_dataset(arguments.data).of_split("test").cases
    parts, totals = [], []
    with tempfile.TemporaryDirectory(prefix="time-") as folder, Worker() as worker, worker.client() as client:
        library = Library.create(Path(folder) / "library", "study")
        for number, case in enumerate((cases[0], *cases)):
            kept = library.add(case.image_path, spacing_mm=case.spacing_mm)
            image, _ = kept.read_image()
            session = Session(kept, "study", data_folder=Path(folder) / "user")
            asked = time.perf_counter()
            request = PredictionRequest(session, client, image, arguments.model, device=arguments.device)
            while not request.poll().finished:
                worker.wait(1.0)
            total = time.perf_counter() - asked
            if request.status.seconds is None:
                raise RuntimeError(request.status.problem)
            session.close()
            if number:  # the first one opened the model
                parts.append(astuple(request.status.seconds))
                totals.append(total)
    median = np.median(np.array(parts), axis=0) * 1000
    rest = 1000 * float(np.median(np.array(totals) - np.array(parts).sum(axis=1)))
    print(f"{len(totals)} test images, medians in ms\n\n| part | ms |\n|---|---|")
    for field, value in zip(fields(Seconds), median, strict=True):
        print(f"| {field.name} | {value:.1f} |")
    print(f"| asking, and taking it into the case (propagation, journal on the disk) | {rest:.1f} |")
    low, high = 1000 * np.percentile(totals, [5, 95])
    print(f"| **all** (5 to 95 % of images: {low:.0f} to {high:.0f}) | **{1000 * np.median(totals):.0f}** |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
