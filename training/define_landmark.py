"""``python -m training define-landmark``: the template coordinate of a point clicked in one annotated image.

What it prints goes to ``dense-landmarks predict --landmark``, which finds the point in any other image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import StructureTemplate
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle
from training.data import Case, Dataset, read_dataset


def contour_of(dataset: Dataset, case: Case, structure: StructureTemplate) -> NDArray[np.float64]:
    """The true positions (P, 2) of the landmarks that shape ``structure`` in the template, in pixels of the image.

    Raises :class:`InputError` when the data set lacks one of them, or the case has it not annotated.
    """
    missing = [name for name in structure.point_names if name not in dataset.landmark_names]
    if missing:
        raise InputError(
            f"expected the landmarks of {structure.name} in data set {dataset.name}, it lacks {missing[0]}. "
            "Give the data that the model was trained on."
        )
    points = case.points_px[[dataset.landmark_names.index(name) for name in structure.point_names]]
    if not np.isfinite(points).all():
        raise InputError(
            f"expected all of {structure.name} annotated in {case.name}; some is not. Choose another case."
        )
    return points


def define_landmark(
    dataset: Dataset, case: Case, structure: StructureTemplate, points_px: ArrayLike
) -> NDArray[np.float64]:
    """Template coordinates (N, 2) of pixel positions (N, 2) in an annotated image, by the image's exact uv map."""
    return structure.uv_at(contour_of(dataset, case, structure), points_px)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training define-landmark``."""
    parser.add_argument("name", help="name of the new landmark")
    parser.add_argument("--model", required=True, help="name or bundle folder")
    parser.add_argument("--data", type=Path, required=True, help="data folder with the annotated image")
    parser.add_argument("--case", required=True, help="the image in which the point was seen")
    parser.add_argument("--structure", required=True, help="the structure on which it lies")
    parser.add_argument("--pixel", type=float, nargs=2, required=True, metavar=("X", "Y"))


def run(arguments: argparse.Namespace) -> int:
    """Print ``NAME=STRUCTURE:U,V`` of the point; raises :class:`InputError` for an unknown case or structure."""
    template = load_bundle(find_bundle(arguments.model)).need_template()
    dataset = read_dataset(arguments.data)
    cases = {case.name: case for case in dataset.cases}
    for what, name, known in (
        ("case", arguments.case, tuple(cases)),
        ("structure", arguments.structure, template.structure_names),
    ):
        if name not in known:
            shown = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
            raise InputError(f"expected a {what} out of {shown}, got {name!r}. Correct --{what}.")
    structure = template.structure(arguments.structure)
    u, v = define_landmark(dataset, cases[arguments.case], structure, [arguments.pixel])[0]
    print(f"{arguments.name}={structure.name}:{u:.4f},{v:.4f}")
    return 0
