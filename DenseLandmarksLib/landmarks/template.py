"""The template: per structure a mean shape, its triangulation, its uv box, and the named landmarks as uv."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import Delaunay, QhullError

from DenseLandmarksLib.landmarks.barycentric import interpolate_at
from DenseLandmarksLib.landmarks.polygon import contains

FloatArray = NDArray[np.float64]
Chart = Literal["cartesian", "polar", "points"]


@dataclass(frozen=True)
class StructureTemplate:
    """One structure of the template.

    Attributes
    ----------
    name : of the structure.
    points_mm : (P, 2) float64, mean contour in order, x right and y down, placed at the mean pose.
    uv : (P, 2) float64, the contour's template coordinates.
    triangles : (T, 3) int, indices into ``points_mm`` (a polar chart adds the centre as point P).
    landmark_names, landmark_uv : L names and (L, 2); first the P points of the contour, then landmarks that were added
        later and may lie anywhere.
    chart : ``"cartesian"`` (uv is the position in the mean shape's own bounding box, scaled to [-1, 1], DenseSeg
        section 2), ``"polar"`` (the contour on the border of the unit square, the centre at 0) or ``"points"``: as
        cartesian, but the P points are single landmarks in any order, such as joints, and no line joins them.
    """

    name: str
    points_mm: FloatArray
    uv: FloatArray
    triangles: NDArray[np.intp]
    landmark_names: tuple[str, ...]
    landmark_uv: FloatArray
    chart: Chart

    @property
    def has_contour(self) -> bool:
        """Whether the P points are a line around the structure."""
        return self.chart != "points"

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the P points."""
        return self.landmark_names[: len(self.points_mm)]

    @property
    def contour_names(self) -> tuple[str, ...]:
        """Names of the P points of the contour; none where there is no contour."""
        return self.point_names if self.has_contour else ()

    @property
    def key(self) -> str:
        """16 hexadecimal digits that tell this structure's chart from any other; added landmarks change nothing."""
        # As a file keeps them, so that reading one back leaves the key as it was.
        digest = hashlib.sha256(f"{self.name} {self.chart} {self.triangles.tolist()}".encode())
        digest.update((self.points_mm.round(4) + 0.0).tobytes())
        digest.update((self.uv.round(6) + 0.0).tobytes())
        return digest.hexdigest()[:16]

    def with_centre(self, points: FloatArray) -> FloatArray:
        """Vertices that ``triangles`` speak of: the contour (P, 2), with its centroid appended in a polar chart."""
        return np.vstack([points, points.mean(axis=0)]) if self.chart == "polar" else points

    @property
    def vertex_uv(self) -> FloatArray:
        """Template coordinates of the vertices that ``triangles`` speak of."""
        return np.vstack([self.uv, np.zeros((1, 2))]) if self.chart == "polar" else self.uv

    def uv_at(self, contour: FloatArray, points: ArrayLike) -> FloatArray:
        """Template coordinates (N, 2) of positions (N, 2) in an image whose contour (P, 2) of this structure is known.

        Positions outside the triangulation continue by the affine map that best fits the whole structure.
        """
        return interpolate_at(self.with_centre(contour), self.triangles, self.vertex_uv, points)

    def position_at(self, uv: ArrayLike) -> FloatArray:
        """Positions (N, 2) in the mean shape, mm, of template coordinates (N, 2)."""
        return interpolate_at(self.vertex_uv, self.triangles, self.with_centre(self.points_mm), uv)


@dataclass(frozen=True)
class Template:
    """The structures of a model and the field of view (height, width in mm) in which their mean shapes lie."""

    structures: tuple[StructureTemplate, ...]
    field_of_view_mm: tuple[float, float]

    @property
    def structure_names(self) -> tuple[str, ...]:
        """Names in the order of the network's channels."""
        return tuple(structure.name for structure in self.structures)

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """All named landmarks, structure after structure."""
        return tuple(name for structure in self.structures for name in structure.landmark_names)

    @property
    def landmarks_mm(self) -> FloatArray:
        """Where they lie (L, 2) in the mean shapes, mm, x right and y down."""
        return np.concatenate([structure.position_at(structure.landmark_uv) for structure in self.structures])

    def structure(self, name: str) -> StructureTemplate:
        """The structure called ``name``; raises ``KeyError`` naming those that exist."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise KeyError(f"the template has no structure {name!r}; it has {', '.join(self.structure_names)}")

    def with_landmark(self, structure: str, name: str, uv: ArrayLike) -> Template:
        """A template that also names the point ``uv`` (2,) of ``structure``; every image can then be asked for it."""
        if name in self.landmark_names:
            raise ValueError(f"the template already has a landmark {name!r}")
        old = self.structure(structure)
        new = replace(
            old,
            landmark_names=(*old.landmark_names, name),
            landmark_uv=np.vstack([old.landmark_uv, np.asarray(uv, np.float64).reshape(1, 2)]),
        )
        return replace(self, structures=tuple(new if s is old else s for s in self.structures))

    def to_json(self) -> str:
        """The template as JSON text (lengths in mm, x right, y down)."""
        structures = [
            {
                "name": s.name,
                "chart": s.chart,
                "points_mm": s.points_mm.round(4).tolist(),
                "uv": s.uv.round(6).tolist(),
                "triangles": s.triangles.tolist(),
                "landmark_names": list(s.landmark_names),
                "landmark_uv": s.landmark_uv.round(6).tolist(),
            }
            for s in self.structures
        ]
        return json.dumps({"field_of_view_mm": list(self.field_of_view_mm), "structures": structures})

    @classmethod
    def from_json(cls, text: str) -> Template:
        """Read what :meth:`to_json` wrote; raises ``KeyError`` or ``ValueError`` for anything else."""
        raw: dict[str, Any] = json.loads(text)
        structures = tuple(
            StructureTemplate(
                name=s["name"],
                points_mm=np.asarray(s["points_mm"], np.float64).reshape(-1, 2),
                uv=np.asarray(s["uv"], np.float64).reshape(-1, 2),
                triangles=np.asarray(s["triangles"], np.intp).reshape(-1, 3),
                landmark_names=tuple(s["landmark_names"]),
                landmark_uv=np.asarray(s["landmark_uv"], np.float64).reshape(-1, 2),
                chart=s["chart"],
            )
            for s in raw["structures"]
        )
        height, width = raw["field_of_view_mm"]
        return cls(structures, (float(height), float(width)))


def umeyama(source: FloatArray, target: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Least-squares similarity without reflection (Umeyama 1991): ``target ~ scale * source @ rotation.T + shift``.

    Returns scale, rotation (2, 2) and shift (2,) for (N, 2) points.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    left, singular, right = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((singular * sign).sum() / (a**2).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean


def mean_shape(shapes: NDArray[np.float64]) -> FloatArray:
    """Generalised Procrustes mean (P, 2) of shapes (M, P, 2), put back at the mean position, size and angle.

    DenseSeg takes the plain mean of the coordinates; aligning first keeps differences of pose out of the shape.
    """
    mean = shapes.mean(axis=0)
    for _ in range(20):
        aligned = []
        for shape in shapes:
            scale, rotation, shift = umeyama(shape, mean)
            aligned.append(scale * shape @ rotation.T + shift)
        updated = np.mean(aligned, axis=0)
        scale, rotation, shift = umeyama(updated, shapes.mean(axis=0))
        updated = scale * updated @ rotation.T + shift
        if np.abs(updated - mean).max() < 1e-6:
            break
        mean = updated
    sizes = np.linalg.norm(shapes - shapes.mean(axis=1, keepdims=True), axis=(1, 2))
    centred = mean - mean.mean(axis=0)
    return centred * sizes.mean() / np.linalg.norm(centred) + mean.mean(axis=0)


def box_uv(points: FloatArray) -> FloatArray:
    """Cartesian chart: positions (P, 2) in their own bounding box, each axis scaled to [-1, 1] on its own."""
    low, high = points.min(axis=0), points.max(axis=0)
    return 2 * (points - low) / (high - low) - 1


def polar_uv(points: FloatArray) -> FloatArray:
    """Polar chart: directions from the centroid, on the border of the unit square (L-infinity radius 1)."""
    centred = points - points.mean(axis=0)
    return centred / np.abs(centred).max(axis=1, keepdims=True)


def triangulate(contour: FloatArray) -> NDArray[np.intp]:
    """Delaunay triangles (T, 3) of a contour's points (P, 2), those outside the polygon left out."""
    triangles = triangulate_points(contour)
    return triangles[contains(contour, contour[triangles].mean(axis=1))]


def triangulate_points(points: FloatArray) -> NDArray[np.intp]:
    """Delaunay triangles (T, 3) of points (P, 2) in any order: all of their convex hull.

    Raises ``ValueError`` for fewer than three points, and for points on one line.
    """
    try:
        return np.asarray(Delaunay(points).simplices, np.intp)
    except QhullError as error:
        raise ValueError(f"expected three points that are not on one line, got {len(points)} points") from error


def fan(count: int) -> NDArray[np.intp]:
    """Triangles (P, 3) between each pair of successive contour points and the centre, which is point P."""
    index = np.arange(count)
    return np.column_stack([index, (index + 1) % count, np.full(count, count)]).astype(np.intp)


def build_template(
    contours_mm: Mapping[str, FloatArray],
    landmark_names: Mapping[str, Sequence[str]],
    field_of_view_mm: tuple[float, float],
    chart: Chart = "cartesian",
    align: bool = True,
) -> Template:
    """Build a template from training shapes only.

    Parameters
    ----------
    contours_mm : per structure (M, P, 2), M training shapes of P corresponding contour points in order; in the chart
        ``"points"`` of P corresponding landmarks in any order, not all on one line.
    landmark_names : per structure the P names of those points.
    field_of_view_mm : (height, width) of the frame in which the shapes lie.
    chart : see :class:`StructureTemplate`.
    align : Procrustes mean (default), or DenseSeg's plain mean of the coordinates.
    """
    structures = []
    for name, shapes in contours_mm.items():
        mean = mean_shape(shapes) if align else shapes.mean(axis=0)
        if chart == "polar":
            uv, triangles = polar_uv(mean), fan(len(mean))
        else:
            uv, triangles = box_uv(mean), triangulate(mean) if chart == "cartesian" else triangulate_points(mean)
        structures.append(StructureTemplate(name, mean, uv, triangles, tuple(landmark_names[name]), uv, chart))
    return Template(tuple(structures), field_of_view_mm)
