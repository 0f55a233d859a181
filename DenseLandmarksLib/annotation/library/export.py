"""The library for everybody else: what people decided, in files that other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.exported_files import FORMATS, Exported, ExportedFiles, ExportFormat
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.errors import InputError

# What one case can be written in: MONAI's list is of a library, and of what is saved.
CASE_FORMATS: tuple[ExportFormat, ...] = tuple(one for one in FORMATS if one != "datalist")


class ExportRun:
    """An export of a library that goes on one case at a time, for windows that must not wait.

    Attributes
    ----------
    folder : where the files go.
    done, total : how many cases it is through with, and of how many.
    is_over : whether there is nothing left to do, also because somebody stopped it.
    """

    def __init__(self, library: Library, file_format: ExportFormat, folder: Path, reviewed_only: bool = False) -> None:
        """Begin; nothing is written yet. See :func:`export_library`, and what it raises."""
        self._library = library
        self.folder = Path(folder)
        self._files = ExportedFiles(library, file_format, self.folder, reviewed_only)
        self._entries = library.cases()
        self._names = file_names(self._entries)
        self.done, self.total = 0, len(self._entries)
        self.is_over = not self._entries

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def result(self) -> Exported:
        """What came of it so far."""
        return self._files.result()

    def step(self) -> bool:
        """Export one case, and with the last the file of all; returns whether there is more to do.

        Raises :class:`InputError` where nothing can be written; the export is over then.
        """
        if self.is_over:
            return False
        self.is_over = True  # until this step has come to its end
        with telling_disk_errors(self.folder):
            self._export(self._entries[self.done])
            self.done += 1
            if self.done == self.total:
                self._files.finish()
        self.is_over = self.done == self.total
        return not self.is_over

    def cancel(self) -> None:
        """Stop; a file of all cases is not written, and the result says how far it came."""
        if not self.is_over:
            self._files.damage.append(f"stopped after {self.done} of {self.total} cases; the others are not there")
            self.is_over = True

    def _export(self, entry: CaseEntry) -> None:
        try:
            case = self._library.case(entry.id)
            state, info = case.load()
            if info is None:
                self._files.leave_out("nothing is saved there yet")
            else:
                self._files.add(self._names[entry.id], case, state, info)
        except InputError as error:
            self._files.damage.append(f"{entry.name} is left out: {error}")


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
    run = ExportRun(library, file_format, folder, reviewed_only)
    progress(run.done, run.total)
    while not run.is_over:
        if cancelled():
            run.cancel()
        else:
            run.step()
            progress(run.done, run.total)
    return run.result


def export_case(
    case: LibraryCase, state: CaseState, file_format: ExportFormat, folder: Path, reviewed_only: bool = False
) -> Exported:
    """Write one case as it is in ``state``, saved or not, into ``folder``; the image is not read.

    ``file_format`` is one of :data:`CASE_FORMATS`; the files are called as in an export of the library, one of COCO like the
    case. Raises :class:`InputError`, in one line, for another format and where nothing can be written.
    """
    if file_format not in CASE_FORMATS:
        raise InputError(f"expected a format of {', '.join(CASE_FORMATS)}, got {file_format!r}. Choose one of them.")
    library = Library.open(case.library_folder)
    name = file_names(library.cases()).get(case.id, case.name)
    files = ExportedFiles(library, file_format, Path(folder), reviewed_only, f"{name}.coco.json")
    with telling_disk_errors(files.folder):
        files.add(name, case, state, None)
        files.finish()
    return files.result()


def file_names(entries: Sequence[CaseEntry]) -> dict[str, str]:
    """What the files of each case are called, by its id: its name, with the id where two would be one file."""
    shared = Counter(entry.name.casefold() for entry in entries)
    return {
        entry.id: entry.name if shared[entry.name.casefold()] == 1 else f"{entry.name}-{entry.id}" for entry in entries
    }
