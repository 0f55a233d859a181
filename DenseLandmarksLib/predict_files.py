"""Predicting many files: each gets its results and its row in the summary, and none stops the others."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from DenseLandmarksLib.annotation.case_key import case_key
from DenseLandmarksLib.annotation.exports.result_name import safe_name
from DenseLandmarksLib.annotation.exports.result_names import ResultNames
from DenseLandmarksLib.annotation.exports.results import results_are_whole, write_results
from DenseLandmarksLib.annotation.exports.summary import (
    SUMMARY_FILE,
    Status,
    Summary,
    SummaryRow,
    image_columns,
    prediction_columns,
)
from DenseLandmarksLib.annotation.find_files import GivenFile
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_identifiers import contains_identifier, read_identifiers
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.view import MIRRORED
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.expectation import choose_view
from DenseLandmarksLib.models.fitting_models import fitting_instead, refuse_misfit
from DenseLandmarksLib.models.look_up import with_landmarks
from DenseLandmarksLib.models.prediction import Predictor

logger = logging.getLogger(__name__)


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

    @property
    def says_how_to_look(self) -> bool:
        """Whether a person decided it, so that the model does not."""
        return self.turn_deg is not None or self.flip is not None or bool(self.laterality)

    def __str__(self) -> str:
        """As it stands in the summary. The spacing has columns of its own, which say what came of it."""
        words = [] if self.turn_deg is None else [f"--turn {self.turn_deg}"]
        words += [] if self.flip is None else ["--flip" if self.flip else "--no-flip"]
        words += [f"--laterality {self.laterality}"] if self.laterality else []
        return " ".join([*words, *(f"--landmark {landmark}" for landmark in self.new_landmarks)])


@dataclass(frozen=True)
class Outcome:
    """What came of one file: its row in the summary, the files written, whether it was done before.

    ``error`` is the line for the person who gave the file, which may name it as it was typed; ``instead`` names the model that
    knows the body part which the file states, where the one that predicted does not.
    """

    row: SummaryRow
    written: tuple[Path, ...] = ()
    was_done: bool = False
    error: str = ""
    instead: str = ""


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
    bundle, predictor : the model, and a predictor of it; new landmarks are looked up in what it predicts.
    salt : as :func:`~DenseLandmarksLib.annotation.case_key.installation_salt` gives it.
    resume : pass over what is done: the same pixels, model, spacing and options, and all result files whole.

    Raises
    ------
    OSError : when results cannot be written; no file after it could be either.
    """
    names = ResultNames([file.path for file in files], Summary(folder / SUMMARY_FILE), salt)
    for number, file in enumerate(files, 1):
        started = time.perf_counter()
        identifiers = read_identifiers(file.path)
        stem = safe_name(file.path, identifiers)
        failed_name = names.of_failure(file.path, stem)
        row = SummaryRow(failed_name, model=bundle.name, model_version=bundle.version, options=str(options))
        try:
            image = read_image(file.path, options.spacing_mm)
            key = case_key(image, salt)
            image = replace(image, name=names.of_image(stem, key))
            row = replace(row, name=image.name, case_key=key, **image_columns(image))
            if resume and names.is_done(row) and results_are_whole(folder, row.name):
                yield Outcome(names.keep(row), was_done=True)
                continue
            refuse_misfit(bundle, image.name, image.geometry.size[2])
            view, reason = choose_view(
                bundle.expectation, image.acquisition, options.turn_deg, options.flip, options.laterality
            )
            prediction = predictor.predict(image, view if options.says_how_to_look else None)
            if prediction.view == view.then(MIRRORED):
                reason = "as that side looks better"
            if options.new_landmarks:
                prediction = with_landmarks(prediction, image.geometry, bundle.template, options.new_landmarks)
            highlighted = [landmark.name for landmark in options.new_landmarks]
            written = write_results(folder, image, prediction, bundle.styles, highlighted, key)
            row = replace(
                row,
                **prediction_columns(prediction),
                view_reason=reason,
                seconds=f"{time.perf_counter() - started:.2f}",
            )
            instead = fitting_instead(bundle, image.acquisition.body_part, image.geometry.size[2])
            outcome = Outcome(row, written, instead=instead)
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
