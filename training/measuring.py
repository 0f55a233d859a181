"""What every command that measures a model is asked for, and where it writes: a model, annotated cases, a report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json, write_text
from training.data import Dataset, read_dataset

if TYPE_CHECKING:
    from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor


def add_request(parser: argparse.ArgumentParser) -> None:
    """The arguments ``--model``, ``--data``, ``--split``, ``--fold``, ``--report`` and ``--device``."""
    parser.add_argument("--model", required=True, metavar="NAME|FOLDER", help="a shipped model, or a bundle's folder")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder with dataset.json, landmarks.csv"
    )
    parser.add_argument("--split", default="test", help="which cases (default: test; choose and tune on others)")
    parser.add_argument("--fold", type=int, help="only this fold of the split, as 'fit --fold' holds it out")
    parser.add_argument(
        "--report", required=True, type=Path, metavar="FILE.json", help="report; FILE.md goes beside it"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def open_request(arguments: argparse.Namespace) -> tuple[DenseShapePredictor, Dataset]:
    """The model and the cases that were asked for.

    Everything that can be wrong with the request is told (:class:`InputError`) before minutes go into predictions.
    """
    from DenseLandmarksLib.models.registry import open_predictor

    if arguments.report.suffix != ".json":
        raise InputError(
            f"expected a report file that ends in .json, got {arguments.report}. Rename it; FILE.md goes beside it."
        )
    dataset = read_dataset(arguments.data).of_split(arguments.split)
    if arguments.fold is not None:
        dataset = dataset.fold(arguments.fold)[1]
    return open_predictor(arguments.model, arguments.device), dataset


def write_report(path: Path, report: Mapping[str, Any], table: str) -> None:
    """Write the report as JSON, its table beside it as Markdown, and print the table."""
    write_json(path, dict(report))
    write_text(path.with_suffix(".md"), table)
    print(table)
