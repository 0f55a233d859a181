"""Section 6, Retrain: a new version of the model out of what people decided, how it goes, and what it is worth."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.retraining.comparison import NOT_WORSE
from DenseLandmarksLib.annotation.retraining.lessons import Lessons
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.panel.curve_views import CurveViews
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.original_cases_row import OriginalCasesRow
from DenseLandmarksLib.panel.packages import REQUIREMENTS, install_packages
from DenseLandmarksLib.panel.retrain_table import RetrainTable, lines_of


class RetrainSection:
    """Forwards to the workbench's retraining."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui, self._bench = panel, panel.ui, panel.bench
        self._table, self._curves = RetrainTable(panel.ui.retrainTable), CurveViews(panel.scene)
        self._original = OriginalCasesRow(panel)
        self._tips: dict[str, str] = {}
        ui, telling = panel.ui, panel.telling
        ui.retrainButton.clicked.connect(telling(self._retrain))
        ui.retrainCancelButton.clicked.connect(telling(self._bench.retraining.cancel))
        ui.retrainGoOnButton.clicked.connect(telling(self._bench.retraining.go_on))
        ui.retrainCurvesButton.connect("clicked(bool)", telling(self._show_or_hide_curves))
        ui.retrainActivateButton.clicked.connect(telling(self._make_active))
        ui.retrainRollBackButton.clicked.connect(telling(self._roll_back))
        ui.retrainBlindButton.clicked.connect(telling(self._annotate_blind))
        ui.retrainSection.connect("contentsCollapsed(bool)", telling(self._look))

    # What is shown.

    def refresh(self) -> None:
        """How much there is to learn from, how it goes, what came of it; and for each button why it cannot be pressed."""
        ui, retraining = self._ui, self._bench.retraining
        if self._panel.parameters is None:
            return
        _set(ui.retrainLessonsLabel, "text", self._lessons_line())
        self._original.refresh()
        self._enable("retrainButton", self._why_not_retrain())
        ui.retrainCancelButton.visible = retraining.is_under_way
        ui.retrainCancelButton.enabled = retraining.status is not None and not retraining.status.is_cancelling
        ui.retrainGoOnButton.visible = retraining.can_go_on
        ui.retrainBar.visible = retraining.is_under_way
        if retraining.status is not None:
            _set(ui.retrainBar, "value", round(100 * retraining.status.fraction))
        _set(ui.retrainStatusLabel, "text", retraining.line)
        self._show_curves()
        self._show_comparison()
        self._enable("retrainActivateButton", self._why_not_activate())
        self._enable("retrainRollBackButton", self._why_not_roll_back())
        self._enable("retrainBlindButton", "" if self._bench.library is not None else _("Open a case library first."))

    def tick(self) -> None:
        """Somebody may have chosen another layout."""
        if self._ui.retrainCurvesButton.checked and not self._curves.is_on:
            self._show_curves()

    def enter(self) -> None:
        """Somebody may have retrained meanwhile."""
        self._look()

    def leave(self) -> None:
        """A retraining goes on without anybody."""
        self._curves.end()
        self._bench.retraining.is_in_sight = False

    def _look(self) -> None:
        retraining = self._bench.retraining
        retraining.is_in_sight = not self._ui.retrainSection.collapsed
        retraining.look_again()

    def _lessons_line(self) -> str:
        if self._bench.library is None:
            return _("Open a case library first.")
        lessons = self._bench.retraining.lessons
        if lessons is None:
            return _("Counting what there is to learn from …")
        if not lessons.is_anything:
            return " ".join(
                (_("Nothing to learn from yet: decide landmarks of a case, and save it."), *self._compared(lessons))
            )
        line = _(
            "To learn from: {corrected} corrected, {placed} placed, {verified} verified and {absent} absent landmarks in "
            "{cases} cases."
        ).format(
            corrected=lessons.corrected,
            placed=lessons.placed,
            verified=lessons.verified,
            absent=lessons.absent,
            cases=lessons.cases,
        )
        return " ".join((line, *self._compared(lessons)))

    def _compared(self, lessons: Lessons) -> tuple[str, ...]:
        """What there is to compare versions of the chosen model on, and what is lacking."""
        model, lines = chosen_model(self._panel.parameters.model).description, list[str]()
        if model is not None:
            lines.append(
                _("{count} of {needed} cases to compare versions on.").format(
                    count=lessons.for_comparison(model), needed=lessons.needed
                )
            )
        if lessons.unreadable:
            lines.append(_("{count} cases cannot be read.").format(count=lessons.unreadable))
        return tuple(lines)

    def _show_curves(self) -> None:
        ui, retraining, is_on = self._ui, self._bench.retraining, self._curves.is_on
        self._curves.update(retraining.curves)
        _set(ui.retrainCurvesButton, "checked", is_on)
        ui.retrainCurvesButton.visible = retraining.run is not None and self._curves.can_be_seen

    def _show_comparison(self) -> None:
        retraining, version = self._bench.retraining, self._bench.retraining.new_version()
        compared = retraining.comparison
        self._table.show(lines_of(compared, retraining.parent_version, "" if version is None else version.version))
        _set(self._ui.retrainVerdictLabel, "text", "" if compared is None else compared.line)
        self._ui.retrainVerdictLabel.visible = compared is not None and compared.line not in retraining.line

    def _enable(self, name: str, problem: str) -> None:
        """Where there is a problem the button is off, and says it instead of what it does."""
        button = getattr(self._ui, name)
        tip = self._tips.setdefault(name, button.toolTip)
        _set(button, "enabled", not problem)
        _set(button, "toolTip", problem or tip)

    def _why_not_retrain(self) -> str:
        retraining = self._bench.retraining
        if self._bench.library is None:
            return _("Open a case library first.")
        if retraining.is_under_way:
            return _("A retraining of this library is under way.")
        if retraining.lessons is not None and not retraining.lessons.is_anything:
            return _("There is nothing to learn from yet.")
        return ""

    def _why_not_activate(self) -> str:
        version = self._bench.retraining.new_version()
        if version is None:
            return _("No retraining of this library made a version yet.")
        if version.active:
            return _("The new version is in use.")
        return version.problem

    def _why_not_roll_back(self) -> str:
        before = self._bench.retraining.version_before(self._panel.parameters.model)
        return _("The version in use was not made by retraining.") if before is None else ""

    # What is done.

    def _retrain(self) -> None:
        parameters, bench = self._panel.parameters, self._bench
        if install_packages(self._panel.resources / REQUIREMENTS):
            bench.restart_worker()
        bench.retrain(parameters.model, parameters.device.value)

    def _show_or_hide_curves(self) -> None:
        if self._curves.is_on:
            self._curves.end()
        else:
            volume = self._panel.volume
            data = None if volume is None else volume.GetImageData()
            self._curves.show(self._bench.retraining.curves, data is None or data.GetDimensions()[2] == 1)

    def _make_active(self) -> None:
        compared = self._bench.retraining.comparison
        if compared is None or compared.outcome != NOT_WORSE:
            question = _("Nobody knows whether the new version is as good as the one before. Use it anyway?")
            if not slicer.util.confirmYesNoDisplay(question, _("Make active")):
                return
        self._bench.tell(self._bench.retraining.make_active())

    def _roll_back(self) -> None:
        self._bench.tell(self._bench.retraining.roll_back(self._panel.parameters.model))

    def _annotate_blind(self) -> None:
        self._bench.annotate_blind(self._panel.parameters.model)


def _set(widget: Any, name: str, value: Any) -> None:
    if getattr(widget, name) != value:
        setattr(widget, name, value)
