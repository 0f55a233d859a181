"""How sure the model is of each landmark: the region that holds it with 90 %, coloured by confidence.

On a radiograph that is an ellipse in the image's plane, in a volume the surface of an ellipsoid. Beside it, what other
nodes need that a person looks at and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.scene_text import node_name

Cells = NDArray[np.int64]

# 90 % quantiles of the chi-square distribution with 2 and 3 degrees of freedom: scipy.stats.chi2.ppf(0.9, [2, 3]).
_CHI2_90 = {2: 4.605, 3: 6.251}
# Where a person said where the point is, the model's doubt is of no interest any more.
_NOT_SET_BY_A_PERSON = (Review.PREDICTED, Review.UNSURE)
_SEGMENTS = 32
_AROUND, _FROM_POLE_TO_POLE = 12, 8
# Half the thickness of the flattest region in the smallest spacing: without any, an ellipsoid has no outline in its plane.
_FLATTEST = 0.05
_COLOURS = 256
# From 0 to 1: stops of the plasma ramp (S. van der Walt and N. Smith, 2015) from its bright end down. Its lightness falls
# all the way, which the colour-blind see as well, and no colour of it is a grey. Its own ends would drown on a film.
_RAMP = (
    (0.995, 0.729, 0.172),
    (0.918, 0.454, 0.340),
    (0.798, 0.280, 0.470),
    (0.631, 0.108, 0.608),
    (0.418, 0.001, 0.658),
)


@dataclass(frozen=True)
class Outline:
    """Points (P, D), and the lines (L, 2) and triangles (T, 3) of their numbers that are drawn."""

    points: FloatArray
    lines: Cells
    triangles: Cells

    def cells_of(self, times: int) -> tuple[Cells, Cells]:
        """Lines (times L, 2) and triangles (times T, 3) of as many outlines, whose points follow each other."""
        first = np.arange(times, dtype=np.int64)[:, None, None] * len(self.points)
        return (first + self.lines).reshape(-1, 2), (first + self.triangles).reshape(-1, 3)


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


class Ellipses(EyesOnlyModel):
    """The 90 % regions of a case's predicted landmarks."""

    _what = "confidence"
    _line_pixels = 2

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Bring the regions to what the case says; nothing is touched where nothing changed."""
        node = self._ensure_node(image)
        if not self._shown:
            at, stops = np.linspace(0, 1, _COLOURS), np.linspace(0, 1, len(_RAMP))
            ramp = np.stack([np.interp(at, stops, channel) for channel in np.transpose(_RAMP)], axis=1)
            self._set_colours(ramp, (0.0, 1.0))
        rows = _rows_with_region(state.landmarks)
        centres_ijk = state.index_ijk[rows]
        along_axes = np.linalg.inv(state.geometry.axes_lps)
        covariance_mm2 = along_axes @ state.landmarks.covariance_mm2[rows] @ along_axes.T
        confidence = np.nan_to_num(state.landmarks.confidence[rows])
        now = centres_ijk, covariance_mm2, confidence, image.index_to(node)
        if self._is_shown(now):
            return
        axes = 2 if state.geometry.is_radiograph else 3
        outline = UNIT[axes]
        spacing_mm = np.array(state.geometry.spacing_mm)
        offsets_mm = np.zeros((len(rows), len(outline.points), 3))
        offsets_mm[:, :, :axes] = _region_mm(
            covariance_mm2[:, :axes, :axes], outline.points, _FLATTEST * spacing_mm[:axes].min()
        )
        points_ijk = (centres_ijk[:, None] + offsets_mm / spacing_mm).reshape(-1, 3)
        scalars = np.repeat(confidence, len(outline.points))
        self._draw(image.local_ras_mm(node, points_ijk), scalars, *outline.cells_of(len(rows)))
        self._shown = now


def add_for_eyes_only(scene: Any, node_class: str, name: str) -> Node:
    """A new node that is looked at and nothing else: not listed, not saved, not undone, out of the mouse's way."""
    node = scene.CreateNodeByClass(node_class)
    node.SetName(node_name(name))
    # Before it is in the scene: whatever lists nodes looks when one is added.
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    node.SetUndoEnabled(False)
    node.SetSelectable(False)  # in 3D, points are placed on what can be picked
    return scene.AddNode(node)


def _unit_circle() -> Outline:
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    here = np.arange(_SEGMENTS)
    return Outline(
        np.stack([np.cos(angle), np.sin(angle)], axis=1),
        np.stack([here, np.roll(here, -1)], axis=1),
        np.zeros((0, 3), np.int64),
    )


def _unit_sphere() -> Outline:
    """Rings about the first axis, and the two poles."""
    ring = np.linspace(0, np.pi, _FROM_POLE_TO_POLE + 1)[1:-1, None]
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    rings = np.stack(np.broadcast_arrays(np.cos(ring), np.sin(ring) * np.cos(angle), np.sin(ring) * np.sin(angle)), -1)
    points = np.concatenate([rings.reshape(-1, 3), [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    here = np.arange(rings.shape[0] * _AROUND).reshape(-1, _AROUND)
    beside = np.roll(here, -1, axis=1)
    first, last = np.full(_AROUND, len(points) - 2), np.full(_AROUND, len(points) - 1)
    triangles = (
        np.stack([here[:-1], here[1:], beside[1:]], -1).reshape(-1, 3),
        np.stack([here[:-1], beside[1:], beside[:-1]], -1).reshape(-1, 3),
        np.stack([first, here[0], beside[0]], -1),
        np.stack([last, beside[-1], here[-1]], -1),
    )
    return Outline(points, np.zeros((0, 2), np.int64), np.concatenate(triangles))


UNIT = {2: _unit_circle(), 3: _unit_sphere()}
"""What a ball of radius 1 looks like on a radiograph and in a volume, by the number of axes."""


def _cell_array(cells: Cells) -> vtkCellArray:
    made = vtkCellArray()
    starts = np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1]
    made.SetData(numpy_to_vtkIdTypeArray(starts, deep=True), numpy_to_vtkIdTypeArray(cells.ravel(), deep=True))
    return made


def _rows_with_region(landmarks: LandmarkSet) -> NDArray[np.intp]:
    here = [
        presence is Presence.PRESENT and review in _NOT_SET_BY_A_PERSON
        for presence, review in zip(landmarks.presence, landmarks.review, strict=True)
    ]
    known = np.isfinite(landmarks.covariance_mm2).all((1, 2)) & np.isfinite(landmarks.points_lps_mm).all(1)
    return np.flatnonzero(np.array(here, bool) & known)


def _region_mm(covariance_mm2: FloatArray, unit: FloatArray, flattest_mm: float) -> FloatArray:
    """Offsets (N, P, D) on the borders of the 90 % regions of covariances (N, D, D), for points (P, D) of a unit sphere.

    Those of a normal distribution: ``x.T @ inv(covariance) @ x`` is the chi-square quantile on the border. No region is
    flatter than ``flattest_mm`` to each side.
    """
    # What has no extent in some direction may come out below zero by a rounding.
    variance, axes = np.linalg.eigh(covariance_mm2)
    half_axes = np.maximum(np.sqrt(_CHI2_90[unit.shape[1]] * np.maximum(variance, 0)), flattest_mm)
    return np.asarray(np.einsum("nij,nj,pj->npi", axes, half_axes, unit))
