"""The library for everybody else: what people decided, in files that other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from DenseLandmarksLib.annotation.case_masks import structure_mask, structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.exports.coco import write_coco
from DenseLandmarksLib.annotation.exports.landmark_csv import write_landmark_csv
from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.datalist import datalist, datalist_entry
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Review

ExportFormat = Literal["mrk.json", "csv", "coco", "seg.nrrd", "datalist"]
FORMATS: tuple[ExportFormat, ...] = ("mrk.json", "csv", "coco", "seg.nrrd", "datalist")
COCO_FILE, DATALIST_FILE = "landmarks.coco.json", "datalist.json"


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the files, how many ``cases``, and ``notes``, one line each, on what is not in them.

    ``whole`` is false where a case could not be read, or somebody stopped it: the notes say which.
    """

    written: tuple[Path, ...]
    cases: int
    notes: tuple[str, ...] = ()
    whole: bool = True


def export_library(
    library: Library,
    file_format: ExportFormat,
    folder: Path,
    reviewed_only: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Exported:
    """Write the newest revision of every case into ``folder``; images are not read.

    Parameters
    ----------
    file_format : ``mrk.json``, ``csv`` and ``seg.nrrd`` write a file for each case, called by the case's name, with the
        id where two share it; ``coco`` one file for all radiographs; ``datalist`` MONAI's list (see
        :mod:`~.datalist`), with a folder of markups and one of segmentations.
    reviewed_only : leave out landmarks and masks that nobody decided, and cases without any that somebody did. What
        a person was unsure of stays, and says so.
    progress : called with the number of cases done, and of all.
    cancelled : asked before each case; once true, nothing more is written.

    Absence and doubt are in each: as presence and review of every landmark, and as the review of every mask; a
    structure that is not there is an empty segment.

    Raises :class:`InputError`, in one line, for an unknown format and where nothing can be written.
    """
    if file_format not in FORMATS:
        raise InputError(f"expected a format of {', '.join(FORMATS)}, got {file_format!r}. Choose one of them.")
    export = _Export(library, file_format, Path(folder), reviewed_only)
    entries = library.cases()
    names = file_names(entries)
    with telling_disk_errors(export.folder):
        for done, entry in enumerate(entries):
            if cancelled():
                export.damage.append(f"stopped after {done} of {len(entries)} cases; the others are not there")
                return export.result()
            progress(done, len(entries))
            try:
                case = library.case(entry.id)
                state, info = case.load()
                if info is None:
                    export.left_out["nothing is saved there yet"] += 1
                else:
                    export.add(names[entry.id], case, state, info)
            except InputError as error:
                export.damage.append(f"{entry.name} is left out: {error}")
        export.finish()
        progress(len(entries), len(entries))
    return export.result()


def file_names(entries: Sequence[CaseEntry]) -> dict[str, str]:
    """What the files of each case are called, by its id: its name, with the id where two would be one file."""
    shared = Counter(entry.name.casefold() for entry in entries)
    return {
        entry.id: entry.name if shared[entry.name.casefold()] == 1 else f"{entry.name}-{entry.id}" for entry in entries
    }


class _Export:
    """An export under way."""

    def __init__(self, library: Library, file_format: ExportFormat, folder: Path, reviewed_only: bool) -> None:
        self.library, self.format, self.folder, self.reviewed_only = library, file_format, folder, reviewed_only
        self.written: list[Path] = []
        self.cases = 0
        self.left_out: Counter[str] = Counter()
        self.damage: list[str] = []
        self._for_coco: list[tuple[str, ImageGeometry, LandmarkSet]] = []
        self._for_datalist: list[dict[str, object]] = []

    def add(self, name: str, case: LibraryCase, state: CaseState, info: RevisionInfo) -> None:
        """Write what belongs to one case, or keep it for the file of all."""
        landmarks, structures = state.landmarks, state.structures
        if self.reviewed_only:
            landmarks = landmarks.rows(
                [i for i, review in enumerate(landmarks.review) if review is not Review.PREDICTED]
            )
            structures = tuple(s for s in structures if state.structure_review(s) is not Review.PREDICTED)
        wanted: list[Sized] = [] if self.format == "seg.nrrd" else [landmarks]
        wanted += [structures] if self.format in ("seg.nrrd", "datalist") else []
        if not any(map(len, wanted)):
            why = "nobody reviewed anything there" if self.reviewed_only else "it has nothing of that kind"
            self.left_out[why] += 1
            return
        if self.format == "coco" and not state.geometry.is_radiograph:
            self.left_out["COCO has no third axis for volumes; export mrk.json or csv"] += 1
            return
        if self.format == "mrk.json":
            write_markups(self._file(f"{name}.mrk.json"), landmarks, state.geometry.unit)
        elif self.format == "csv":
            write_landmark_csv(self._file(f"{name}.csv"), landmarks, state.geometry)
        elif self.format == "coco":
            self._for_coco.append((name, state.geometry, landmarks))
        elif self.format == "seg.nrrd":
            self._write_structures(f"{name}.seg.nrrd", state, structures)
        else:
            self._add_to_datalist(name, case, state, info, landmarks, structures)
        self.cases += 1

    def finish(self) -> None:
        """Write the file of all cases, where the format has one."""
        if self._for_coco:
            write_coco(self._file(COCO_FILE), self._for_coco)
        if self._for_datalist:
            content = datalist(self.library.name, self.library.new_landmarks(), self._for_datalist)
            write_json(self._file(DATALIST_FILE), content)

    def result(self) -> Exported:
        """What came of it."""
        counted = [
            f"{count} {'case is' if count == 1 else 'cases are'} left out: {why}"
            for why, count in self.left_out.items()
        ]
        return Exported(tuple(self.written), self.cases, (*counted, *self.damage), not self.damage)

    def _file(self, name: str) -> Path:
        path = self.folder / name
        self.written.append(path)
        return path

    def _write_structures(self, name: str, state: CaseState, structures: Sequence[str]) -> None:
        masks = np.stack([structure_mask(state, structure) for structure in structures])
        styles = [structure_style(state, structure) for structure in structures]
        reviews = [state.structure_review(structure) for structure in structures]
        write_segmentation(self._file(name), masks, state.geometry, styles, reviews)

    def _add_to_datalist(
        self,
        name: str,
        case: LibraryCase,
        state: CaseState,
        info: RevisionInfo,
        landmarks: LandmarkSet,
        structures: Sequence[str],
    ) -> None:
        files = {}
        if len(landmarks):
            files["landmarks"] = f"landmarks/{name}.mrk.json"
            write_markups(self._file(files["landmarks"]), landmarks, state.geometry.unit)
        if structures:
            files["label"] = f"labels/{name}.seg.nrrd"
            self._write_structures(files["label"], state, structures)
        self._for_datalist.append(datalist_entry(self.folder, files, case, state, info, landmarks, structures))
