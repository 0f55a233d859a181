"""The section Retrain: a new version of the model out of what people decided, how it goes, and what it is worth."""

from __future__ import annotations

from typing import Any

from trame.widgets import html

from DenseLandmarksLib.annotation.retraining.comparison import NOT_WORSE, Comparison, signed
from DenseLandmarksLib.annotation.retraining.curves import Curves
from DenseLandmarksLib.annotation.retraining.lessons import Lessons
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.web.curve_chart import chart
from DenseLandmarksLib.web.original_cases_row import OriginalCasesRow
from DenseLandmarksLib.web.retrain_form import draw_form
from DenseLandmarksLib.web.state import Frame

# As in Slicer's plots.
ERROR_COLOUR, LOSS_COLOUR = "#e69f5b", "#64b5f6"


class RetrainSection:
    """Forwards to the workbench's retraining. ``place`` is that of the section among those of the page."""

    def __init__(self, frame: Frame, place: int) -> None:
        self._frame, self._bench, self._place = frame, frame.bench, place
        self._original = OriginalCasesRow(frame)
        self._charts: tuple[Curves, list[dict[str, Any]]] | None = None
        frame.server.state.change("open_sections")(lambda **_: self._look())
        frame.command("retrain", self._retrain)
        frame.command("cancel_retraining", lambda: self._bench.retraining.cancel())
        frame.command("go_on_retraining", lambda: self._bench.retraining.go_on())
        frame.command("make_active", lambda: self._bench.tell(self._bench.retraining.make_active()))
        frame.command("roll_back", self._roll_back)
        frame.command("annotate_blind", lambda: self._bench.annotate_blind(frame.chosen("model")))

    def shown(self) -> dict[str, Any]:
        """How much there is to learn from, how it goes, what came of it; and for each button why it cannot be pressed."""
        retraining = self._bench.retraining
        status, compared, version = retraining.status, retraining.comparison, retraining.new_version()
        return {
            "lessons_line": self._lessons_line(),
            **self._original.shown(),
            "why_no_retraining": self._why_not_retrain(),
            "retraining": retraining.is_under_way,
            "retraining_cancels": status is not None and status.is_cancelling,
            "retraining_can_go_on": retraining.can_go_on,
            "retraining_percent": 0 if status is None else round(100 * status.fraction),
            "retraining_line": retraining.line,
            "retraining_charts": self._draw_curves(retraining.curves),
            "retraining_rows": rows_of(compared, retraining.parent_version, "" if version is None else version.version),
            "retraining_verdict": "" if compared is None else compared.line,
            "retraining_is_unsure": compared is None or compared.outcome != NOT_WORSE,
            "why_not_active": self._why_not_activate(),
            "why_no_roll_back": self._why_not_roll_back(),
            "why_not_blind": "" if self._bench.library is not None else "Open a case library first.",
        }

    def draw(self) -> None:
        """Draw it."""
        html.Div("{{ lessons_line }}", classes="quiet", id="lessons")
        self._original.draw()
        draw_form()

    def _look(self) -> None:
        """Cases are read for what is in sight alone."""
        opened = self._frame.server.state["open_sections"]
        self._bench.retraining.is_in_sight = isinstance(opened, list) and self._place in opened
        self._bench.retraining.look_again()

    def _lessons_line(self) -> str:
        if self._bench.library is None:
            return "Open a case library first."
        lessons = self._bench.retraining.lessons
        if lessons is None:
            return "Counting what there is to learn from …"
        if not lessons.is_anything:
            return " ".join(
                ("Nothing to learn from yet: decide landmarks of a case, and save it.", *self._compared(lessons))
            )
        line = (
            f"To learn from: {lessons.corrected} corrected, {lessons.placed} placed, {lessons.verified} verified and "
            f"{lessons.absent} absent landmarks in {lessons.cases} cases."
        )
        return " ".join((line, *self._compared(lessons)))

    def _compared(self, lessons: Lessons) -> tuple[str, ...]:
        """What there is to compare versions of the chosen model on, and what is lacking."""
        model, lines = chosen_model(self._frame.chosen("model")).description, list[str]()
        if model is not None:
            lines.append(f"{lessons.for_comparison(model)} of {lessons.needed} cases to compare versions on.")
        if lessons.unreadable:
            lines.append(f"{lessons.unreadable} cases cannot be read.")
        return tuple(lines)

    def _draw_curves(self, curves: Curves) -> list[dict[str, Any]]:
        if self._charts is None or self._charts[0] != curves:
            error = chart("Error (mm)", curves.error_mm, ERROR_COLOUR, from_zero=True)
            drawn = [error, chart("Loss", curves.loss, LOSS_COLOUR)]
            self._charts = curves, [one for one in drawn if one["line"]]
        return self._charts[1]

    def _why_not_retrain(self) -> str:
        retraining = self._bench.retraining
        if self._bench.library is None:
            return "Open a case library first."
        if retraining.is_under_way:
            return "A retraining of this library is under way."
        if retraining.lessons is not None and not retraining.lessons.is_anything:
            return "There is nothing to learn from yet."
        return ""

    def _why_not_activate(self) -> str:
        version = self._bench.retraining.new_version()
        if version is None:
            return "No retraining of this library made a version yet."
        if version.active:
            return "The new version is in use."
        return version.problem

    def _why_not_roll_back(self) -> str:
        before = self._bench.retraining.version_before(self._frame.chosen("model"))
        return "The version in use was not made by retraining." if before is None else ""

    def _retrain(self) -> None:
        self._bench.retrain(self._frame.chosen("model"), self._frame.chosen("device"))

    def _roll_back(self) -> None:
        self._bench.tell(self._bench.retraining.roll_back(self._frame.chosen("model")))


def rows_of(compared: Comparison | None, before: str, after: str) -> list[list[str]]:
    """The table before and after, row by row: what, before, after, difference; none where nothing was compared."""
    if compared is None or compared.before_mm is None:
        return []
    change = "" if compared.difference_mm is None else _change(compared.difference_mm[0])
    rows = [
        ["Version", before, after, ""],
        ["Cases", "", str(compared.cases), ""],
        ["Mean error", _mm(compared.before_mm), _mm(compared.after_mm), change],
    ]
    if compared.difference_mm is not None:
        _mean, low, high = map(signed, compared.difference_mm)
        rows.append(["95 % interval", "", "", f"{low} to {high} mm"])
    for one in compared.structures:
        name = one.name.replace("_", " ")
        rows.append([name, _mm(one.before_mm), _mm(one.after_mm), _change(one.after_mm - one.before_mm)])
    if any(compared.called_absent):
        rows.append(["Called absent", *map(str, compared.called_absent), ""])
    return rows


def _mm(length: float | None) -> str:
    return "" if length is None else f"{length:.2f} mm"


def _change(length_mm: float) -> str:
    return f"{signed(length_mm)} mm"
