"""Exact uv maps: the template coordinate of every pixel of a structure, from the structure's contour in the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from DenseLandmarksLib.landmarks.barycentric import interpolate_on_grid
from DenseLandmarksLib.landmarks.template import StructureTemplate


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
    vertices = structure.with_centre(np.asarray(contour, np.float64))
    if per_image_triangulation:
        structure = replace(structure, triangles=Delaunay(vertices).simplices.astype(np.intp))
    return interpolate_on_grid(vertices, structure.triangles, structure.vertex_uv, size, margin)
