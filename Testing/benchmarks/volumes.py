"""``python -m Testing.benchmarks.volumes``: time and memory of the multi-scale network against one at 1 mm alone.

Each prediction has a process of its own, whose largest memory the system keeps.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk
import torch

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.multi_scale import MultiScaleLocNet
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor

ROOT = Path(__file__).resolve().parents[2]
# The paper's levels, and what it compares with: one network that sees all of the volume at 1 mm (table 1).
LEVELS_MM = {"multi-scale": (4.0, 2.0, 1.0, 0.5), "single scale, 1 mm": (1.0,)}
NAMES = ("left_bifurcation", "right_bifurcation")
CROP, SPACING_MM = 56, 0.5


class Cost(NamedTuple):
    """Of one prediction: wall clock, and the memory that it took beside the volume."""

    seconds: float
    mebibytes: float


def predict_alone(levels: str, size: int) -> Cost:
    """One pass over a volume of ``size`` voxels along each side, in this process, which has predicted nothing before."""
    network = MultiScaleLocNet(len(NAMES), LEVELS_MM[levels], CROP)
    predictor = MultiScalePredictor(network, NAMES, NAMES, IntensityRecipe(), levels, "1", "cpu", passes=1)
    predictor.run_once()
    volume = sitk.Image([size] * 3, sitk.sitkInt16)
    volume.SetSpacing([SPACING_MM] * 3)
    volume += 40
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    began = time.perf_counter()
    predictor.predict(MedicalImage(volume, SpacingSource.CALIBRATED))
    seconds = time.perf_counter() - began
    return Cost(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20)


def in_own_process(levels: str, size: int) -> Cost:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "Testing.benchmarks.volumes", "--size", str(size), "--alone", levels]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Cost(*map(float, done.stdout.split()))


def report(size: int, rounds: int) -> str:
    """Both in turns, and how many times more the single scale costs."""
    costs = {levels: [in_own_process(levels, size) for _ in range(rounds)] for levels in LEVELS_MM}
    best = {levels: Cost(*map(min, zip(*found, strict=True))) for levels, found in costs.items()}
    ours, other = best.values()
    lines = [
        f"{size} x {size} x {size} voxels of {SPACING_MM} mm, two landmarks, one pass, the least of {rounds} each; "
        f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f}.\n",
        "| network | seconds | MiB beside the volume |",
        "|---|---:|---:|",
        *(f"| {levels} | {cost.seconds:.1f} | {cost.mebibytes:.0f} |" for levels, cost in best.items()),
        f"| times more | {other.seconds / ours.seconds:.1f} | {other.mebibytes / ours.mebibytes:.1f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks.volumes", description="Print a table.")
    parser.add_argument("--size", type=int, default=448, help="voxels along each side of the volume")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=LEVELS_MM, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone is not None:
        print(*predict_alone(asked.alone, asked.size))
        return
    print(report(asked.size, asked.rounds))


if __name__ == "__main__":
    main()
