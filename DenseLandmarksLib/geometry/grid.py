"""The model's grid over a radiograph: the image fitted, centred, into a fixed number of pixels, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, View

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A grid of ``size`` (height, width) pixels laid over a radiograph of ``image_size`` (height, width) pixels.

    The image, looked at through ``view``, fills ``inner`` = (top, left, height, width) of the grid; the rest is padding.
    Positions are continuous pixel positions (x, y), pixel centres at integers, on both sides; those of the image are
    always of the image as it is stored.
    """

    size: tuple[int, int]
    image_size: tuple[int, int]
    inner: tuple[int, int, int, int]
    view: View = AS_STORED

    @property
    def _scale_xy(self) -> FloatArray:
        """Grid pixels per image pixel as it is seen, (2,)."""
        height, width = self.view.seen_size(self.image_size)
        return np.array([self.inner[3] / width, self.inner[2] / height])

    @property
    def pixels_per_grid(self) -> FloatArray:
        """The linear part (2, 2) of the way from grid to image: image pixels per grid pixel."""
        return self.view.matrix.T / self._scale_xy

    def pixel_size(self, spacing_xy: ArrayLike) -> FloatArray:
        """Size (2,), x and y of the grid, of a grid pixel, for an image whose pixels measure ``spacing_xy`` (2,)."""
        size: FloatArray = np.linalg.norm(np.asarray(spacing_xy, np.float64)[:, None] * self.pixels_per_grid, axis=0)
        return size

    def from_pixels(self, points_px: ArrayLike) -> FloatArray:
        """Grid positions (N, 2) of image pixel positions (N, 2)."""
        offset = np.array([self.inner[1], self.inner[0]])
        return (self.view.to_seen(points_px, self.image_size) + 0.5) * self._scale_xy - 0.5 + offset

    def to_pixels(self, points_grid: ArrayLike) -> FloatArray:
        """Image pixel positions (N, 2) of grid positions (N, 2)."""
        offset = np.array([self.inner[1], self.inner[0]])
        seen = (np.asarray(points_grid, np.float64) - offset + 0.5) / self._scale_xy - 0.5
        return self.view.to_stored(seen, self.image_size)

    def resample(self, pixels_yx: NDArray[np.generic]) -> NDArray[np.float32]:
        """Anti-aliased, z-normalised image (height, width) on the grid; the padding is 0, the image's own mean.

        ``pixels_yx`` are those of the stored image. The normalisation is DenseSeg's (per image, mean 0 and standard
        deviation 1).
        """
        from PIL import Image  # only for what a network sees: all else must open without it

        top, left, height, width = self.inner
        # Large images are shrunk by exact blocks to about twice the grid first, as Pillow's reducing_gap does: the
        # same picture, many times faster.
        pixels_yx = self.view.see(pixels_yx)  # first, so that the blocks begin at the same corner of the picture
        blocks = np.maximum(np.array(pixels_yx.shape) // (2 * height, 2 * width), 1)
        box = (0, 0, *(np.array(pixels_yx.shape) / blocks)[::-1])
        source = Image.fromarray(_block_means(pixels_yx, *blocks))
        small = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR, box))
        grid = np.zeros(self.size, np.float32)
        grid[top : top + height, left : left + width] = (small - small.mean()) / max(float(small.std()), 1e-6)
        return grid

    def mask_on_image(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A grid mask (height, width) on the image's own pixels, its border interpolated instead of blocky."""
        top, left, height, width = self.inner
        inner = self.view.restore(mask[top : top + height, left : left + width])
        full_height, full_width = self.image_size
        wide = _interpolation(inner.shape[1], full_width) @ inner.T.astype(np.float32)
        full = _interpolation(inner.shape[0], full_height) @ np.ascontiguousarray(wide.T)
        return np.asarray(full >= 0.5)

    def mask_from_image(self, mask_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask on the pixels of the stored image on the grid (height, width): half or more of what a pixel covers."""
        top, left, height, width = self.inner
        seen = self.view.see(mask_yx).astype(np.float32)
        wide = _interpolation(seen.shape[1], width) @ np.ascontiguousarray(seen.T)
        grid = np.zeros(self.size, bool)
        grid[top : top + height, left : left + width] = (
            _interpolation(seen.shape[0], height) @ np.ascontiguousarray(wide.T)
        ) >= 0.5
        return grid


def _interpolation(count: int, new_count: int) -> csr_array:
    """Weights (new_count, count) that resample ``count`` pixels in a row: linear, and over all covered ones to fewer.

    Those of Pillow's bilinear filter, so that masks lie where the network saw the image.
    """
    step = count / new_count
    reach = max(step, 1.0)
    centre = (np.arange(new_count)[:, None] + 0.5) * step
    pixel = np.floor(centre - reach).astype(np.intp) + np.arange(int(np.ceil(2 * reach)) + 1)
    weight = np.maximum(1 - np.abs(pixel + 0.5 - centre) / reach, 0) * ((pixel >= 0) & (pixel < count))
    weight /= weight.sum(axis=1, keepdims=True)
    row, column = np.nonzero(weight)
    values = weight[row, column].astype(np.float32)
    return csr_array((values, (row, pixel[row, column])), shape=(new_count, count))


def _block_means(pixels: NDArray[np.generic], tall: int, wide: int) -> NDArray[np.float32]:
    """Means of blocks of ``tall`` x ``wide`` pixels (H, W); the last row and column are repeated to fill theirs."""
    ragged = [(0, -pixels.shape[0] % tall), (0, -pixels.shape[1] % wide)]
    if np.any(ragged):
        pixels = np.pad(pixels, ragged, mode="edge")
    rows = pixels[::tall].astype(np.float32)
    for i in range(1, tall):
        np.add(rows, pixels[i::tall], out=rows)
    blocks = sum((rows[:, i::wide] for i in range(1, wide)), start=rows[:, ::wide])
    blocks /= tall * wide
    return blocks


def fit_grid(image: MedicalImage, size: tuple[int, int], view: View = AS_STORED) -> Grid:
    """Lay a grid of ``size`` (height, width) over a radiograph: true proportions, as large as fits, centred.

    ``view`` says how the model shall see the stored image.
    """
    width_px, height_px, _ = image.volume.GetSize()
    spacing_x, spacing_y, _ = image.volume.GetSpacing()
    # Seen sizes turn with the view, and so do millimetres.
    extent = np.array([height_px * spacing_y, width_px * spacing_x])[:: -1 if view.turn_deg % 180 else 1]
    height, width = np.maximum(np.rint(extent * np.min(np.array(size) / extent)), 1).astype(int)
    inner = ((size[0] - height) // 2, (size[1] - width) // 2, int(height), int(width))
    return Grid(size, (height_px, width_px), inner, view)
