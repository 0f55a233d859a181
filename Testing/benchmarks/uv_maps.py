"""Drawing uv maps: our one barycentric interpolation against DenseSeg's warp of an identity map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import griddata
from scipy.ndimage import map_coordinates

from DenseLandmarksLib.landmarks.template import umeyama
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from Testing.benchmarks.chest import GRID_SIZE, chest_phantom, chest_template
from Testing.benchmarks.timing import Row, compare_speed

FloatArray = NDArray[np.float64]


def _sample(image: FloatArray, points_xy: FloatArray) -> FloatArray:
    return np.asarray(map_coordinates(image, np.moveaxis(points_xy, -1, 0)[::-1], order=1, cval=np.nan))


def warp_identity_map(template_px: FloatArray, contour: FloatArray, mask: NDArray[np.bool_]) -> FloatArray:
    """Uv map (2, H, W) of one contour (P, 2) by the steps of ``papers.md`` 3.1, its compression (finding 11) left out.

    The template's own box carries the identity map; the contour is aligned to the template by a similarity; the
    displacements between the two, made dense by ``griddata``, warp the identity map; the similarity brings it back.
    """
    low, high = template_px.min(axis=0), template_px.max(axis=0)
    scale, rotation, shift = umeyama(contour, template_px)
    aligned = scale * contour @ rotation.T + shift
    corner = np.floor(np.minimum(low, aligned.min(axis=0)))
    columns, rows = (np.ceil(np.maximum(high, aligned.max(axis=0))) - corner + 1).astype(int)
    pixels = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) + corner
    displacement = griddata(aligned, template_px - aligned, pixels, "linear", rescale=True)
    identity = np.moveaxis(2 * (pixels - low) / (high - low) - 1, -1, 0)
    warped = [_sample(channel, pixels + displacement - corner) for channel in identity]
    image = np.stack(np.meshgrid(np.arange(mask.shape[1]), np.arange(mask.shape[0])), axis=-1)
    on_template = scale * image @ rotation.T + shift - corner
    return np.where(mask, [_sample(channel, on_template) for channel in warped], np.nan)


def uv_map_rows() -> list[Row]:
    """The uv maps of five structures of one image: as far as ``griddata`` reaches, and over the whole image."""
    template = chest_template()
    phantom = chest_phantom(template)
    mm_per_pixel = template.field_of_view_mm[0] / GRID_SIZE[0]
    means_px = [structure.points_mm / mm_per_pixel - 0.5 for structure in template.structures]
    contours = list(phantom.contours.values())

    def ours(margin: float) -> list[NDArray[np.float32]]:
        return [draw_uv_map(*one, GRID_SIZE, margin) for one in zip(template.structures, contours, strict=True)]

    def paper() -> list[FloatArray]:
        return [warp_identity_map(*one) for one in zip(means_px, contours, phantom.masks, strict=True)]

    # What is timed must be the same map: both agree inside, where the two triangulations differ little.
    for exact, warped in zip(ours(margin=0), paper(), strict=True):
        assert np.nanmedian(np.abs(exact - warped)) < 0.02
    return [
        compare_speed("draw 5 uv maps / griddata and warping per structure", lambda: ours(0), paper, at_least=10),
        compare_speed("the same, ours continued over the whole image", lambda: ours(np.inf), paper, at_least=None),
    ]
