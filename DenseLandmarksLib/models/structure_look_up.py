"""Looking up in one structure of one image: from a click to a template coordinate, and from a coordinate to a place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.plane import grid_from_plane_mm, plane_mm_from_grid
from DenseLandmarksLib.landmarks.border import REACH
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.landmarks.locate import guess_covariance, guess_points
from DenseLandmarksLib.landmarks.polygon import convex_hull, polygon_mask
from DenseLandmarksLib.landmarks.read_out import REACH_PX
from DenseLandmarksLib.landmarks.structure_warp import structure_warp
from DenseLandmarksLib.landmarks.template import StructureTemplate, Template
from DenseLandmarksLib.landmarks.template_warp import TemplateWarp
from DenseLandmarksLib.landmarks.uv_at import uv_at
from DenseLandmarksLib.landmarks.warp import Warp
from DenseLandmarksLib.models.prediction import Prediction

FloatArray = NDArray[np.float64]

# A point may lie this far outside of the structure that it belongs to.
NEAREST_MM = 10.0


class Method(StrEnum):
    """How a landmark was looked up."""

    UV_MAP = "uv map"
    TEMPLATE_WARP = "template warp"
    GUESS = "guess"


def mm_per_pixel(prediction: Prediction, geometry: ImageGeometry, template: Template | None) -> FloatArray:
    """Millimetres (2,), x and y, per grid pixel; at the scale of the template where the image's spacing is unknown."""
    if geometry.unit == "mm":
        return prediction.need_grid().pixel_size(geometry.spacing_mm[:2])
    if template is not None:
        return np.full(2, template_mm_per_pixel(prediction, geometry, template))
    # Without either, a structure reaches as far as its border does for the landmarks of its contour.
    return np.full(2, NEAREST_MM / (REACH * prediction.need_grid().size[0]))


def template_mm_per_pixel(prediction: Prediction, geometry: ImageGeometry, template: Template | None) -> float:
    """Millimetres of the template, which has the size of the average patient, per grid pixel; the image's without one."""
    if template is None:
        return float(mm_per_pixel(prediction, geometry, None).mean())
    return template.field_of_view_mm[0] / prediction.need_grid().size[0]


@dataclass(frozen=True)
class StructureLookUp:
    """The structure called ``name`` in one image; ``landmarks`` are all of the case, as they are now."""

    prediction: Prediction
    geometry: ImageGeometry
    template: Template | None
    landmarks: LandmarkSet
    name: str

    @property
    def grid(self) -> Grid:
        """The model's over the radiograph; raises :class:`InputError` for a prediction of landmarks only."""
        return self.prediction.need_grid()

    @cached_property
    def warp(self) -> Warp:
        """From the predicted to the corrected structure, in the plane of the radiograph."""
        return structure_warp(self.landmarks, self.name, self.geometry)

    @cached_property
    def template_warp(self) -> TemplateWarp | None:
        """From the mean shape to the structure's landmarks on the grid; ``None`` where these are too few."""
        if self.template is None:
            return None
        rows = self._rows(self.name)
        uv = self.landmarks.template_uv[rows]
        return TemplateWarp.through(self.template.structure(self.name), uv, self._points_grid(rows))

    def depth_mm(self, click_mm: FloatArray) -> float:
        """How deep a click (1, 2) in the plane lies in the structure; negative outside, minus infinity if it is nowhere."""
        if self._is_gone:
            return -np.inf
        prediction, grid = self.prediction, self.grid
        point = grid_from_plane_mm(self.geometry, grid, self.warp.backward(click_mm))[0]
        mask = np.zeros(grid.size, bool)
        if self.name in prediction.structures:
            mask = prediction.masks[prediction.structures.index(self.name)]
        if not mask.any():  # a model without masks, or a structure that only a person found
            point = grid_from_plane_mm(self.geometry, grid, click_mm)[0]
            mask = self._polygon()
        column, row = np.rint(point).astype(int)
        inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])
        y, x = np.nonzero(mask != inside)
        if not len(x):
            return np.inf if inside else -np.inf
        size_mm = mm_per_pixel(prediction, self.geometry, self.template)
        away = float(np.linalg.norm((np.column_stack([x, y]) - point) * size_mm, axis=1).min())
        # The border lies between the last pixel of one kind and the first of the other.
        away = max(away - float(size_mm.mean()) / 2, 0.0)
        return away if inside else -away

    def uv_of(self, click_mm: FloatArray) -> tuple[FloatArray, Method]:
        """The template coordinate (2,) of a click (1, 2) in the plane, and how it is found again.

        Of what the uv map says and what the bent template says, that counts which is found nearer to the click. Raises
        :class:`InputError` in one line where neither says anything.
        """
        field, grid = self.prediction.uv_field, self.grid
        click = grid_from_plane_mm(self.geometry, grid, click_mm)
        answers: list[FloatArray] = []
        if field is not None and self.name in field.structures and not self._is_gone:
            read = uv_at(field, self.name, grid_from_plane_mm(self.geometry, grid, self.warp.backward(click_mm)))
            answers += [] if read is None else [read.uv]
        if self.template_warp is not None:
            answers.append(self.template_warp.uv(click))
        if not answers:
            raise InputError(
                f"expected a uv map of {self.name}, or three landmarks on it, got neither. Place landmarks on it, or "
                "define the new one in another case."
            )
        missed, methods = [], []
        for uv in answers:
            point, _, (method,) = self.locate(uv)
            missed.append(float(np.linalg.norm(point - click)))
            methods.append(method)
        best = int(np.argmin(missed))
        return answers[best][0], methods[best]

    def locate(self, uv: FloatArray) -> tuple[FloatArray, FloatArray, list[Method]]:
        """Grid positions (N, 2), covariances (N, 2, 2) in grid pixels^2 and methods of template coordinates (N, 2).

        Raises :class:`InputError` in one line for a lost structure of a model without a template.
        """
        field = self.prediction.uv_field
        read = None
        if field is not None and self.name in field.structures and not self._is_gone:
            read = field.read(self.name, uv)
        if read is None or field is None:
            if self.template_warp is None:
                return self._guess(uv), self._guess_covariance(len(uv)), [Method.GUESS] * len(uv)
            points, covariance, outside = np.empty((len(uv), 2)), np.empty((len(uv), 2, 2)), np.ones(len(uv), bool)
        else:
            points, covariance = self._pushed(read.points, read.covariance)
            outside = ~(read.gap <= REACH_PX * field.stride)  # there, the map only has its nearest pixel to offer
        if self.template_warp is None:
            outside[:] = False
        elif outside.any():
            points[outside] = self.template_warp.positions(uv[outside])
            error = self.template_warp.error_at(uv[outside])
            covariance[outside] = error[:, None, None] ** 2 / 2 * np.eye(2)
        return points, covariance, [Method.TEMPLATE_WARP if out else Method.UV_MAP for out in outside]

    @property
    def _is_gone(self) -> bool:
        """Whether it has landmarks of which none is there: not found, or a person says so."""
        rows = self.landmarks.of_structure(self.name)
        return len(rows) > 0 and not any(self.landmarks.presence[row] is Presence.PRESENT for row in rows)

    def _pushed(self, points_grid: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Positions and covariances on the grid, from the predicted to the corrected image."""
        if self.warp.is_identity:
            return points_grid.copy(), covariance.copy()
        grid = self.grid
        moved_mm = self.warp.forward(plane_mm_from_grid(self.geometry, grid, points_grid))
        # The warp's derivative is one of the plane, the covariance one of the grid.
        to_plane = np.diag(self.geometry.spacing_mm[:2]) @ grid.pixels_per_grid
        back = np.linalg.inv(to_plane) @ self.warp.backward_jacobian(moved_mm) @ to_plane
        onward = np.linalg.pinv(back)
        return grid_from_plane_mm(self.geometry, grid, moved_mm), onward @ covariance @ onward.mT

    def _polygon(self) -> NDArray[np.bool_]:
        """The structure on the grid (H, W) by the landmarks of its contour; empty where these are too few.

        Where the template knows of no contour, the convex hull of its landmarks.
        """
        rows = self._rows(self.name)
        has_contour = True
        if self.template is not None:
            structure = self.template.structure(self.name)
            has_contour, own = structure.has_contour, set(structure.point_names)
            rows = rows[[self.landmarks.names[row] in own for row in rows]]
        points = self._points_grid(rows)
        if not has_contour:
            points = convex_hull(points)
        return polygon_mask(points, self.grid.size) if len(points) > 2 else np.zeros(self.grid.size, bool)

    def _rows(self, structure: str) -> NDArray[np.intp]:
        """The landmarks of a structure that are there and, with a template, have a template coordinate."""
        rows = self.landmarks.of_structure(structure)
        present = np.array([self.landmarks.presence[row] is Presence.PRESENT for row in rows], bool)
        placed = np.isfinite(self.landmarks.points_lps_mm[rows]).all(axis=1)
        known = np.isfinite(self.landmarks.template_uv[rows]).all(axis=1) | (self.template is None)
        kept: NDArray[np.intp] = rows[present & placed & known]
        return kept

    def _points_grid(self, rows: NDArray[np.intp]) -> FloatArray:
        points_px = pixels_from_lps_mm(self.geometry, self.landmarks.points_lps_mm[rows])
        return self.grid.from_pixels(points_px)

    def _guess(self, uv: FloatArray) -> FloatArray:
        """Where coordinates of a lost structure are expected, by the landmarks of the others."""
        if self.template is None:
            raise InputError(
                f"expected {self.name} in the image, or a model with a template to guess it by, got neither. Predict the "
                "case with such a model."
            )
        mean_pose, found = [], []
        for other in self.template.structures:
            rows = self._rows(other.name)
            mean_pose.append(self._mean_pose(other, self.landmarks.template_uv[rows]))
            found.append(rows)
        own = self._mean_pose(self.template.structure(self.name), uv)
        return guess_points(own, np.concatenate(mean_pose), self._points_grid(np.concatenate(found)))

    def _guess_covariance(self, count: int) -> FloatArray:
        mm = template_mm_per_pixel(self.prediction, self.geometry, self.template)
        return np.tile(guess_covariance(mm), (count, 1, 1))

    def _mean_pose(self, structure: StructureTemplate, uv: FloatArray) -> FloatArray:
        """Grid positions (N, 2) of template coordinates in the mean pose, which knows nothing of the image."""
        mm = template_mm_per_pixel(self.prediction, self.geometry, self.template)
        return structure.position_at(uv) / mm - 0.5
