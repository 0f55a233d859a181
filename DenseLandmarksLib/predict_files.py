"""Predicting many files: each gets its results and its row in the summary, and none stops the others."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, takewhile
from pathlib import Path

from DenseLandmarksLib.annotation.case_key import case_key, file_key
from DenseLandmarksLib.annotation.exports.result_name import IMAGE_SUFFIXES, file_stem, safe_name
from DenseLandmarksLib.annotation.exports.results import RESULT_ENDINGS, results_are_whole, write_results
from DenseLandmarksLib.annotation.exports.summary import (
    SUMMARY_FILE,
    Status,
    Summary,
    SummaryRow,
    image_columns,
    prediction_columns,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_header import series_of
from DenseLandmarksLib.geometry.formats.dicom_identifiers import contains_identifier, read_identifiers
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.expectation import choose_view
from DenseLandmarksLib.models.prediction import Predictor

logger = logging.getLogger(__name__)

_SHORT_KEY = 8


@dataclass(frozen=True)
class GivenFile:
    """A file to predict: ``path``, and for one that was found in a folder that a person gave, that folder."""

    path: Path
    folder: Path | None = None


@dataclass(frozen=True)
class NewLandmark:
    """A landmark that the model was never trained on: ``uv`` is its template coordinate on ``structure``."""

    name: str
    structure: str
    uv: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.name}={self.structure}:{self.uv[0]:g},{self.uv[1]:g}"


@dataclass(frozen=True)
class Options:
    """What a person asked for that changes results; an image done under others is not done.

    ``spacing_mm`` is the size (x, y) of a pixel for files that do not state it; ``turn_deg``, ``flip`` and ``laterality``
    as :func:`~DenseLandmarksLib.models.expectation.choose_view` takes them.
    """

    spacing_mm: tuple[float, float] | None = None
    turn_deg: int | None = None
    flip: bool | None = None
    laterality: str = ""
    new_landmarks: tuple[NewLandmark, ...] = ()

    def __str__(self) -> str:
        """As it stands in the summary. The spacing has columns of its own, which say what came of it."""
        words = [] if self.turn_deg is None else [f"--turn {self.turn_deg}"]
        words += [] if self.flip is None else ["--flip" if self.flip else "--no-flip"]
        words += [f"--laterality {self.laterality}"] if self.laterality else []
        return " ".join([*words, *(f"--landmark {landmark}" for landmark in self.new_landmarks)])


@dataclass(frozen=True)
class Outcome:
    """What came of one file: its row in the summary, the files written, whether it was done before.

    ``error`` is the line for the person who gave the file, which may name it as it was typed.
    """

    row: SummaryRow
    written: tuple[Path, ...] = ()
    was_done: bool = False
    error: str = ""


def find_files(given: Sequence[Path]) -> tuple[list[GivenFile], int]:
    """The files to predict, each once, in the order given, folders searched in the order of names; and the others.

    The second value counts what lies in the folders and is no image. Hidden files and our own results are passed over.
    """
    files: dict[str, GivenFile] = {}
    others = 0
    for path in given:
        if not path.is_dir():
            files.setdefault(os.path.abspath(path), GivenFile(path))
            continue
        for found in _walk(path):
            if _is_image(found):
                files.setdefault(os.path.abspath(found), GivenFile(found, path))
            elif not _is_result(found):
                others += 1
    return list(files.values()), others


def predict_files(
    files: Sequence[GivenFile],
    bundle: Bundle,
    predictor: Predictor,
    folder: Path,
    salt: bytes,
    options: Options = Options(),
    resume: bool = False,
) -> Iterator[Outcome]:
    """Predict the files one after the other into ``folder``; an image's row is on the disk before the next is read.

    Parameters
    ----------
    bundle, predictor : the model, and the predictor opened from it with the new landmarks in its template.
    salt : as :func:`~DenseLandmarksLib.annotation.case_key.installation_salt` gives it.
    resume : pass over what is done: the same pixels, model, spacing and options, and all result files whole.

    Raises
    ------
    OSError : when results cannot be written; no file after it could be either.
    """
    names = _Names(files, Summary(folder / SUMMARY_FILE), salt)
    for number, file in enumerate(files, 1):
        started = time.perf_counter()
        identifiers = read_identifiers(file.path)
        stem = safe_name(file.path, identifiers)
        failed_name = names.of_failure(file, stem)
        row = SummaryRow(failed_name, model=bundle.name, model_version=bundle.version, options=str(options))
        try:
            image = read_image(file.path, options.spacing_mm)
            key = case_key(image, salt)
            image = replace(image, name=names.of_image(stem, key))
            row = replace(row, name=image.name, case_key=key, **image_columns(image))
            if resume and names.is_done(row) and results_are_whole(folder, row.name):
                yield Outcome(names.keep(row), was_done=True)
                continue
            view, reason = choose_view(
                bundle.expectation, image.acquisition, options.turn_deg, options.flip, options.laterality
            )
            prediction = predictor.predict(image, view)
            highlighted = [landmark.name for landmark in options.new_landmarks]
            written = write_results(folder, image, prediction, bundle.styles, highlighted, key)
            row = replace(
                row,
                **prediction_columns(prediction),
                view_reason=reason,
                seconds=f"{time.perf_counter() - started:.2f}",
            )
            outcome = Outcome(row, written)
        except InputError as error:
            outcome = _failure(file, number, row, str(error), identifiers)
        except OSError:
            raise
        except Exception as error:  # a mistake of ours in one image must not cost the other thousand
            logger.exception("image %d of %d (%s) could not be predicted", number, len(files), row.name)
            kind = type(error).__name__
            what = f"{file.path}: expected a prediction, got an error of this program ({kind}); report it"
            outcome = _failure(file, number, row, what, identifiers)
        names.write(outcome.row, failed_name)
        yield outcome


class _Names:
    """Which image gets which name: its stem; with its key where two share a stem; its key alone where that must be."""

    def __init__(self, files: Sequence[GivenFile], summary: Summary, salt: bytes) -> None:
        self.summary = summary
        self.salt = salt
        # Some file systems do not tell large letters from small ones.
        self.stems = Counter(file_stem(file.path).casefold() for file in files)
        self.taken: set[str] = set()

    def of_image(self, stem: str | None, key: str) -> str:
        """The name for an image whose file may be called ``stem`` (``None``: must not be)."""
        long = f"case-{key}" if stem is None else f"{stem}-{key[:_SHORT_KEY]}"
        numbered = (f"{long}-{i}" for i in count(2))
        # What this image was called before, it is called again.
        for name in (stem or long, *takewhile(lambda name: name in self.summary.rows, chain([long], numbered))):
            row = self.summary.rows.get(name)
            if row and row.case_key == key and name.casefold() not in self.taken:
                return name
        if stem is not None and self.stems[stem.casefold()] == 1 and self._is_free(stem, key):
            return stem
        numbered = (f"{long}-{i}" for i in count(2))
        return next(name for name in chain([long], numbered) if self._is_free(name, key))

    def of_failure(self, file: GivenFile, stem: str | None) -> str:
        """The name for a file that cannot be read: there is no case, and a row of results must not be replaced."""
        key = file_key(file.path, self.salt)
        if stem is None:
            return f"file-{key}"
        row = self.summary.rows.get(stem)
        free = self.stems[stem.casefold()] == 1 and stem.casefold() not in self.taken
        return stem if free and (row is None or row.status == Status.FAILED) else f"{stem}-{key[:_SHORT_KEY]}"

    def is_done(self, row: SummaryRow) -> bool:
        """Whether the summary has a result for the same pixels, model, spacing and options as ``row``."""
        before = self.summary.rows.get(row.name)
        if before is None or before.status == Status.FAILED:
            return False
        same = ("case_key", "model", "model_version", "options", "unit", "spacing_x", "spacing_y", "spacing_source")
        return all(getattr(before, column) == getattr(row, column) for column in same)

    def keep(self, row: SummaryRow) -> SummaryRow:
        """The row that is there already, whose name is now taken."""
        self.taken.add(row.name.casefold())
        return self.summary.rows[row.name]

    def write(self, row: SummaryRow, failed_name: str) -> None:
        """Put the row into the summary; an earlier failure of the same file goes."""
        failure = self.summary.rows.get(failed_name)
        self.taken.add(row.name.casefold())
        self.summary.write(row, failed_name if failure and failure.status == Status.FAILED else None)

    def _is_free(self, name: str, key: str) -> bool:
        row = self.summary.rows.get(name)
        return name.casefold() not in self.taken and (row is None or row.case_key in ("", key))


def _failure(
    file: GivenFile, number: int, row: SummaryRow, message: str, identifiers: frozenset[str] | None
) -> Outcome:
    """The outcome for a file without a result: a line that names it as it was typed, and a row that names nobody."""
    message = " ".join(message.split())
    shown = str(file.path)
    if file.folder is not None:
        below = str(file.path.relative_to(file.folder))
        if identifiers is None or contains_identifier(below, identifiers):
            shown = f"{file.folder} (file {number})"
    error = message.replace(str(file.path), shown)
    public = re.sub(r"[\ud800-\udfff]", "_", message.replace(str(file.path), row.name))
    names_folder = f"{file.path.parent}{os.sep}" in public
    if names_folder or contains_identifier(public.replace(row.name, ""), identifiers or ()):
        public = f"{row.name}: expected an image that can be used, got another; predict it alone to read why"
    return Outcome(replace(row, status=Status.FAILED, message=public), error=error)


def _walk(folder: Path) -> Iterator[Path]:
    """All files of a folder and its folders that are not hidden, in the order of their names."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _is_result(path: Path) -> bool:
    return path.name.endswith(RESULT_ENDINGS) or path.name == SUMMARY_FILE


def _is_image(path: Path) -> bool:
    """Whether a file in a folder is meant to be an image: damaged ones are, DICOM reports and indexes are not."""
    if _is_result(path):
        return False
    try:
        with path.open("rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
        if kind == "DICOM":
            with reading(path, kind):
                return series_of(path) is not None
    except (OSError, InputError):  # to be told when it is its turn
        return True
    return kind is not None or path.name.lower().endswith(IMAGE_SUFFIXES)
