"""The commands of ``dense-landmarks`` that work on a case library: list, import, predict, look up, export."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from tqdm import tqdm

from DenseLandmarksLib.annotation.library.export import FORMATS, export_library
from DenseLandmarksLib.annotation.library.import_files import (
    Target,
    import_landmarks,
    is_landmark_file,
    targets_of,
)
from DenseLandmarksLib.annotation.library.import_run import ImportRun
from DenseLandmarksLib.annotation.library.library import LIBRARY_FILE, Library
from DenseLandmarksLib.annotation.library.look_up_everywhere import look_up_everywhere
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from DenseLandmarksLib.worker.client import Worker

_IMPORT_EPILOG = """\
Images become cases; the same pixels are the same case, whoever adds them. Landmark files (.mrk.json, .fcsv, .csv, COCO
.json) go to the case that is called like the file, or to that of --image; each makes a new revision, older ones stay.

exit status: 0 all files are in; 2 at least one is not, or a mistake in what was given
"""


def add_library_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands; each leaves its function in ``arguments.act``."""
    show = commands.add_parser(
        "library", help="list the cases of a library", description="List the cases of a library."
    )
    _library_argument(show)
    show.set_defaults(act=list_cases)

    bring_in = commands.add_parser(
        "import",
        help="bring images and landmarks into a library",
        description="Bring images and landmarks into a library, which is created where there is none.",
        epilog=_IMPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _library_argument(bring_in)
    bring_in.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="images, folders of images (the slices of a DICOM series are one), and files of landmarks",
    )
    bring_in.add_argument("--image", type=Path, help="the image that the landmarks belong to")
    bring_in.add_argument("--spacing", type=float, help="mm per pixel, for images whose files do not say")
    bring_in.add_argument("--copy", action="store_true", help="keep copies of the images in the library")
    _who_argument(bring_in)
    bring_in.set_defaults(act=import_files)

    see = commands.add_parser(
        "predict-library",
        help="have a model see all cases of a library",
        description="Have a model see all cases of a library. What people decided stays; each prediction is a revision.",
    )
    _library_argument(see)
    see.add_argument("--model", required=True, help="name of a model, see 'dense-landmarks models', or a bundle folder")
    see.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    see.add_argument("--again", action="store_true", help="also cases that this version of the model has seen")
    _who_argument(see)
    see.set_defaults(act=predict_library)

    find = commands.add_parser(
        "look-up",
        help="find new landmarks in all cases of a library",
        description="Find the landmarks that people defined in single cases in all cases of a library, without training.",
    )
    _library_argument(find)
    find.add_argument("names", nargs="*", metavar="NAME", help="landmarks to look for; all when none is named")
    _who_argument(find)
    find.set_defaults(act=look_up)

    hand_out = commands.add_parser(
        "export",
        help="write what a library holds, for other programs",
        description="Write the newest revision of every case of a library, for other programs.",
    )
    _library_argument(hand_out)
    hand_out.add_argument("--format", choices=FORMATS, required=True, dest="file_format")
    hand_out.add_argument("--output", type=Path, required=True, help="folder for the files, made where it is missing")
    hand_out.add_argument(
        "--reviewed-only", action="store_true", help="leave out what nobody decided, and cases without any decision"
    )
    hand_out.set_defaults(act=export)


def list_cases(arguments: argparse.Namespace) -> int:
    """Print a line for each case; 2 where one is damaged."""
    entries = Library.open(arguments.library).cases()
    rows = [("case", "id", "revision", "reviewed", "model", "doubt", "who", "when"), *map(_row, entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    damaged = [entry for entry in entries if entry.damage]
    for entry in damaged:
        print(f"error: {entry.name}: {entry.damage}", file=sys.stderr)
    return 2 if damaged else 0


def import_files(arguments: argparse.Namespace) -> int:
    """Add images, then the landmarks; a file that cannot be used is told in one line and the others go on."""
    spacing = arguments.spacing
    if spacing is not None and not 0 < spacing < float("inf"):
        raise InputError(f"expected --spacing to be a positive number of mm, got {spacing}. Correct or omit it.")
    spacing_mm = None if spacing is None else (spacing, spacing)
    who = arguments.who
    library = _open_or_create(arguments.library)
    landmark_files = [path for path in arguments.files if is_landmark_file(path)]
    others = [path for path in arguments.files if not is_landmark_file(path)]
    failed = 0

    def take_over(path: Path) -> None:
        if arguments.image is not None:
            targets = [Target(library.add(arguments.image, arguments.copy, who, spacing_mm).id, arguments.image.name)]
        else:
            targets = list(targets_of(path, library.cases()))
        for target in targets:
            case = library.case(target.case_id)
            saved = import_landmarks(case, path, who, target.image_name)
            print(f"{case.name}: {'nothing new in ' + path.name if saved is None else saved.message}")

    run = ImportRun(library, others, who, arguments.copy, spacing_mm)
    while not run.is_over:
        run.step()
        if run.last is not None and run.last.case is not None:
            print(f"{run.last.case.name}: case {run.last.case.id}")
        elif run.last is not None:
            failed += 1
            print(f"error: {run.last.problem}", file=sys.stderr)
    for path in landmark_files:
        try:
            take_over(path)
        except InputError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    if run.result.passed_over:
        print(f"{run.result.passed_over} other files passed over")
    return 2 if failed else 0


def predict_library(arguments: argparse.Namespace) -> int:
    """Predict the cases in a worker; one that cannot be predicted is told in one line and the others go on."""
    library = Library.open(arguments.library)
    model = read_description(find_bundle(arguments.model))
    done = failed = 0
    with Worker().client() as client:
        predictor = WorkerPredictor(client, arguments.model, arguments.device)
        predictor.load()
        results = predict_cases(library, model, predictor, arguments.who, arguments.again)
        for result in tqdm(results, unit="case", disable=not sys.stderr.isatty()):
            if result.problem:
                failed += 1
                tqdm.write(f"error: {result.name}: {result.problem}", file=sys.stderr)
                continue
            done += 1
            for line in (*result.notes, *(f"{result.name}: {doubt}" for doubt in result.doubts)):
                tqdm.write(f"warning: {line}", file=sys.stderr)
            tqdm.write(f"{result.name}: saved as revision {result.revision}", file=sys.stdout)
    print(f"{done} cases predicted, {failed} failed, the others had been")
    return 2 if failed else 0


def look_up(arguments: argparse.Namespace) -> int:
    """Look new landmarks up in all cases; what cannot be is told in one line."""
    library = Library.open(arguments.library)
    landmarks = library.new_landmarks()
    unknown = set(arguments.names) - {landmark.name for landmark in landmarks}
    if unknown or not landmarks:
        known = ", ".join(landmark.name for landmark in landmarks) or "none yet"
        asked = ", ".join(sorted(unknown)) or "none"
        raise InputError(f"expected landmarks of the library ({known}), got {asked}. Define them in a case first.")
    wanted = [landmark for landmark in landmarks if not arguments.names or landmark.name in arguments.names]
    failed = 0
    for result in look_up_everywhere(library, arguments.who, wanted):
        if result.problem:
            failed += 1
            print(f"error: {result.name}: {result.problem}", file=sys.stderr)
        elif result.found is not None:
            found = result.found
            told = zip(result.landmarks, found.found, found.method, found.error_mm, strict=True)
            said = ", ".join(
                f"{landmark.name} by {method}, expected error {error:.1f}" if there else f"{landmark.name} is not there"
                for landmark, there, method, error in told
            )
            print(f"{result.name}: {said}; saved as revision {result.revision}")
    return 2 if failed else 0


def export(arguments: argparse.Namespace) -> int:
    """Write the files; what is left out is told in one line each."""
    library = Library.open(arguments.library)
    # Only a person at a terminal sees a bar; a log gets the lines.
    with tqdm(unit="case", disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        exported = export_library(library, arguments.file_format, arguments.output, arguments.reviewed_only, show)
    for note in exported.notes:
        print(f"warning: {note}", file=sys.stderr)
    print(f"{exported.cases} cases, {len(exported.written)} files: {arguments.output}")
    return 0 if exported.whole else 2


def _library_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("library", type=Path, metavar="LIBRARY", help="the folder of the library")


def _who_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--who", default=user_name(), help="the person whose work this is; otherwise the user of this computer"
    )


def _row(entry: CaseEntry) -> tuple[str, ...]:
    info = entry.newest
    if info is None:
        return entry.name, entry.id, "", "", "", "", "", ""
    reviewed = f"{info.reviewed} of {info.landmarks}{', for comparison' if info.is_chosen_for_comparison else ''}"
    doubt = "implausible" if info.doubts else f"{info.doubt:.2f}" if info.landmarks and info.model else ""
    return entry.name, entry.id, str(info.number), reviewed, info.model, doubt, info.who, info.when


def _open_or_create(folder: Path) -> Library:
    if (folder / LIBRARY_FILE).exists():
        return Library.open(folder)
    library = Library.create(folder, folder.absolute().name or "library")
    print(f"{folder}: a new library")
    return library


def user_name() -> str:
    """The user of this computer; empty where nobody is logged in."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
