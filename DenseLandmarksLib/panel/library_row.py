"""Which library is open, and bringing a folder of images into it."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.library.import_run import ImportRun
from DenseLandmarksLib.annotation.library.library import LIBRARY_FILE
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.case_list import CaseList
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.workbench import OWN_LIBRARY

logger = logging.getLogger(__name__)


class LibraryRow:
    """Name and size of the library, *Open case library*, *Add images*."""

    def __init__(self, panel: Frame, cases: CaseList) -> None:
        self._panel, self._ui, self._cases = panel, panel.ui, cases
        self._adding: ImportRun | None = None
        self._looks_for_case = False
        self._ui.openLibraryButton.clicked.connect(panel.telling(self._open))
        self._ui.addImagesButton.clicked.connect(panel.telling(self._add))
        self._ui.cancelAddingButton.clicked.connect(panel.telling(self._cancel))

    def enter(self) -> None:
        """Open again what was open last; where that is gone nothing is said, one can be opened at any time."""
        self._cases.forget()
        bench = self._panel.bench
        own = bench.desk.data_folder / OWN_LIBRARY
        for folder in (self._panel.settings.library, own):
            if bench.library is None and folder is not None:
                with suppress(InputError):
                    bench.open_library(folder)
                    self._looks_for_case = True

    def leave(self) -> None:
        """Adding images waits until the panel is open again."""

    def tick(self) -> None:
        """Take in one more image; find the case of an image that was chosen before there was a library."""
        if self._looks_for_case:  # not before a saved scene's own cases were opened
            self._looks_for_case = False
            self._panel.telling(self._take_up_volume)()
        if self._adding is not None:
            self._adding.step()
            if self._adding.is_over:
                self._end_adding(self._adding)
            else:
                self._show_adding()

    def refresh(self) -> None:
        """Show the library."""
        ui, library = self._ui, self._panel.bench.library
        self._cases.update()
        if library is None:
            ui.libraryName.text = _("none yet: the first case makes one")
            ui.libraryName.toolTip = _("Cases go into a library of your own unless you open another.")
        elif self._cases.problem:
            ui.libraryName.text = _("{name} · cannot be read").format(name=library.name)
            ui.libraryName.toolTip = self._cases.problem
        else:
            ui.libraryName.text = self._how_far(library.name)
            ui.libraryName.toolTip = str(library.folder)
        for button in (ui.openLibraryButton, ui.addImagesButton):
            button.enabled = self._adding is None
        self._show_adding()

    def _how_far(self, name: str) -> str:
        count, finished = len(self._cases.lines), self._cases.finished
        if not count:
            return _("{name} · no cases yet").format(name=name)
        return _("{name} · {finished} of {count} cases finished").format(name=name, finished=finished, count=count)

    def _show_adding(self) -> None:
        ui, adding = self._ui, self._adding
        for widget in (ui.addingLabel, ui.addingBar, ui.cancelAddingButton):
            widget.visible = adding is not None
        if adding is not None:
            ui.addingBar.value = round(100 * adding.fraction)
            ui.addingBar.format = _("{done} of {total} files").format(done=adding.done, total=adding.total)

    def _open(self) -> None:
        bench, settings = self._panel.bench, self._panel.settings
        start = bench.library.folder if bench.library is not None else settings.library
        chosen = _folder(_("Folder of a case library"), start)
        if chosen is None:
            return
        if not os.path.exists(chosen / LIBRARY_FILE):  # false also where it may not be read: then making one says so
            question = _("{folder} is not a case library yet. Make one there?").format(folder=chosen)
            if not slicer.util.confirmYesNoDisplay(question, _("Open case library")):
                return
            bench.create_library(chosen, chosen.name or _("cases"))
        else:
            bench.open_library(chosen)
        settings.library = chosen
        self._cases.forget()
        self._take_up_volume()

    def _take_up_volume(self) -> None:
        """The library may have the case of the image that is chosen."""
        if self._panel.bench.case is None and self._panel.volume is not None:
            self._panel.bench.take_volume(self._panel.volume)

    def _add(self) -> None:
        chosen = _folder(_("Folder with images"), None)
        if chosen is not None:
            bench = self._panel.bench
            self._adding = ImportRun(bench.need_library(), [chosen], bench.who)

    def _cancel(self) -> None:
        if self._adding is not None:
            self._adding.cancel()
            self._end_adding(self._adding)

    def _end_adding(self, adding: ImportRun) -> None:
        self._adding = None
        self._cases.forget()
        result = adding.result
        added = sum(image.case is not None for image in result.images)
        line = _("Added: {added} of {count} images.").format(added=added, count=len(result.images))
        if result.notes:
            line += f" {result.notes[0]}"
        if len(result.notes) > 1:
            line += " " + _("({count} more in the log)").format(count=len(result.notes) - 1)
        for note in result.notes:
            logger.warning("%s", note)
        self._panel.bench.tell(line)
        self._panel.refresh()


def _folder(title: str, start: Path | None) -> Path | None:
    """Ask for a folder; ``None`` where the person changed their mind."""
    said = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, "" if start is None else str(start))
    return Path(said) if said else None
