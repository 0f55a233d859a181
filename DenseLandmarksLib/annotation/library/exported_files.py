"""The files of an export: each case in its own, or all in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized
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


class ExportedFiles:
    """The files of an export under way.

    Attributes
    ----------
    folder : where they go.
    damage : a line for each case that could not be read, and where somebody stopped it.
    """

    def __init__(
        self,
        library: Library,
        file_format: ExportFormat,
        folder: Path,
        reviewed_only: bool = False,
        coco_file: str = COCO_FILE,
    ) -> None:
        """``file_format`` and ``reviewed_only`` as in :func:`export_library`; ``coco_file`` is what its one file is called.

        Raises :class:`InputError` for an unknown format.
        """
        if file_format not in FORMATS:
            raise InputError(f"expected a format of {', '.join(FORMATS)}, got {file_format!r}. Choose one of them.")
        self.folder = folder
        self.damage: list[str] = []
        self._library, self._format, self._reviewed_only = library, file_format, reviewed_only
        self._coco_file = coco_file
        self._written: list[Path] = []
        self._cases = 0
        self._left_out: Counter[str] = Counter()
        self._for_coco: list[tuple[str, ImageGeometry, LandmarkSet]] = []
        self._for_datalist: list[dict[str, object]] = []

    def leave_out(self, why: str) -> None:
        """A case is not exported; cases that are left out for the same reason make one line."""
        self._left_out[why] += 1

    def add(self, name: str, case: LibraryCase, state: CaseState, info: RevisionInfo | None) -> None:
        """Write what belongs to one case, or keep it for the file of all; ``name`` is what its files are called.

        ``info`` is of the revision that ``state`` is; without one a state is not listed for training.
        """
        landmarks, structures = state.landmarks, state.structures
        if self._reviewed_only:
            landmarks = landmarks.rows(
                [i for i, review in enumerate(landmarks.review) if review is not Review.PREDICTED]
            )
            structures = tuple(s for s in structures if state.structure_review(s) is not Review.PREDICTED)
        why_not = self._why_not(state, info, landmarks, structures)
        if why_not:
            self.leave_out(why_not)
            return
        if self._format == "mrk.json":
            write_markups(self._file(f"{name}.mrk.json"), landmarks, state.geometry.unit)
        elif self._format == "csv":
            write_landmark_csv(self._file(f"{name}.csv"), landmarks, state.geometry)
        elif self._format == "coco":
            self._for_coco.append((name, state.geometry, landmarks))
        elif self._format == "seg.nrrd":
            self._write_structures(f"{name}.seg.nrrd", state, structures)
        elif info is not None:
            self._add_to_datalist(name, case, state, info, landmarks, structures)
        self._cases += 1

    def finish(self) -> None:
        """Write the file of all cases, where the format has one."""
        if self._for_coco:
            write_coco(self._file(self._coco_file), self._for_coco)
        if self._for_datalist:
            content = datalist(self._library.name, self._library.new_landmarks(), self._for_datalist)
            write_json(self._file(DATALIST_FILE), content)

    def result(self) -> Exported:
        """What came of it."""
        counted = [
            f"{count} {'case is' if count == 1 else 'cases are'} left out: {why}"
            for why, count in self._left_out.items()
        ]
        return Exported(tuple(self._written), self._cases, (*counted, *self.damage), not self.damage)

    def _why_not(self, state: CaseState, info: RevisionInfo | None, landmarks: Sized, structures: Sized) -> str:
        """Why a case cannot be written, in a clause; empty where it can."""
        wanted = [] if self._format == "seg.nrrd" else [landmarks]
        wanted += [structures] if self._format in ("seg.nrrd", "datalist") else []
        if not any(map(len, wanted)):
            return "nobody reviewed anything there" if self._reviewed_only else "it has nothing of that kind"
        if self._format == "coco" and not state.geometry.is_radiograph:
            return "COCO has no third axis for volumes; export mrk.json or csv"
        if self._format == "datalist" and info is None:
            return "what is not saved teaches nobody"
        return ""

    def _file(self, name: str) -> Path:
        path = self.folder / name
        self._written.append(path)
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
