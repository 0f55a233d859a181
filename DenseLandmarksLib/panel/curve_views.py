"""Curves beside the image: a layout of ours with two of Slicer's plot views, and back to the one that was there before."""

from __future__ import annotations

from typing import Any

import slicer

from DenseLandmarksLib.annotation.retraining.curves import Curves
from DenseLandmarksLib.scene.curve_nodes import ERROR, LOSS, CurveNodes

# Numbers of Slicer's own layouts are lower; those of others are anybody's guess.
BESIDE_RADIOGRAPH, BESIDE_VOLUME = 57201, 57202
PLOT_VIEWS = {ERROR: "RetrainingError", LOSS: "RetrainingLoss"}
_ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class CurveViews:
    """Shown while :attr:`is_on`; whoever chooses another layout has them taken away."""

    def __init__(self, scene: Any) -> None:
        self._scene, self._nodes = scene, CurveNodes(scene)
        self._before: int | None = None

    @property
    def can_be_seen(self) -> bool:
        """Whether there are views at all."""
        return slicer.app.layoutManager() is not None

    @property
    def is_on(self) -> bool:
        """Whether they are seen."""
        manager = slicer.app.layoutManager()
        return self._before is not None and manager.layout in (BESIDE_RADIOGRAPH, BESIDE_VOLUME)

    def show(self, curves: Curves, is_radiograph: bool) -> None:
        """Bring them up beside the image."""
        manager = slicer.app.layoutManager()
        layout = BESIDE_RADIOGRAPH if is_radiograph else BESIDE_VOLUME
        if self._before is None:
            self._before = manager.layout
        node = manager.layoutLogic().GetLayoutNode()
        if not node.IsLayoutDescription(layout):
            node.AddLayoutDescription(layout, _description(is_radiograph))
        manager.setLayout(layout)
        self.update(curves)

    def update(self, curves: Curves) -> None:
        """Have these curves in the views; where they are not seen any more, have them nowhere."""
        if not self.is_on:
            self._forget()
            return
        self._nodes.show(curves)
        for name, tag in PLOT_VIEWS.items():
            view, chart = self._scene.GetSingletonNode(tag, "vtkMRMLPlotViewNode"), self._nodes.chart(name)
            if view is not None and chart is not None and view.GetPlotChartNodeID() != chart.GetID():
                view.SetDoPropagatePlotChartSelection(False)  # another chart that is chosen goes into other views
                view.SetPlotChartNodeID(chart.GetID())

    def end(self) -> None:
        """Have the views as they were before."""
        if self.is_on:
            slicer.app.layoutManager().setLayout(self._before)
        self._forget()

    def _forget(self) -> None:
        if self._before is not None:
            self._nodes.remove()
        self._before = None


def _description(is_radiograph: bool) -> str:
    """The layout, in the XML of Slicer's layouts: the image to the left, the plots to the right."""
    plots = _box("vertical", *(_view("vtkMRMLPlotViewNode", tag) for tag in PLOT_VIEWS.values()))
    if is_radiograph:
        return _box("horizontal", _slice("Red"), plots, can_be_dragged=True)
    image = _box(
        "vertical",
        _box("horizontal", _slice("Red"), _view("vtkMRMLViewNode", "1")),
        _box("horizontal", _slice("Yellow"), _slice("Green")),
    )
    return _box("horizontal", image, plots, can_be_dragged=True)


def _box(direction: str, *parts: str, can_be_dragged: bool = False) -> str:
    items = "".join(f"<item>{part}</item>" for part in parts)
    split = ' split="true"' if can_be_dragged else ""
    return f'<layout type="{direction}"{split}>{items}</layout>'


def _slice(name: str) -> str:
    return _view(
        "vtkMRMLSliceNode", name, f'<property name="orientation" action="default">{_ORIENTATIONS[name]}</property>'
    )


def _view(node_class: str, tag: str, properties: str = "") -> str:
    return f'<view class="{node_class}" singletontag="{tag}">{properties}</view>'
