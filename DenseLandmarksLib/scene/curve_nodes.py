"""Loss and error of a retraining as nodes of Slicer's plots: for each a table, a series and a chart."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkTable

from DenseLandmarksLib.annotation.retraining.curves import Curve, Curves
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node

EPOCH = "Epoch"
# What is plotted, in which colour; both are told apart by everybody.
ERROR, LOSS = "Error (mm)", "Loss"
_COLOURS = {ERROR: (0.835, 0.369, 0.0), LOSS: (0.0, 0.447, 0.698)}


class CurveNodes:
    """They are in the scene from the first :meth:`show` to :meth:`remove`, and saved with no scene.

    They are listed like everybody's: a plot view drops a chart that its own list does not have.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._plots: dict[str, _Plot] = {}
        self._shown: Curves | None = None

    def show(self, curves: Curves) -> None:
        """Have these curves in the scene; what anybody removed of the nodes is made anew."""
        if curves == self._shown and all(plot.is_whole for plot in self._plots.values()):
            return
        self._shown = curves
        for name, curve in ((ERROR, curves.error_mm), (LOSS, curves.loss)):
            plot = self._plots.get(name)
            if plot is None or not plot.is_whole:
                if plot is not None:
                    plot.remove()
                plot = self._plots[name] = _Plot(self._scene, name)
            plot.show(curve)

    def chart(self, name: str) -> Node | None:
        """The chart of ``ERROR`` or ``LOSS``; ``None`` before anything is shown."""
        plot = self._plots.get(name)
        return None if plot is None else plot.chart

    def remove(self) -> None:
        """Take them out of the scene."""
        for plot in self._plots.values():
            plot.remove()
        self._plots, self._shown = {}, None


class _Plot:
    def __init__(self, scene: Any, name: str) -> None:
        self._scene, self._name = scene, name
        self.table = self._add("vtkMRMLTableNode", f"Retraining: {name} (table)")
        self.series = series = self._add("vtkMRMLPlotSeriesNode", f"Retraining: {name}")
        series.SetAndObserveTableNodeID(self.table.GetID())
        series.SetXColumnName(EPOCH)
        series.SetYColumnName(name)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetLineStyle(series.LineStyleSolid)
        series.SetMarkerStyle(series.MarkerStyleCircle)  # one point alone is seen, too
        series.SetMarkerSize(4)
        series.SetColor(*_COLOURS[name])
        self.chart = chart = self._add("vtkMRMLPlotChartNode", f"Retraining: {name} (chart)")
        chart.SetTitle(name)
        chart.SetXAxisTitle(EPOCH)
        chart.SetYAxisTitleVisibility(False)
        chart.SetLegendVisibility(False)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is in the scene still."""
        return all(is_in(self._scene, node) for node in (self.table, self.series, self.chart))

    def show(self, curve: Curve) -> None:
        """Have this curve in the table; a chart without a point has no series, for VTK complains of an empty table."""
        points = np.array(curve, np.float64).reshape(-1, 2)
        table = vtkTable()
        for n, name in enumerate((EPOCH, self._name)):
            column = numpy_to_vtk(np.ascontiguousarray(points[:, n]), deep=True)
            column.SetName(name)
            table.AddColumn(column)
        self.table.SetAndObserveTable(table)
        has_series = self.chart.GetNumberOfPlotSeriesNodes() > 0
        if curve and not has_series:
            self.chart.AddAndObservePlotSeriesNodeID(self.series.GetID())
        elif not curve and has_series:
            self.chart.RemoveAllPlotSeriesNodeIDs()
        if curve and self._name == ERROR:
            # It has a zero that means something: a small change is to look small.
            self.chart.SetYAxisRangeAuto(False)
            self.chart.SetYAxisRange(0.0, 1.1 * float(points[:, 1].max()) or 1.0)

    def remove(self) -> None:
        """Take it out of the scene."""
        for node in (self.chart, self.series, self.table):
            remove_node(self._scene, node)

    def _add(self, node_class: str, name: str) -> Node:
        node = self._scene.CreateNodeByClass(node_class)
        node.SetName(name)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        return self._scene.AddNode(node)
