"""The section Retrain beside image and curves: a few steps of the real training, on phantoms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.scene.curve_nodes import ERROR, LOSS
from Testing.panel.pictures import PREDICTED_WITHIN_S, VIEW, Sitting

if TYPE_CHECKING:
    from Testing.host import Host

STEPS, TRAINED_WITHIN_S = 16, 900.0
_PLOTS = 430


def draw(folder: Path, library: Library, keep: Callable[[str, Image.Image], None]) -> None:
    """Retrain from a library of phantoms; ``keep`` takes the picture of what came of it."""
    from Testing.host import install
    from Testing.scene.offscreen import OffscreenSlice

    screen = OffscreenSlice(VIEW)
    host = install(screen)
    try:
        keep("retrain", _retrain(host, folder, library))
    finally:
        try:
            host.remove()
        finally:
            screen.close()


def _retrain(host: Host, folder: Path, library: Library) -> Image.Image:
    sitting = Sitting(host, folder)
    panel, ui = sitting.panel, sitting.ui
    panel.bench.open_library(library.folder)
    panel.bench.open_case(library.cases()[0].id)
    sitting.look_at("retrainSection")
    host.process(PREDICTED_WITHIN_S, until=lambda: panel.bench.retraining.lessons is not None)
    panel.bench.retraining.steps = STEPS
    host.click(ui.retrainButton)
    host.click(ui.retrainCurvesButton)
    host.process(TRAINED_WITHIN_S, until=lambda: not panel.bench.retraining.is_under_way)
    host.process(0.5)
    whole = sitting.picture("Retrained for a few steps: curves while it learns, and what the new version is worth")
    return _with_curves(host, whole)


def _with_curves(host: Host, whole: Image.Image) -> Image.Image:
    """Two plots to the right, as the layout has them."""
    from Testing.host.plot_view import draw_chart

    wider = Image.new("RGB", (whole.width + _PLOTS, whole.height), "#101418")
    wider.paste(whole, (0, 0))
    for n, title in enumerate((ERROR, LOSS)):
        charts = [host.scene.GetNthNodeByClass(k, "vtkMRMLPlotChartNode") for k in range(2)]
        chart = next(one for one in charts if one.GetTitle() == title)
        plot = Image.fromarray(draw_chart(chart, (_PLOTS, VIEW[1] // 2 - 2)))
        wider.paste(plot, (whole.width, n * (VIEW[1] // 2)))
    return wider
