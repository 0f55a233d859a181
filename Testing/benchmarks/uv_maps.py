"""Drawing uv maps: our one barycentric interpolation against DenseSeg's warp of an identity map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import griddata
from torch.nn.functional import affine_grid, grid_sample

from DenseLandmarksLib.landmarks.template import umeyama
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_maps
from Testing.benchmarks.chest import GRID_SIZE, chest_phantom, chest_template
from Testing.benchmarks.timing import Row, compare_speed

FloatArray = NDArray[np.float64]


def _to_unit_square(size: tuple[int, int]) -> FloatArray:
    """Matrix (3, 3) from pixel positions [x, y, 1] of an image (H, W) to torch's [-1, 1] between corner pixels."""
    height, width = size
    return np.array([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]])


def warp_identity_map(template_px: FloatArray, contour: FloatArray, mask: NDArray[np.bool_]) -> torch.Tensor:
    """Uv map (2, H, W) of one contour (P, 2) by the steps of ``papers.md`` 3.1, with the calls its code makes.

    The template's own box carries the identity map; the contour is aligned to the template by a similarity; the
    displacements between the two, made dense by ``griddata``, warp the identity map; the result is pasted into an
    image and the similarity warps that back. Left out are the compression of the shorter axis and whatever its code does
    twice; kornia's ``warp_affine`` is the last two calls here.
    """
    low, high = template_px.min(axis=0), template_px.max(axis=0)
    scale, rotation, shift = umeyama(contour, template_px)
    aligned = scale * contour @ rotation.T + shift
    corner = np.floor(np.minimum(low, aligned.min(axis=0)))
    columns, rows = (np.ceil(np.maximum(high, aligned.max(axis=0))) - corner + 1).astype(int)
    x, y = np.arange(columns) + corner[0], np.arange(rows) + corner[1]
    pixels = np.stack(np.meshgrid(x, y), axis=-1)
    displacement = griddata(aligned, template_px - aligned, pixels, "linear", rescale=True)
    u, v = 2 * (x - low[0]) / (high[0] - low[0]) - 1, 2 * (y - low[1]) / (high[1] - low[1]) - 1
    identity = torch.from_numpy(np.stack(np.meshgrid(u, v))[None]).float()
    to_box = _to_unit_square((rows, columns))
    sources = (pixels + displacement - corner) * to_box.diagonal()[:2] - 1
    warped = grid_sample(identity, torch.from_numpy(sources[None]).float(), align_corners=True)

    left, top = corner.astype(int)
    image = torch.full((1, 2, *mask.shape), torch.nan)
    image[:, :, top : top + rows, left : left + columns] = warped
    to_template = np.vstack([np.column_stack([scale * rotation, shift]), [0, 0, 1]])
    to_image = _to_unit_square((mask.shape[0], mask.shape[1]))
    theta = torch.from_numpy((to_image @ to_template @ np.linalg.inv(to_image))[None, :2]).float()
    uv = grid_sample(image, affine_grid(theta, list(image.shape), align_corners=True), align_corners=True)[0]
    uv[:, torch.from_numpy(~mask)] = torch.nan
    return uv


def uv_map_rows() -> list[Row]:
    """The uv maps of five structures of one image: as far as ``griddata`` reaches, and over the whole image."""
    template = chest_template()
    phantom = chest_phantom(template)
    mm_per_pixel = template.field_of_view_mm[0] / GRID_SIZE[0]
    means_px = [structure.points_mm / mm_per_pixel - 0.5 for structure in template.structures]
    contours = list(phantom.contours.values())

    def ours(margin: float) -> NDArray[np.float32]:
        return draw_uv_maps(template, phantom.contours, GRID_SIZE, margin)

    def paper() -> list[torch.Tensor]:
        return [warp_identity_map(*one) for one in zip(means_px, contours, phantom.masks, strict=True)]

    # What is timed must be the same map: both agree inside, where the two triangulations differ little.
    for exact, warped in zip(ours(margin=0), paper(), strict=True):
        assert np.nanmedian(np.abs(exact - warped.numpy())) < 0.02
    return [
        compare_speed("draw 5 uv maps / griddata and warping per structure", lambda: ours(0), paper, at_least=10),
        compare_speed("the same, ours continued over the whole image", lambda: ours(np.inf), paper, at_least=None),
    ]
