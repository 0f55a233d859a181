"""The table of a run over many images: a CSV file with one row for each, on the disk as soon as the image is done."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.exports.report import is_plausible, structure_is_found
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_text
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Prediction

SUMMARY_FILE = "summary.csv"


class Status(StrEnum):
    """How an image came out: done, done although the model doubts its own answer, or without a result."""

    DONE = "done"
    DOUBTFUL = "doubtful"
    FAILED = "failed"


@dataclass(frozen=True)
class SummaryRow:
    """One image, as the text that stands in the table; empty where there is nothing to say.

    Attributes
    ----------
    name : what the result files begin with; never a path.
    case_key : as :func:`~DenseLandmarksLib.annotation.case_key.case_key` gives it; empty for what cannot be read.
    status, message : a :class:`Status`, and for a failure why, in one line without folders.
    unit : of the spacing, ``mm`` or ``px``.
    spacing_x, spacing_y, spacing_z, spacing_source : size of a pixel, or of a volume's voxel, and where it came from.
    width_px, height_px, slices : size of the image.
    structures_found, structures, landmarks_present, landmarks : how many, and of how many.
    mean_confidence : of the landmarks that are present, 0 to 1.
    view, view_reason : how the model saw the image, and why not as stored.
    plausible, doubts : yes or no, and the reasons; empty for models that cannot tell.
    suggested_view : how the image would be plausible, where there is a way.
    seconds : from reading the image to the last result file.
    model, model_version, device : what made it, and where it ran.
    options : what a person asked for that changes the result.
    """

    name: str
    case_key: str = ""
    status: str = Status.DONE
    message: str = ""
    unit: str = ""
    spacing_x: str = ""
    spacing_y: str = ""
    spacing_z: str = ""
    spacing_source: str = ""
    width_px: str = ""
    height_px: str = ""
    slices: str = ""
    structures_found: str = ""
    structures: str = ""
    landmarks_present: str = ""
    landmarks: str = ""
    mean_confidence: str = ""
    view: str = ""
    view_reason: str = ""
    plausible: str = ""
    doubts: str = ""
    suggested_view: str = ""
    seconds: str = ""
    model: str = ""
    model_version: str = ""
    device: str = ""
    options: str = ""


COLUMNS = tuple(field.name for field in fields(SummaryRow))


def image_columns(image: MedicalImage) -> dict[str, str]:
    """What the table says about an image itself, by column."""
    spacing_x, spacing_y, spacing_z = image.volume.GetSpacing()
    width, height, slices = image.volume.GetSize()
    return {
        "unit": image.unit,
        "spacing_x": f"{spacing_x:.6g}",
        "spacing_y": f"{spacing_y:.6g}",
        "spacing_z": "" if image.is_radiograph else f"{spacing_z:.6g}",
        "spacing_source": str(image.spacing_source),
        "width_px": str(width),
        "height_px": str(height),
        "slices": str(slices),
    }


def prediction_columns(prediction: Prediction) -> dict[str, str]:
    """What the table says about a prediction, by column."""
    landmarks = prediction.landmarks
    present = np.array([presence is Presence.PRESENT for presence in landmarks.presence], bool)
    plausible = is_plausible(prediction)
    suggested = prediction.plausibility.suggested_view
    return {
        "status": Status.DOUBTFUL if plausible is False else Status.DONE,
        "structures_found": str(sum(structure_is_found(prediction, s) for s in range(len(prediction.structures)))),
        "structures": str(len(prediction.structures)),
        "landmarks_present": str(present.sum()),
        "landmarks": str(len(landmarks)),
        "mean_confidence": f"{np.nanmean(landmarks.confidence[present]):.3f}" if present.any() else "",
        "model": prediction.model_name,
        "model_version": prediction.model_version,
        "device": prediction.device,
        "plausible": {None: "", True: "yes", False: "no"}[plausible],
        "view": str(prediction.view),
        "doubts": "; ".join(prediction.plausibility.doubts),
        "suggested_view": "" if suggested is None else str(suggested),
    }


class Summary:
    """The rows of a summary file, by name, and the file.

    A row is on the disk when :meth:`write` returns. A row of a name that is there already takes its place; all others
    stay. A last row that a crash cut off is left out.

    Raises
    ------
    InputError : when ``path`` is a file of another kind, which is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, SummaryRow] = {}
        if path.exists():
            self._read()

    def write(self, row: SummaryRow, replaces: str | None = None) -> None:
        """Put ``row`` into the file, in the place of the row of its own name or of that called ``replaces``."""
        gone = {row.name, replaces} & self.rows.keys()
        if not gone and self.path.exists():
            self.rows[row.name] = row
            self._append(row)
            return
        rows: dict[str, SummaryRow] = {}
        for name, old in self.rows.items():
            if name not in gone:
                rows[name] = old
            elif row.name not in rows:
                rows[row.name] = row
        rows.setdefault(row.name, row)
        write_text(self.path, _csv([COLUMNS, *map(astuple, rows.values())]))
        self.rows = rows

    def _append(self, row: SummaryRow) -> None:
        # One call, so that a stop never comes between two halves of a row.
        with self.path.open("ab", buffering=0) as file:
            file.write(_csv([astuple(row)]).encode())
            os.fsync(file.fileno())

    def _read(self) -> None:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
            header, *records = csv.reader(io.StringIO(text, newline=""))
        except (ValueError, csv.Error):
            header, records = [], []
        # Earlier versions had fewer columns.
        if tuple(header[:4]) != COLUMNS[:4] or not set(header) <= set(COLUMNS):
            raise InputError(
                f"expected {self.path} to be a summary of this program, got a file with other columns. Move it away, or "
                "give another --output."
            )
        torn = not text.endswith("\n")
        for record in records[:-1] if torn else records:
            if len(record) == len(header):
                self.rows[record[0]] = SummaryRow(**dict(zip(header, record, strict=True)))
        if torn or tuple(header) != COLUMNS:
            write_text(self.path, _csv([COLUMNS, *map(astuple, self.rows.values())]))


def _csv(records: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(records)
    return text.getvalue()
