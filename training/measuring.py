"""What every command that measures a model is asked for, and where it writes: a model, annotated cases, a report."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json, write_text
from training.data import Dataset, read_dataset
from training.data_folder import is_of_volumes
from training.volume_data import VolumeDataset, read_volume_dataset

if TYPE_CHECKING:
    from DenseLandmarksLib.models.prediction import OpenPredictor


def add_request(parser: argparse.ArgumentParser) -> None:
    """The arguments ``--model``, ``--data``, ``--split``, ``--fold``, ``--report`` and ``--device``."""
    parser.add_argument("--model", required=True, metavar="NAME|FOLDER", help="a shipped model, or a bundle's folder")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder with dataset.json, landmarks.csv"
    )
    parser.add_argument("--split", default="test", help="which cases (default: test; choose and tune on others)")
    parser.add_argument(
        "--fold",
        type=int,
        help="only this fold of the split train, which the model was trained without by 'fit --fold'",
    )
    parser.add_argument(
        "--report", required=True, type=Path, metavar="FILE.json", help="report; FILE.md goes beside it"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def open_request(arguments: argparse.Namespace) -> tuple[OpenPredictor, Dataset]:
    """The model and the radiographs that were asked for; raises :class:`InputError` as :func:`open_any_request`."""
    return _open(arguments, read_dataset)


def open_any_request(arguments: argparse.Namespace) -> tuple[OpenPredictor, Dataset | VolumeDataset]:
    """The model and the cases that were asked for, radiographs or volumes.

    Everything that can be wrong with the request is told (:class:`InputError`) before minutes go into predictions.
    """
    if arguments.data.is_dir() and is_of_volumes(arguments.data):
        return _open(arguments, read_volume_dataset)
    return open_request(arguments)


def folds_held_out(model: str, fold: int) -> int:
    """Into how many folds the training cases were dealt of which a model, a name or a folder, did not see this one.

    Raises :class:`InputError`, in one line, for a model that held out another one or none, or does not say.
    """
    from DenseLandmarksLib.models.bundle import load_bundle
    from DenseLandmarksLib.models.registry import find_bundle

    recipe = load_bundle(find_bundle(model)).metadata.get("training", {}).get("recipe", {})
    held, folds = recipe.get("validation_fold"), recipe.get("folds")
    if isinstance(folds, int) and held == fold:
        return folds
    if not isinstance(folds, int) or not isinstance(held, int):
        got = "which does not say what it was trained on"
    else:
        got = "which was trained on all cases" if held < 0 else f"which held out fold {held} of {folds}"
    raise InputError(
        f"expected a model of 'fit --fold {fold}' with --fold {fold}, got {model}, {got}. Give the fold that the model did "
        "not see, or omit --fold."
    )


AnyDataset = TypeVar("AnyDataset", Dataset, VolumeDataset)


def _open(arguments: argparse.Namespace, read: Callable[[Path], AnyDataset]) -> tuple[OpenPredictor, AnyDataset]:
    from DenseLandmarksLib.models.registry import open_predictor

    if arguments.report.suffix != ".json":
        raise InputError(
            f"expected a report file that ends in .json, got {arguments.report}. Rename it; FILE.md goes beside it."
        )
    dataset = read(arguments.data).of_split(arguments.split)
    if arguments.fold is not None:
        dataset = _held_out(dataset, arguments)
    predictor = open_predictor(arguments.model, arguments.device)
    read_out = getattr(arguments, "read_out", None)
    if read_out is not None:
        if not hasattr(predictor, "read_out"):
            raise InputError(
                f"expected a model that reads landmarks out of uv maps for --read-out, got {predictor.name}, which does "
                "not. Omit --read-out."
            )
        predictor.read_out = read_out
    return predictor, dataset


def _held_out(dataset: AnyDataset, arguments: argparse.Namespace) -> AnyDataset:
    """The cases of a fold, which none of the models that are asked for was trained on."""
    if arguments.split != "train":
        raise InputError(
            f"expected --split train with --fold, since 'fit --fold' holds out training cases, got --split {arguments.split}. "
            "Add --split train, or omit --fold."
        )
    folds = folds_held_out(arguments.model, arguments.fold)
    other = getattr(arguments, "compare", None)
    if other is not None and not other.endswith(".json"):
        of_other = folds_held_out(other, arguments.fold)
        if of_other != folds:
            raise InputError(
                f"expected two models that held out the same cases, got fold {arguments.fold} of {folds} and of {of_other}. "
                "Compare models whose recipes deal as many folds."
            )
    return dataset.fold(arguments.fold, folds)[1]


def measured_cases(arguments: argparse.Namespace) -> str:
    """Which cases were measured, for a report: the split, and the fold if only one of it was."""
    return arguments.split if arguments.fold is None else f"{arguments.split}, fold {arguments.fold}"


def write_report(path: Path, report: Mapping[str, Any], table: str) -> None:
    """Write the report as JSON, its table beside it as Markdown, and print the table."""
    write_json(path, dict(report))
    write_text(path.with_suffix(".md"), table)
    print(table)
