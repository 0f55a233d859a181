"""Nodes that a person looks at and nothing else: not listed, not saved, not undone, out of the mouse's way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.outline import Cells
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.scene_text import node_name


def add_for_eyes_only(scene: Any, node_class: str, name: str, singleton_tag: str = "") -> Node:
    """A new node for people's eyes only; with a tag the only one of it, whose identity no other node gets."""
    node = scene.CreateNodeByClass(node_class)
    if singleton_tag:
        node.SetSingletonTag(singleton_tag)
    node.SetName(node_name(name))
    # Before it is in the scene: whatever lists nodes looks when one is added.
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    node.SetUndoEnabled(False)
    node.SetSelectable(False)  # in 3D, points are placed on what can be picked
    return scene.AddNode(node)


class EyesOnlyModel:
    """A model over the image that is looked at and nothing else, remade from the case and never saved.

    ``node`` is the model, ``None`` before anything was shown.
    """

    _what = ""
    _line_pixels = 1
    # Of what is drawn in slices, and of surfaces in 3D, where a region is seen with the point in it.
    _line_opacity, _surface_opacity = 1.0, 0.35

    def __init__(self, scene: Any, case_name: str) -> None:
        self.node: Node | None = None
        self._scene, self._name = scene, f"{case_name} {self._what}"
        self._colours: Node | None = None
        self._visible = True
        self._shown: tuple[ArrayLike, ...] = ()

    @property
    def is_visible(self) -> bool:
        """Whether it was asked to be seen."""
        return self._visible

    def set_visible(self, visible: bool) -> None:
        """Show or hide it, also what is shown later."""
        self._visible = visible
        if self.node is not None and self.node.GetDisplayNode() is not None:
            self.node.GetDisplayNode().SetVisibility(visible)

    def remove(self) -> None:
        """Take it and all that belongs to it out of the scene."""
        remove_node(self._scene, self.node)
        remove_node(self._scene, self._colours)
        self.node = self._colours = None
        self._shown = ()

    def _ensure_node(self, image: ImageInScene) -> Node:
        """The model, under the image's transform; what anybody removed of it is made anew."""
        node, colours = self.node, self._colours
        if node is None or not is_in(self._scene, node):
            node = self.node = add_for_eyes_only(self._scene, "vtkMRMLModelNode", self._name)
            self._shown = ()
        if colours is None or not is_in(self._scene, colours):
            colours = self._colours = add_for_eyes_only(self._scene, "vtkMRMLColorTableNode", f"{self._name} colours")
            colours.SetTypeToUser()
            self._shown = ()
        if node.GetDisplayNode() is None:
            display = add_for_eyes_only(self._scene, "vtkMRMLModelDisplayNode", f"{self._name} display")
            self._set_style(display, image.geometry.is_radiograph)
            node.SetAndObserveDisplayNodeID(display.GetID())
            self._shown = ()
        if node.GetDisplayNode().GetColorNodeID() != colours.GetID():
            node.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
        image.take_along(node)
        return node

    def _set_style(self, display: Node, is_radiograph: bool) -> None:
        display.SetVisibility(self._visible)
        display.SetVisibility2D(True)
        display.SetLineWidth(self._line_pixels)
        display.SetSliceIntersectionThickness(self._line_pixels)
        display.SetSliceIntersectionOpacity(self._line_opacity)
        display.SetOpacity(self._line_opacity if is_radiograph else self._surface_opacity)
        display.SetScalarVisibility(True)
        # Slicer can take colours from the points as they are, but then VTK logs an error about an empty range.
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        if is_radiograph:
            # Slicer cuts models with the slice's plane, and lines in that plane have no cut.
            display.SetSliceDisplayModeToProjection()

    def _is_shown(self, now: tuple[ArrayLike, ...]) -> bool:
        """Whether what decides the picture is what it was when the model was drawn."""
        return len(self._shown) == len(now) and all(map(np.array_equal, now, self._shown))

    def _draw(self, points_ras_mm: FloatArray, scalars: FloatArray, lines: Cells, triangles: Cells) -> None:
        """Points (P, 3), each with a scalar (P,), and lines (L, 2) and triangles (T, 3) of point numbers."""
        points = vtkPoints()
        points.SetData(numpy_to_vtk(points_ras_mm, deep=True))
        data = vtkPolyData()
        data.SetPoints(points)
        data.SetLines(_cell_array(lines))
        data.SetPolys(_cell_array(triangles))
        values = numpy_to_vtk(scalars, deep=True)
        values.SetName(self._what)
        data.GetPointData().SetScalars(values)
        assert self.node is not None
        self.node.SetAndObservePolyData(data)
        self.node.GetDisplayNode().SetActiveScalarName(self._what)

    def _set_colours(self, colours: FloatArray, scalar_range: tuple[float, float]) -> None:
        """Colours (C, 3) that are spread evenly over a range of the scalars."""
        assert self.node is not None
        assert self._colours is not None
        was_modifying = self._colours.StartModify()
        self._colours.SetNumberOfColors(len(colours))
        for n, colour in enumerate(colours.tolist()):
            self._colours.SetColor(n, str(n), *colour)
        self._colours.EndModify(was_modifying)
        self.node.GetDisplayNode().SetScalarRange(*scalar_range)


def _cell_array(cells: Cells) -> vtkCellArray:
    made = vtkCellArray()
    starts = np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1]
    made.SetData(numpy_to_vtkIdTypeArray(starts, deep=True), numpy_to_vtkIdTypeArray(cells.ravel(), deep=True))
    return made
