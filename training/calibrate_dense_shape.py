"""How odd a dense-shape prediction may be: limits from cases that a model did not see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.predictors.dense_shape import open_dense_shape
from DenseLandmarksLib.models.registry import choose_device
from training.data import read_dataset
from training.evaluate import read_case
from training.out_of_fold import with_folds
from training.plausibility_limits import FALSE_ALARMS, joint_limits
from training.rewrite_bundle import rewrite_bundle


def out_of_fold_measures(folders: Sequence[Path], data: Path, device: str) -> tuple[list[dict[str, float]], int]:
    """Measures of plausibility of every training case by the model that was trained without it.

    Returns them and the number of cases that seemed turned. Raises :class:`InputError` for a model that was trained on
    all cases, or when two held out the same fold.
    """
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


def calibrate_dense_shape(model: Path, folders: Sequence[Path], data: Path, device: str = "cpu") -> dict[str, Any]:
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
    rewrite_bundle(load_bundle(model), inference={"plausibility": entry})
    return entry
