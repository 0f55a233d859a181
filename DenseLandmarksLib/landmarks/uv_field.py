"""The predicted uv field of one image: what new landmarks are looked up in, without the network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.landmarks.read_out import ReadOut, UvIndex, read_softmin

ReadOutMethod = Literal["border", "affine", "softmin"]


@dataclass(frozen=True)
class UvField:
    """Template coordinates on a grid, per structure, and where the structure is.

    Attributes
    ----------
    structures : S names.
    uv : (S, 2, h, w) float32, order u, v.
    uv_scale : (S, 2, h, w) float32, Laplace scale of each coordinate, or ``None`` when the model gives none.
    masks : (S, h, w) bool, where the structure's uv is meant to be read.
    stride : grid pixels of :class:`~DenseLandmarksLib.geometry.grid.Grid` per field pixel (the pixel centres align).
    read_out : ``"affine"``, the local affine inverse; ``"border"``, the same with landmarks of the contour drawn to
        the border of their mask; ``"softmin"``, DenseSeg's, for comparison with the published figures.
    borders : for ``"border"``, per structure a line (B, 2) in grid pixels, (0, 2) where there is none.
    """

    structures: tuple[str, ...]
    uv: NDArray[np.float32]
    uv_scale: NDArray[np.float32] | None
    masks: NDArray[np.bool_]
    stride: int
    read_out: ReadOutMethod = "affine"
    borders: tuple[NDArray[np.float64], ...] = ()
    _indices: dict[int, UvIndex | None] = field(default_factory=dict, repr=False, compare=False)

    def to_grid(self, points_field: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grid positions (N, 2) of field positions (N, 2), pixel centres at integers on both sides."""
        return points_field * self.stride + (self.stride - 1) / 2

    def from_grid(self, points_grid: ArrayLike) -> NDArray[np.float64]:
        """Field positions (N, 2) of grid positions (N, 2)."""
        return (np.asarray(points_grid, np.float64) - (self.stride - 1) / 2) / self.stride

    def index(self, structure: str) -> UvIndex | None:
        """The searchable pixels of ``structure``, ``None`` if it was not found; built at the first call, kept for later."""
        s = self.structures.index(structure)
        if s not in self._indices:
            scale = None if self.uv_scale is None else self.uv_scale[s]
            self._indices[s] = UvIndex.build(self.uv[s], self.masks[s], scale)
        return self._indices[s]

    def read(self, structure: str, uv_query: ArrayLike) -> ReadOut | None:
        """Where template coordinates (N, 2) of ``structure`` lie, in grid pixels; ``None`` if it was not found."""
        index = self.index(structure)
        if index is None:
            return None
        found = index.read(uv_query)
        if self.read_out == "softmin":
            s = self.structures.index(structure)
            found = replace(found, points=read_softmin(self.uv[s], self.masks[s], uv_query))
        return ReadOut(
            self.to_grid(found.points),
            found.covariance * self.stride**2,
            found.residual * self.stride,
            found.gap * self.stride,
        )
