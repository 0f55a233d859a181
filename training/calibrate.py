"""``python -m training calibrate``: how odd may a prediction be? Limits from cases that a model did not see."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from training.data import read_dataset
from training.evaluate import read_case
from training.export import record_limits

FALSE_ALARMS = 0.01


def joint_limits(measures: NDArray[np.float64], false_alarms: float = FALSE_ALARMS) -> NDArray[np.float64]:
    """Limits (K,) of K positive measures (N, K) that at most a share ``false_alarms`` of the N cases exceeds in any.

    Each measure is taken as log-normal, so that all limits lie equally many standard deviations above their mean, and
    that number is the quantile over the cases of the largest deviation of each.
    """
    log = np.log(np.maximum(measures, 1e-9))
    mean, deviation = log.mean(axis=0), np.maximum(log.std(axis=0, ddof=1), 1e-9)
    worst = ((log - mean) / deviation).max(axis=1)
    # One of the cases itself, so that not more than the share lies above.
    height = np.quantile(worst, 1 - false_alarms, method="higher")
    return np.asarray(np.exp(mean + height * deviation), np.float64)


def with_folds(bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, int, int]]:
    """Models of 'fit --fold', each with the fold that it did not see, and of how many.

    Raises :class:`InputError` for a model that was trained on all cases, or when two held out the same fold.
    """
    seen: set[int] = set()
    for bundle in bundles:
        recipe = bundle.metadata["training"]["recipe"]
        fold = int(recipe["validation_fold"])
        if fold < 0 or fold in seen:
            what = "one that was trained on all cases" if fold < 0 else f"two without fold {fold}"
            raise InputError(
                f"expected models of 'fit --fold', each without another fold, got {what}: {bundle.folder}. "
                "Give others to --folds."
            )
        seen.add(fold)
        yield bundle, fold, int(recipe["folds"])


def out_of_fold_measures(folders: Sequence[Path], data: Path, device: str) -> tuple[list[dict[str, float]], int]:
    """Measures of plausibility of every training case by the model that was trained without it.

    Returns them and the number of cases that seemed turned. Raises :class:`InputError` for a model that was trained on
    all cases, or when two held out the same fold.
    """
    from DenseLandmarksLib.models.predictors.dense_shape import open_dense_shape
    from DenseLandmarksLib.models.registry import choose_device

    dataset = read_dataset(data).of_split("train")
    measures: list[dict[str, float]] = []
    turned = 0
    for bundle, fold, folds in with_folds([load_bundle(folder) for folder in folders]):
        predictor = open_dense_shape(bundle, choose_device(device))
        predictor.limits = {}
        cases = dataset.fold(fold, folds)[1].cases
        for case in tqdm(cases, desc=f"fold {fold}", unit="case", file=sys.stderr, leave=False):
            plausibility = predictor.predict(read_case(case, dataset)).plausibility
            measures.append(dict(plausibility.measures))
            turned += not plausibility.plausible  # without limits nothing else raises a doubt
    return measures, turned


def calibrate(model: Path, folders: Sequence[Path], data: Path, device: str = "cpu") -> dict[str, Any]:
    """Write limits of plausibility into the bundle ``model`` and return its new entry."""
    measures, turned = out_of_fold_measures(folders, data, device)
    names = list(measures[0])
    table = np.array([[row[name] for name in names] for row in measures])
    limits = np.ceil(joint_limits(table) * 1e4) / 1e4
    entry = {
        "limits": dict(zip(names, limits.tolist(), strict=True)),
        "cases": len(table),
        "above": int((table > limits).any(axis=1).sum()),
        "seemed_turned": turned,
        "false_alarms": FALSE_ALARMS,
    }
    record_limits(model, entry)
    return entry


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
    """Calibrate and say what came of it."""
    family = load_bundle(arguments.model).family.name
    if family in ("multi_scale", "heatmap_volume"):
        from training.calibrate_volumes import calibrate_volumes

        measured = calibrate_volumes(arguments.model, arguments.folds, arguments.data, arguments.device)
        print(json.dumps(measured, indent=1))
        return 0
    if family == "heatmap":
        from DenseLandmarksLib.models.registry import choose_device
        from training.calibrate_heatmaps import calibrate_heatmaps

        device = choose_device(arguments.device)
        print(json.dumps(calibrate_heatmaps(arguments.model, arguments.folds, arguments.data, device), indent=1))
        return 0
    entry = calibrate(arguments.model, arguments.folds, arguments.data, arguments.device)
    print(f"limits over {entry['cases']} cases that their model did not see ({entry['above']} above them):")
    for name, limit in entry["limits"].items():
        print(f"  {name}: {limit:.3g}")
    return 0
