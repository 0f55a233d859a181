"""``dense-landmarks``: predict images and list models, without a screen."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import read_metadata
from DenseLandmarksLib.models.measured import HEADLINE, figure
from DenseLandmarksLib.models.registry import find_bundle, list_bundles


def model_table() -> str:
    """The shipped models with what they find and their measured errors, as text."""
    rows: list[tuple[str, ...]] = [("model", "finds", "measured on", *HEADLINE.values())]
    for folder in list_bundles():
        metadata = read_metadata(folder)
        finds = f"{len(metadata['structures'])} structures, {len(metadata['landmark_names'])} landmarks"
        measured = metadata.get("measured")
        figures = ["not measured"] + [""] * len(HEADLINE)
        if measured:
            average = measured["average"]
            figures = [f"{measured['cases']} cases of {measured['data']} {measured['split']}"] + [
                figure(average, metric) for metric in HEADLINE
            ]
        rows.append((f"{metadata['name']} {metadata['version']}", finds, *figures))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def parse_landmark(text: str) -> tuple[str, str, np.ndarray]:
    """``NAME=STRUCTURE:U,V`` as name, structure and uv (2,); raises :class:`InputError` for anything else."""
    try:
        name, place = text.split("=")
        structure, coordinates = place.split(":")
        uv = np.array([float(value) for value in coordinates.split(",")])
        if uv.shape != (2,) or not np.isfinite(uv).all() or not name:
            raise ValueError
    except ValueError:
        raise InputError(
            f"expected --landmark NAME=STRUCTURE:U,V such as apex=heart:0.3,0.8, got {text!r}. Write it so."
        ) from None
    return name, structure, uv


def predict(arguments: argparse.Namespace) -> int:
    """Predict every image; an image that cannot be used is told in one line and the others go on."""
    from dataclasses import replace

    from DenseLandmarksLib.annotation.exports.results import write_results
    from DenseLandmarksLib.geometry.read_image import read_image
    from DenseLandmarksLib.models.bundle import load_bundle
    from DenseLandmarksLib.models.registry import open_bundle

    first: dict[str, Path] = {}
    for path in arguments.images:
        if first.setdefault(path.name, path) is not path:
            raise InputError(
                f"expected images of different names, since results are named after them, got {first[path.name]} and "
                f"{path}. Give each its own --output."
            )
    bundle = load_bundle(find_bundle(arguments.model))
    new = [parse_landmark(text) for text in arguments.landmark]
    template = bundle.template
    for name, structure, uv in new:
        try:
            template = template.with_landmark(structure, name, uv)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"expected a new landmark on a structure of {bundle.name}: {error.args[0]}. Correct --landmark."
            ) from error
    predictor = open_bundle(replace(bundle, template=template), arguments.device)
    spacing = (arguments.spacing, arguments.spacing) if arguments.spacing is not None else None
    failed = 0
    for path in arguments.images:
        try:
            image = read_image(path, spacing)
            prediction = predictor.predict(image)
            written = write_results(arguments.output, image, prediction, bundle.styles, [name for name, _, _ in new])
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        scale = "pixels, the spacing is unknown" if image.unit == "px" else f"mm, spacing {image.spacing_source}"
        absent = sum(presence == "absent" for presence in prediction.landmarks.presence)
        found = f"{len(prediction.landmarks) - absent} of {len(prediction.landmarks)} landmarks"
        print(f"{path.name}: {found} ({scale}); ran on {prediction.device}")
        for file in written:
            print(f"  {file}")
    return 2 if failed else 0


def exit_status(act: Callable[[], int]) -> int:
    """The status of a command; a person's mistake is told in one line on standard error and gives 2."""
    try:
        return act()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: expected to read and write files, but {error}. Check folder, permissions and space.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("stopped; what was written is whole", file=sys.stderr)
        return 130


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns its exit status (2 for a mistake in what was given)."""
    parser = argparse.ArgumentParser(prog="dense-landmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("predict", help="find structures and landmarks in images")
    run.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MHA")
    run.add_argument("--model", required=True, help="name of a model, see 'dense-landmarks models', or a bundle folder")
    run.add_argument("--output", type=Path, required=True, help="folder for overlay, markups, segmentation and report")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--spacing", type=float, help="mm per pixel, where the file does not say")
    run.add_argument(
        "--landmark",
        action="append",
        default=[],
        metavar="NAME=STRUCTURE:U,V",
        help="also look up a new landmark, given by its template coordinate (repeatable)",
    )
    commands.add_parser("models", help="list the models with their measured errors")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def act() -> int:
        if arguments.command == "models":
            print(model_table())
            return 0
        return predict(arguments)

    return exit_status(act)
