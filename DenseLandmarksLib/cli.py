"""``dense-landmarks``: predict images, list models, and work on case libraries, without a screen or in a browser."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from DenseLandmarksLib.annotation.case_key import installation_salt
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE, Status
from DenseLandmarksLib.annotation.find_files import find_files
from DenseLandmarksLib.cli_library import add_library_commands
from DenseLandmarksLib.cli_models import add_models_command
from DenseLandmarksLib.cli_serve import add_serve_command
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.geometry.view import VIEWS
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.predict_files import Options, Outcome, predict_files
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from DenseLandmarksLib.worker.client import Worker

# What to type for a view, by its name in the summary.
VIEW_OPTIONS = {str(view): f"--turn {view.turn_deg} {'--flip' if view.flip else '--no-flip'}" for view in VIEWS}
PREDICT_EPILOG = """\
In --output, for film.dcm:
  film.overlay.png   structures and landmarks drawn over the image
  film.mrk.json      landmarks, for 3D Slicer
  film.seg.nrrd      structures, for 3D Slicer
  film.report.json   all of it as numbers
  summary.csv        one row for each image: done, doubtful (look at it) or failed (and why)
Where two images share a name, the key of the case is added. Where the name of a DICOM file tells who the
patient is, the results are called case-KEY.

exit status: 0 all images predicted, doubtful ones too; 2 at least one failed, or a mistake in what was given;
130 stopped with Ctrl+C, with everything written whole
"""


def parse_landmark(text: str) -> NewLandmark:
    """``NAME=STRUCTURE:U,V`` as a landmark; raises :class:`InputError` for anything else."""
    try:
        name, place = text.split("=")
        structure, coordinates = place.split(":")
        u, v = (float(value) for value in coordinates.split(","))
        if not np.isfinite([u, v]).all() or not name:
            raise ValueError
    except ValueError:
        raise InputError(
            f"expected --landmark NAME=STRUCTURE:U,V such as apex=heart:0.3,0.8, got {text!r}. Write it so."
        ) from None
    return NewLandmark(name, structure, (u, v))


def options_of(arguments: argparse.Namespace) -> Options:
    """Everything given on the command line that changes results."""
    spacing = arguments.spacing
    if spacing is not None and not (np.isfinite(spacing) and spacing > 0):
        raise InputError(f"expected --spacing to be a positive number of mm, got {spacing}. Correct or omit it.")
    return Options(
        spacing_mm=None if spacing is None else (spacing, spacing),
        turn_deg=arguments.turn,
        flip=arguments.flip,
        laterality=arguments.laterality,
        new_landmarks=tuple(parse_landmark(text) for text in arguments.landmark),
    )


def refuse_misfits(bundle: Bundle, options: Options) -> None:
    """Raises :class:`InputError` for what this model cannot do: turn a volume, or look up such a new landmark."""
    turned = options.turn_deg is not None or options.flip is not None or options.laterality
    if turned and not bundle.is_for_radiographs:
        raise InputError(
            f"expected a model for radiographs for --turn, --flip and --laterality, got {bundle.name}, which finds its "
            "way in volumes however they are stored. Omit these options."
        )
    landmarks = options.new_landmarks
    if not landmarks:
        return
    if bundle.template is None:
        raise InputError(
            f"expected a model with structures for --landmark, got {bundle.name}, which finds landmarks only. Omit "
            "--landmark, or choose another model."
        )
    template = bundle.template
    for landmark in landmarks:
        try:
            template = template.with_landmark(landmark.structure, landmark.name, np.array(landmark.uv))
        except (KeyError, ValueError) as error:
            raise InputError(
                f"expected a new landmark on a structure of {bundle.name}: {error.args[0]}. Correct --landmark."
            ) from error


def predict(arguments: argparse.Namespace) -> int:
    """Predict every image; one that cannot be used is told in one line and the others go on."""
    options = options_of(arguments)
    files, others = find_files(arguments.images)
    if not files:
        folders = ", ".join(map(str, arguments.images))
        raise InputError(f"expected images in {folders}, got {others} other files. Name the folder that holds them.")
    bundle = load_bundle(find_bundle(arguments.model))
    refuse_misfits(bundle, options)
    salt = installation_salt()
    with Worker().client() as client:
        predictor = WorkerPredictor(client, bundle.folder, arguments.device)
        # A model that cannot be used is told once, not with every image.
        predictor.load()
        outcomes = predict_files(files, bundle, predictor, arguments.output, salt, options, arguments.resume)
        tally = tell_all(outcomes, len(files))
    summary = arguments.output / SUMMARY_FILE
    if len(files) > 1 or others:
        counts = [f"{tally[status]} {status}" for status in (*Status, "done before") if tally[status]]
        counts += [f"{others} other files passed over"] if others else []
        print(f"{', '.join(counts)}: {summary}")
    return 2 if tally[Status.FAILED] else 0


def tell_all(outcomes: Iterator[Outcome], total: int) -> Counter[str]:
    """Say of each image what came of it, as soon as it did; how many came to what."""
    tally: Counter[str] = Counter()
    # Only a person at a terminal sees a bar; a log gets the lines.
    bar = tqdm(outcomes, total=total, unit="image", disable=not (total > 1 and sys.stderr.isatty()))
    with bar, logging_redirect_tqdm():
        for outcome in bar:
            tally["done before" if outcome.was_done else outcome.row.status] += 1
            tell(outcome, with_files=total == 1)
    return tally


def tell(outcome: Outcome, with_files: bool) -> None:
    """Say in a line what came of one image, above the progress bar where there is one."""
    row = outcome.row
    if row.status == Status.FAILED:
        tqdm.write(f"error: {outcome.error}", file=sys.stderr)
        return
    if row.status == Status.DOUBTFUL:
        advice = f"; it is plausible with {VIEW_OPTIONS[row.suggested_view]}" if row.suggested_view else ""
        advice += f"; its body part is known to --model {outcome.instead}" if outcome.instead else ""
        tqdm.write(f"warning: {row.name}: {row.doubts}{advice}", file=sys.stderr)
    scale = "pixels, the spacing is unknown" if row.unit == "px" else f"mm, spacing {row.spacing_source}"
    found = f"{row.landmarks_present} of {row.landmarks} landmarks"
    scale += f"; seen {row.view}, {row.view_reason}" if row.view_reason else ""
    how = "was done before" if outcome.was_done else f"ran on {row.device}"
    tqdm.write(f"{row.name}: {found} ({scale}); {how}", file=sys.stdout)
    for path in outcome.written if with_files else ():
        tqdm.write(f"  {path}", file=sys.stdout)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns its exit status (2 for a mistake in what was given)."""
    parser = argparse.ArgumentParser(prog="dense-landmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "predict",
        help="find structures and landmarks in images",
        description="Find structures and landmarks in images.",
        epilog=PREDICT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MHA files; folders are searched for them, with all folders inside; the "
        "slices of a DICOM series in one folder are a volume",
    )
    run.add_argument("--model", required=True, help="name of a model, see 'dense-landmarks models', or a bundle folder")
    run.add_argument("--output", type=Path, required=True, help="folder for the results, made where it is missing")
    run.add_argument(
        "--resume", action="store_true", help="pass over images that are done; failed ones are tried again"
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--spacing", type=float, help="mm per pixel, where the file does not say")
    run.add_argument(
        "--turn",
        type=int,
        choices=(0, 90, 180, 270),
        help="degrees clockwise that bring the image upright, instead of what its file states",
    )
    run.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror the image left to right, after turning it"
    )
    run.add_argument(
        "--laterality",
        choices=("R", "L"),
        default="",
        help="side of a paired body part, where the file does not say; the side that the model does not know is mirrored",
    )
    run.add_argument(
        "--landmark",
        action="append",
        default=[],
        metavar="NAME=STRUCTURE:U,V",
        help="also look up a new landmark, given by its template coordinate (repeatable)",
    )
    add_models_command(commands)
    add_library_commands(commands)
    add_serve_command(commands)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def act() -> int:
        if arguments.command == "predict":
            return predict(arguments)
        return int(arguments.act(arguments))

    return exit_status(act, resumes=arguments.command == "predict")
