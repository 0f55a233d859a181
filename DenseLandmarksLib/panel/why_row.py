"""What spoke for the selected landmark: a button, and while it is pressed the choice of the map and what it shows."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.evidence_overlay import RAMP


class WhyRow:
    """Forwards to the workbench's question."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui, self._bench = panel, panel.ui, panel.bench
        ui = panel.ui
        self._tip = ui.whyHereButton.toolTip
        ui.whyHereLegend.styleSheet = f"background: qlineargradient(x1:0, x2:1, {_qt_stops()}); min-height: 10px;"
        ui.whyHereButton.connect("clicked(bool)", panel.telling(self._ask))
        ui.whyHereSelector.connect("activated(int)", panel.telling(self._choose_map))
        ui.whyHereSlider.connect("valueChanged(int)", panel.telling(self._set_strength))

    def refresh(self) -> None:
        """Show how the question goes, or that none can be asked."""
        ui, why, problem = self._ui, self._bench.why, self._problem()
        _set(ui.whyHereButton, "enabled", why.is_on or not problem)
        _set(ui.whyHereButton, "toolTip", self._tip if why.is_on or not problem else problem)
        _set(ui.whyHereButton, "checked", why.is_on)
        self._show_maps()
        ui.whyHereFrame.visible = why.is_on
        is_shown = why.shown_map is not None
        for widget in (ui.whyHereLowLabel, ui.whyHereLegend, ui.whyHereHighLabel, ui.whyHereStrengthLabel):
            widget.visible = is_shown
        ui.whyHereSlider.visible = is_shown
        ui.whyHereProgress.visible = why.is_under_way
        _set(ui.whyHereProgress, "value", round(100 * why.status.fraction))
        _set(ui.whyHereLabel, "text", why.line)
        if not ui.whyHereSlider.sliderDown:
            before = ui.whyHereSlider.blockSignals(True)
            _set(ui.whyHereSlider, "value", round(100 * why.strength))
            ui.whyHereSlider.blockSignals(before)

    def _problem(self) -> str:
        case, state = self._bench.case, self._bench.state
        if case is None or state is None:
            return _("Choose an image first.")
        if state.answer is None:
            return _("Predict first: only a model can say why.")
        return "" if case.chosen else _("Choose a landmark in the table first.")

    def _show_maps(self) -> None:
        box, why = self._ui.whyHereSelector, self._bench.why
        names = list(why.map_names)
        box.visible = len(names) > 1
        if [box.itemText(n) for n in range(box.count)] != names:
            box.clear()
            for name in names:
                box.addItem(name)
        if why.shown_map is not None and box.currentIndex != names.index(why.shown_map.name):
            box.currentIndex = names.index(why.shown_map.name)

    def _ask(self) -> None:
        parameters = self._panel.parameters
        if parameters is not None:
            self._bench.ask_why(parameters.model, parameters.device.value)

    def _choose_map(self) -> None:
        self._bench.why.choose_map(str(self._ui.whyHereSelector.currentText))

    def _set_strength(self) -> None:
        self._bench.why.set_strength(self._ui.whyHereSlider.value / 100)


def _qt_stops() -> str:
    """The colours of the map for a gradient of Qt's."""
    last = len(RAMP) - 1
    return ", ".join(
        f"stop:{n / last:.3f} rgb({', '.join(str(round(255 * part)) for part in colour)})"
        for n, colour in enumerate(RAMP)
    )


def _set(widget: Any, name: str, value: Any) -> None:
    if getattr(widget, name) != value:
        setattr(widget, name, value)
