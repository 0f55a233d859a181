"""``python -m training calibrate``: how sure and how odd may a prediction be? From cases that a model did not see."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import choose_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training calibrate``."""
    parser.add_argument("--model", required=True, type=Path, metavar="FOLDER", help="the bundle that gets the limits")
    parser.add_argument(
        "--folds",
        required=True,
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="bundles of 'fit --fold' by the same recipe",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="the data folder all were trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> int:
    """Calibrate and say what came of it; only the code of the model's family is loaded."""
    asked = arguments.model, arguments.folds, arguments.data
    family = load_bundle(arguments.model).family.name
    if family in ("multi_scale", "heatmap_volume"):
        from training.calibrate_volumes import calibrate_volumes

        print(json.dumps(calibrate_volumes(*asked, arguments.device), indent=1))
        return 0
    if family == "heatmap":
        from training.calibrate_heatmaps import calibrate_heatmaps

        print(json.dumps(calibrate_heatmaps(*asked, choose_device(arguments.device)), indent=1))
        return 0
    from training.calibrate_dense_shape import calibrate_dense_shape

    entry = calibrate_dense_shape(*asked, arguments.device)
    print(f"limits over {entry['cases']} cases that their model did not see ({entry['above']} above them):")
    for name, limit in entry["limits"].items():
        print(f"  {name}: {limit:.3g}")
    return 0
