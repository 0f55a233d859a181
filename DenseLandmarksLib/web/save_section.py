"""The section Save and export: revisions of the case, and files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.library.export import CASE_FORMATS, ExportRun, export_case
from DenseLandmarksLib.annotation.library.exported_files import Exported
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.web.state import FORMATS, SCOPES, Frame, items


class SaveSection:
    """Saves the case in hand, brings earlier revisions back, and makes files that the browser fetches."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._revisions: list[RevisionInfo] = []
        self._listed: object = None
        self._export: ExportRun | None = None
        self._folder = Path()
        self._link = ""
        frame.server.state.update({"revision": None})
        frame.command("save", self._save)
        frame.command("set_who", self._set_who)
        frame.command("restore", self._restore)
        frame.command("export", self._begin_export)
        frame.command("cancel_export", self._cancel_export)

    def tick(self) -> None:
        """Write one more case of an export that is under way."""
        run = self._export
        if run is None:
            return
        self._export = None  # also where the step cannot be done
        run.step()
        self._bench.version += 1
        if run.is_over:
            self._offer(run.result, self._bench.need_library().name)
        else:
            self._export = run

    def shown(self) -> dict[str, Any]:
        """What is saved, what there is to go back to, and what can be written."""
        self._list_revisions()
        return {
            "who": self._bench.who,
            "saved_line": self._saved_line(),
            "revisions": [{"value": info.number, "title": _line(info)} for info in self._revisions],
            "exporting": self._export is not None,
            "export_percent": 0 if self._export is None else round(100 * self._export.fraction),
            "why_no_export": self._why_no_export(),
            "export_link": self._link,
        }

    def _saved_line(self) -> str:
        session = self._bench.session
        if session is None:
            return "No case is open."
        saved = f"revision {session.revision}" if session.revision else "not saved yet"
        return f"{session.case.name}: {saved}" + (", with unsaved changes" if session.unsaved else "")

    def _list_revisions(self) -> None:
        """Read them only when there can be others: another case, or another revision of it."""
        session = self._bench.session
        wanted = None if session is None else (session.case, session.revision)
        if wanted != self._listed:
            self._listed = wanted
            self._revisions = [] if session is None else list(reversed(session.case.saved_since(0)))
            self._frame.choose(revision=self._revisions[0].number if self._revisions else None)

    def _why_no_export(self) -> str:
        if self._frame.chosen("export_scope") == "library":
            return "" if self._bench.library is not None else "Open a case library first."
        if self._bench.case is None:
            return "Open a case first."
        if self._frame.chosen("export_format") not in CASE_FORMATS:
            return "Training data is a list of cases: choose all saved cases of the library."
        return ""

    # What is done.

    def _save(self) -> None:
        if self._bench.save(self._frame.chosen("why").strip()):
            self._frame.choose(why="")

    def _set_who(self, name: str) -> None:
        self._bench.who = str(name).strip()

    def _restore(self) -> None:
        session, number = self._bench.session, self._frame.server.state["revision"]
        if session is not None and number in [info.number for info in self._revisions]:
            state, _info = session.case.load(number)
            self._bench.do(Session.restore, state)

    def _begin_export(self) -> None:
        bench, file_format, self._link = self._bench, self._frame.chosen("export_format"), ""
        if self._export is not None or self._why_no_export():
            return
        folder = self._folder = self._frame.downloads.new_folder()
        reviewed_only = self._frame.chosen("reviewed_only")
        if self._frame.chosen("export_scope") == "library":
            self._export = ExportRun(bench.need_library(), file_format, folder, reviewed_only)
        elif bench.case is not None and bench.case.settle():
            session = bench.case.session
            self._offer(export_case(session.case, session.state, file_format, folder, reviewed_only), session.case.name)

    def _cancel_export(self) -> None:
        if self._export is not None:
            self._export.cancel()

    def _offer(self, exported: Exported, title: str) -> None:
        notes = [f"{note}." for note in exported.notes]
        if not exported.written:
            self._bench.tell(" ".join(("Nothing was exported.", *notes)))
            return
        self._link = self._frame.downloads.offer(self._folder, title)
        line = f"Exported: cases {exported.cases}, files {len(exported.written)}. Download them below."
        self._bench.tell(" ".join((line, *notes)))

    # How it looks.

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Label("Your name")
            v.VTextField(
                model_value=("who",),
                id="who",
                classes="grow",
                title="As revisions name you.",
                raw_attrs=["@change=\"trigger('set_who', [$event.target.value])\""],
            )
        with html.Div(classes="row"):
            html.Label("Case")
            html.Span("{{ saved_line }}", id="saved", classes="grow")
        with html.Div(classes="row"):
            html.Label("Note")
            v.VTextField(
                v_model=("why",),
                id="why",
                placeholder="What was done (optional)",
                classes="grow",
                disabled=("!has_case",),
                title="Stands beside the revision.",
            )
            v.VBtn(
                "Save",
                id="save",
                color="primary",
                disabled=("!has_case",),
                title="Write the next revision of the case. Earlier ones stay. (Ctrl+Enter)",
                click="trigger('save')",
            )
        with html.Div(classes="row"):
            html.Label("Revision")
            v.VSelect(
                v_model=("revision",),
                items=("revisions",),
                id="revision",
                classes="grow",
                disabled=("!revisions.length",),
                title="All that was ever saved of this case.",
            )
            v.VBtn(
                "Restore",
                id="restore",
                disabled=("!revisions.length",),
                title="The case is again as in this revision; one undo takes it back.",
                click="trigger('restore')",
            )
        with html.Div(classes="row"):
            html.Label("Import")
            v.VBtn(
                "Landmarks from a file…",
                id="import",
                disabled=("!has_case || !!adding",),
                title="Markups, .fcsv, CSV or COCO; one undo takes it back.",
                click="window.document.getElementById('upload').click()",
            )
        with html.Div(classes="row"):
            html.Label("Export")
            v.VSelect(v_model=("export_scope",), items=("scopes", items(SCOPES)), id="export-scope", classes="grow")
            v.VSelect(v_model=("export_format",), items=("formats", items(FORMATS)), id="export-format", classes="grow")
        with html.Div(classes="row"):
            html.Label()
            v.VCheckbox(
                v_model=("reviewed_only",),
                label="Only what was decided",
                classes="grow",
                title="Leave out what nobody decided.",
            )
            v.VBtn(
                "{{ exporting ? 'Cancel' : 'Export' }}",
                id="export",
                disabled=("!exporting && !!why_no_export",),
                title=("why_no_export || 'Write the files, to be downloaded.'",),
                click="trigger(exporting ? 'cancel_export' : 'export')",
            )
        v.VProgressLinear(v_if=("exporting",), model_value=("export_percent",), height=6, rounded=True)
        with html.Div(classes="row", v_if=("export_link",)):
            html.Label()
            html.A("Download the exported files", id="download", href=("export_link",), download=True, classes="grow")


def _line(info: RevisionInfo) -> str:
    when = info.when.replace("T", " ")[:16]
    line = f"{info.number}: {info.reviewed} of {info.landmarks} decided, {info.who or 'somebody'}, {when}"
    return f"{line} - {info.why}" if info.why else line
