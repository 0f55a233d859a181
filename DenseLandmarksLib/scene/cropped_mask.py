"""A mask on an image's voxels, cropped to what is in it, and the way from other voxels to these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from DenseLandmarksLib.scene.ras import FloatArray


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """A mask on an image's voxels, cropped to what is in it.

    Attributes
    ----------
    start_ijk : of the first of ``voxels`` in the image.
    voxels : (Z, Y, X) bool, no outer plane of which is empty; none for an empty mask.
    """

    start_ijk: tuple[int, int, int]
    voxels: NDArray[np.bool_]

    @classmethod
    def of(cls, voxels: NDArray[np.bool_], start_ijk: Sequence[int] = (0, 0, 0)) -> CroppedMask:
        """``voxels`` (Z, Y, X) of an image, the first of them at ``start_ijk``."""
        starts = [int(start) for start in reversed(start_ijk)]
        for axis in range(3):
            used = np.flatnonzero(voxels.any(axis=tuple({0, 1, 2} - {axis})))
            if not len(used):
                return cls((0, 0, 0), np.zeros((0, 0, 0), bool))
            voxels = voxels[(slice(None),) * axis + (slice(used[0], used[-1] + 1),)]
            starts[axis] += int(used[0])
        k, j, i = starts
        return cls((i, j, k), voxels.copy())

    def same_as(self, other: CroppedMask) -> bool:
        """Whether both hold the same voxels."""
        return self is other or (self.start_ijk == other.start_ijk and np.array_equal(self.voxels, other.voxels))

    def on_image(self, size: tuple[int, int, int]) -> NDArray[np.bool_]:
        """The whole mask (Z, Y, X) on an image of ``size`` voxels (i, j, k)."""
        whole = np.zeros(size[::-1], bool)
        whole[_box(self.start_ijk, self.voxels.shape)] = self.voxels
        return whole

    def shifted(self, shift: NDArray[np.intp], size: tuple[int, int, int]) -> CroppedMask:
        """The mask ``shift`` voxels (3,) further in an image of ``size`` (i, j, k); what lies outside is lost."""
        start = np.array(self.start_ijk) + shift
        length = self.voxels.shape[::-1]
        low, high = np.maximum(start, 0), np.minimum(start + length, size)
        return CroppedMask.of(self.voxels[_box(low - start, np.maximum(high - low, 0)[::-1])], low.tolist())

    def resampled(self, to_image: FloatArray, size: tuple[int, int, int]) -> CroppedMask:
        """The mask at the voxel centres of an image of ``size`` (i, j, k), to which the matrix ``to_image`` (4, 4) leads."""
        if not self.voxels.size:
            return self
        to_held = np.linalg.inv(to_image)
        # Its own outer corners say which part of the image can be reached.
        ends = np.array(self.start_ijk) + np.array([[-0.5] * 3, np.array(self.voxels.shape[::-1]) - 0.5])
        corners = np.array(np.meshgrid(*ends.T)).reshape(3, -1).T @ to_image[:3, :3].T + to_image[:3, 3]
        low = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)) + 1, low, size).astype(int)
        if (high == low).any():
            return CroppedMask.of(np.zeros((0, 0, 0), bool))
        matrix, offset = to_held[:3, :3], to_held[:3, :3] @ low + to_held[:3, 3] - self.start_ijk
        voxels = affine_transform(
            self.voxels.view(np.uint8),
            matrix[::-1, ::-1],
            offset[::-1],
            tuple((high - low)[::-1]),
            order=0,
            mode="grid-constant",
        )
        return CroppedMask.of(voxels.astype(bool), low.tolist())


def _box(start_ijk: Sequence[int] | NDArray[np.intp], shape_zyx: Sequence[int] | NDArray[np.intp]) -> tuple[slice, ...]:
    starts = reversed([int(start) for start in start_ijk])
    return tuple(slice(start, start + int(length)) for start, length in zip(starts, shape_zyx, strict=True))
