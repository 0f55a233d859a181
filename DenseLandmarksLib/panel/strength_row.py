"""How far corrections take their neighbours along."""

from __future__ import annotations

from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.panel.frame import Frame


class StrengthRow:
    """The slider in percent; letting it go is one edit."""

    def __init__(self, panel: Frame) -> None:
        self._ui, self._bench = panel.ui, panel.bench
        self._tip = self._ui.strengthSlider.toolTip
        slider = self._ui.strengthSlider
        slider.connect("valueChanged(int)", panel.telling(self._set))
        slider.connect("sliderMoved(int)", self._show_percent)

    def refresh(self) -> None:
        """Show the strength of the case."""
        slider, state = self._ui.strengthSlider, self._bench.state
        alone = state is not None and state.is_corrected_one_by_one
        if slider.enabled != (state is not None and not alone):
            slider.enabled = state is not None and not alone
        tip = _("This model says each landmark by itself: a correction moves no other.") if alone else self._tip
        if slider.toolTip != tip:
            slider.toolTip = tip
        if slider.sliderDown:
            return  # in the person's hand
        percent = 100 if state is None else round(100 * state.strength)
        if slider.value != percent:
            before = slider.blockSignals(True)
            slider.value = percent
            slider.blockSignals(before)
        self._show_percent(percent)

    def _set(self) -> None:
        state = self._bench.state
        if state is not None and round(100 * state.strength) != self._ui.strengthSlider.value:
            self._bench.do(Session.set_strength, self._ui.strengthSlider.value / 100)

    def _show_percent(self, percent: int) -> None:
        text = _("{percent} %").format(percent=percent)
        if self._ui.strengthValue.text != text:
            self._ui.strengthValue.text = text
