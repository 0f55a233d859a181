"""Exact uv maps: the template coordinate of every pixel of a structure, from the structure's contour in the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from DenseLandmarksLib.landmarks.mesh_raster import Mesh, interpolate_on_grid
from DenseLandmarksLib.landmarks.template import StructureTemplate, Template


def draw_uv_map(
    structure: StructureTemplate,
    contour: NDArray[np.float64],
    size: tuple[int, int],
    margin: float = np.inf,
    per_image_triangulation: bool = False,
) -> NDArray[np.float32]:
    """Template coordinates (2, height, width) of the pixels around a contour (P, 2), order u, v.

    Equation 1 of DenseSeg without its rounding (see :mod:`~DenseLandmarksLib.landmarks.barycentric`). Outside the
    triangulation the map is continued for ``margin`` pixels; masks decide what counts.

    ``per_image_triangulation`` triangulates the image's own points, as the paper does; interior correspondences then
    drift from image to image, since the triangles differ. The default keeps the template's triangles.
    """
    return interpolate_on_grid([_mesh(structure, contour, per_image_triangulation)], size, margin)[0]


def draw_uv_maps(
    template: Template,
    contours: Mapping[str, NDArray[np.float64]],
    size: tuple[int, int],
    margin: float = np.inf,
    per_image_triangulation: bool = False,
) -> NDArray[np.float32]:
    """:func:`draw_uv_map` of all S structures of a template at once, faster: (S, 2, height, width).

    ``contours`` holds (P, 2) per name of a structure; those that it lacks are NaN.
    """
    meshes = [
        _mesh(structure, contours.get(structure.name, np.zeros((0, 2))), per_image_triangulation)
        for structure in template.structures
    ]
    return interpolate_on_grid(meshes, size, margin)


def _mesh(structure: StructureTemplate, contour: NDArray[np.float64], per_image_triangulation: bool) -> Mesh:
    """The contour's vertices in the image, each with its template coordinate; no triangles without a contour."""
    if not len(contour):
        return Mesh(np.zeros((0, 2)), np.zeros((0, 3), np.intp), np.zeros((0, 2)))
    vertices = structure.with_centre(np.asarray(contour, np.float64))
    triangles = Delaunay(vertices).simplices.astype(np.intp) if per_image_triangulation else structure.triangles
    return Mesh(vertices, triangles, structure.vertex_uv)
