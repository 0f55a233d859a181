"""What a run began with: its data and the model that it started from, so that it goes on with no others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.bundle_files import WEIGHTS
from training.grid_cases import GridCases
from training.recipe import AnyRecipe
from training.trainer import Task
from training.volume_cases import VolumeCases

BEGUN = "begun.json"


class TaskOfCases(Task, Protocol):
    """A task that says which cases it is trained on, as those of all families do."""

    @property
    def cases(self) -> GridCases | VolumeCases:
        """Those that are trained on."""
        ...


def origin_of(cases: GridCases | VolumeCases, parent: Bundle | None) -> dict[str, Any]:
    """What says whether a run is begun with the same again, as plain JSON types."""
    return {
        "start_from": None
        if parent is None
        else {"model": f"{parent.name} {parent.version}", "weights": parent.metadata["checksums"][WEIGHTS]},
        "data": {
            "name": cases.data_name,
            "cases": list(cases.names),
            "landmarks": list(cases.landmark_names),
            "points": digest_of_points(cases),
        },
    }


def check_did_not_see(parent: Bundle | None, recipe: AnyRecipe, data_name: str) -> None:
    """Raise :class:`InputError` where a run that holds a fold out begins with a model that learned from that fold."""
    if parent is None or recipe.validation_fold < 0:
        return
    before = parent.metadata.get("training", {})
    of_parent = before.get("recipe", {})
    held_out = of_parent.get("validation_fold", -1), of_parent.get("folds")
    if before.get("data") == data_name and held_out != (recipe.validation_fold, recipe.folds):
        raise InputError(
            f"expected a --start-from that did not see fold {recipe.validation_fold} of {recipe.folds} of {data_name}, got "
            f"{parent.name} {parent.version}, which learned from it. Begin with a model of the same --fold."
        )


def digest_of_points(cases: GridCases | VolumeCases) -> str:
    """Of all landmarks, to a thousandth of their unit: another machine may bring them to the grid with another last bit."""
    points = cases.points_lps_mm if isinstance(cases, VolumeCases) else cases.points
    rounded = np.round(np.nan_to_num(points, nan=-1e6), 3) + 0.0  # without a zero below zero
    return hashlib.sha256(rounded.astype("<f8").tobytes()).hexdigest()


def write_origin(output: Path, origin: dict[str, Any]) -> None:
    """Write down what a run begins with."""
    write_json(output / BEGUN, origin)


def check_origin(output: Path, origin: dict[str, Any]) -> None:
    """Raise :class:`InputError` unless the run in ``output`` was begun with this; older runs do not say with what."""
    path = output / BEGUN
    if not path.is_file():
        return
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name, value in origin.items() if begun[name] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"expected what the run was begun with in {path}, got a file that is damaged. Give another --output."
        ) from error
    if other:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in other)
        raise InputError(
            f"expected the {options} that {output} was begun with, got another. Give the same, or another --output."
        )
