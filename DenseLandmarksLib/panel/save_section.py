"""Section 5, Save and export: revisions of the case, files for other programs, landmarks from files."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.export import CASE_FORMATS, ExportRun, export_case
from DenseLandmarksLib.annotation.library.exported_files import Exported
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.choices import ExportScope
from DenseLandmarksLib.panel.frame import Frame


class SaveSection:
    """Saves the case in hand, brings earlier revisions back, and writes files."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._revisions: list[RevisionInfo] = []
        self._listed: object = None
        self._export: ExportRun | None = None
        self._folder = ""
        ui = self._ui
        ui.whoEdit.text = panel.settings.who
        ui.whoEdit.connect("editingFinished()", self._take_name)
        ui.saveButton.clicked.connect(panel.telling(self.save))
        ui.restoreButton.clicked.connect(panel.telling(self._restore))
        ui.importButton.clicked.connect(panel.telling(self._import))
        ui.exportButton.clicked.connect(panel.telling(self._begin_export))
        ui.cancelExportButton.clicked.connect(panel.telling(self._cancel_export))

    # What is shown.

    def refresh(self) -> None:
        """What is saved, what there is to go back to, and what can be written."""
        ui, session = self._ui, self._panel.bench.session
        has_case = session is not None
        ui.savedState.text = self._saved_line()
        for widget in (ui.saveButton, ui.whyEdit, ui.importButton):
            widget.enabled = has_case
        self._list_revisions()
        ui.revisionSelector.enabled = ui.restoreButton.enabled = bool(self._revisions)
        under_way = self._export is not None
        ui.exportBar.visible = ui.cancelExportButton.visible = under_way
        why_not = self._why_no_export()
        ui.exportButton.enabled = not under_way and not why_not
        ui.exportButton.toolTip = why_not or _("Choose a folder and write the files.")

    def tick(self) -> None:
        """Write one more case of an export that is under way."""
        run = self._export
        if run is None:
            return
        try:
            run.step()
        except InputError as error:
            self._export = None
            self._panel.bench.tell(str(error))
            return
        self._ui.exportBar.value = round(100 * run.fraction)
        if run.is_over:
            self._export = None
            self._tell_written(run.result, self._folder)

    def enter(self) -> None:
        """Nothing to prepare."""

    def leave(self) -> None:
        """An export stops when the panel is left: what is written stays, and is told."""
        if self._export is not None:
            self._export.cancel()
            self.tick()

    def _why_no_export(self) -> str:
        parameters, bench = self._panel.parameters, self._panel.bench
        if parameters is None or (parameters.exportScope is ExportScope.LIBRARY and bench.library is None):
            return _("Open a case library first.")
        if parameters.exportScope is ExportScope.LIBRARY:
            return ""
        if bench.case is None:
            return _("Open a case first.")
        if parameters.exportFormat.value not in CASE_FORMATS:
            return _("Training data is a list of cases: choose all saved cases of the library.")
        return ""

    def _saved_line(self) -> str:
        session = self._panel.bench.session
        if session is None:
            return _("No case is open.")
        if session.revision == 0:
            text = _("{case}: not saved yet").format(case=session.case.name)
        else:
            text = _("{case}: revision {number}").format(case=session.case.name, number=session.revision)
        return text + (_(", with unsaved changes") if session.unsaved else "")

    def _list_revisions(self) -> None:
        """Read them only when there can be others: another case, or another revision of it."""
        session = self._panel.bench.session
        wanted = None if session is None else (session.case, session.revision)
        if wanted == self._listed:
            return
        self._listed = wanted
        self._revisions = [] if session is None else list(reversed(session.case.saved_since(0)))
        selector = self._ui.revisionSelector
        selector.clear()
        for info in self._revisions:
            line = _("{number}: {reviewed} of {landmarks} decided, {who}, {when}").format(
                number=info.number,
                reviewed=info.reviewed,
                landmarks=info.landmarks,
                who=info.who or _("somebody"),
                when=info.when.replace("T", " ")[:16],
            )
            selector.addItem(f"{line} - {info.why}" if info.why else line)

    # What is done.

    def save(self) -> None:
        """Write the next revision with the note that was typed."""
        bench = self._panel.bench
        if bench.save(self._ui.whyEdit.text.strip()):
            self._ui.whyEdit.clear()

    def _take_name(self) -> None:
        self._panel.settings.who = self._ui.whoEdit.text
        self._panel.bench.who = self._panel.settings.who

    def _restore(self) -> None:
        row, session = self._ui.revisionSelector.currentIndex, self._panel.bench.session
        if session is not None and 0 <= row < len(self._revisions):
            state, _info = session.case.load(self._revisions[row].number)
            self._panel.bench.do(Session.restore, state)

    def _import(self) -> None:
        session = self._panel.bench.session
        path = qt.QFileDialog.getOpenFileName(
            None,
            _("Landmarks from a file"),
            "",
            _("Landmarks ({patterns})").format(patterns="*.mrk.json *.fcsv *.csv *.json"),
        )
        if path and session is not None:
            read = read_landmarks(Path(path), session.state.geometry, session.case.name)
            self._panel.bench.do(Session.import_landmarks, read)

    def _begin_export(self) -> None:
        parameters, bench = self._panel.parameters, self._panel.bench
        folder = qt.QFileDialog.getExistingDirectory(None, _("A folder for the files"), "")
        if not folder:
            return
        file_format, reviewed_only = parameters.exportFormat.value, parameters.reviewedOnly
        if parameters.exportScope is ExportScope.LIBRARY:
            self._export, self._folder = (
                ExportRun(bench.need_library(), file_format, Path(folder), reviewed_only),
                folder,
            )
        elif bench.case is not None and bench.case.settle():
            session = bench.case.session
            written = export_case(session.case, session.state, file_format, Path(folder), reviewed_only)
            self._tell_written(written, folder)

    def _cancel_export(self) -> None:
        if self._export is not None:
            self._export.cancel()

    def _tell_written(self, exported: Exported, folder: str) -> None:
        line = _("Exported to {folder}: cases {cases}, files {files}.").format(
            cases=exported.cases, files=len(exported.written), folder=folder
        )
        self._panel.bench.tell(" ".join((line, *(f"{note}." for note in exported.notes))))
