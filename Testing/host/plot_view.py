"""What a plot view of Slicer's shows of a chart, drawn without a screen with the same charts of VTK's (qMRMLPlotView)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def draw_chart(chart_node: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels (rows, columns, 3) of a vtkMRMLPlotChartNode, the first row on top."""
    from vtkmodules import vtkChartsCore, vtkRenderingContextOpenGL2  # noqa: F401 - registers what draws
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter
    from vtkmodules.vtkViewsContext2D import vtkContextView

    view = vtkContextView()
    view.GetRenderWindow().SetOffScreenRendering(True)
    view.GetRenderWindow().SetSize(*size)
    chart = vtkChartsCore.vtkChartXY()
    chart.SetTitle(chart_node.GetTitle())
    chart.GetTitleProperties().SetFontSize(18)
    for axis, title in ((1, chart_node.GetXAxisTitle()), (0, chart_node.GetYAxisTitle())):
        chart.GetAxis(axis).SetTitle(title if axis == 1 else "")
    if not chart_node.GetYAxisRangeAuto():
        chart.GetAxis(0).SetBehavior(vtkChartsCore.vtkAxis.FIXED)
        chart.GetAxis(0).SetRange(*chart_node.GetYAxisRange())
    for n in range(chart_node.GetNumberOfPlotSeriesNodes()):
        series = chart_node.GetNthPlotSeriesNode(n)
        plot = chart.AddPlot(chart.LINE)
        table = series.GetTableNode().GetTable()
        plot.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        plot.SetColorF(*series.GetColor())
        plot.SetWidth(series.GetLineWidth())
        plot.SetMarkerStyle(plot.CIRCLE)
        plot.SetMarkerSize(2 * series.GetMarkerSize())
    view.GetScene().AddItem(chart)
    view.Render()
    picture = vtkWindowToImageFilter()
    picture.SetInput(view.GetRenderWindow())
    picture.ReadFrontBufferOff()
    picture.Update()
    pixels = picture.GetOutput()
    columns, rows, _ = pixels.GetDimensions()
    return vtk_to_numpy(pixels.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()
