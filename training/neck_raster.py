"""From the anatomy of a neck to a CT volume: parts are painted with soft borders, slab by slab, then noise is added.

Only the boxes around a part are computed, in single precision, so that 448 x 448 x 448 voxels need little more memory
than the image itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from training.neck_anatomy import NeckAnatomy
from training.neck_grid import Grey, RestLattice, VolumeGrid, cut_thick
from training.neck_paint import placed

AIR_HU = -1000.0
SLAB_VOXELS = 1_000_000


def rasterise(
    anatomy: NeckAnatomy,
    grid: VolumeGrid,
    rng: np.random.Generator,
    noise_hu: float = 15.0,
    sharpness_mm: float = 0.8,
) -> sitk.Image:
    """The CT volume, int16 HU, of an anatomy.

    Parameters
    ----------
    rng : draws noise and texture; the result does not depend on how the work is cut into slabs.
    noise_hu : deviation of the noise in the neck; through the shoulders it is more than twice as strong. 0 is none,
        not even texture.
    sharpness_mm : how wide the reconstruction makes a sharp border; never less than a voxel.
    """
    fine = cut_thick(grid, sharpness_mm)
    cut = fine.parts
    works = [work for part in anatomy.parts if (work := placed(part, anatomy.pose, fine)) is not None]
    lattice = RestLattice(anatomy.pose, fine)
    voxels = np.empty(grid.size[::-1], np.int16)
    noise = _noise(grid, noise_hu, rng)
    texture = _texture(rng)
    thick = max(1, SLAB_VOXELS // int(fine.size[0] * fine.size[1] * cut[2]))
    for first in range(0, grid.size[2], thick):
        last = min(grid.size[2], first + thick)
        rest = lattice.rest(first * int(cut[2]), last * int(cut[2]))
        slab = np.full(rest[0].shape, AIR_HU, np.float32)
        for work in works:
            work.paint(slab, rest, fine, first * int(cut[2]))
        if noise_hu > 0:
            slab += _uneven(rest, texture) * np.clip((slab + 250) / 200, 0, 1)
        shoulders = 1 + 1.5 / (1 + np.exp((rest[2][:: cut[2], :: cut[1], :: cut[0]] + 75) / 8))
        block = slab.reshape(last - first, cut[2], grid.size[1], cut[1], grid.size[0], cut[0]).mean(axis=(1, 3, 5))
        for k in range(first, last):
            level = block[k - first]
            # Air scatters nothing: outside the body the noise is quieter.
            level += next(noise) * shoulders[k - first] * np.clip((level + 1150) / 900, 0.3, 1)
            voxels[k] = np.round(np.clip(level, -1024, 3071))
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing([float(s) for s in grid.spacing_mm])
    image.SetOrigin([float(o) for o in grid.origin_lps_mm])
    image.SetDirection([float(d) for d in grid.direction.ravel()])
    return image


def _texture(rng: np.random.Generator) -> Grey:
    """A periodic block (64, 64, 64) of uneven tissue in HU, one value per millimetre."""
    white = rng.standard_normal((64, 64, 64), dtype=np.float32)
    soft = [np.asarray(gaussian_filter(white, sigma, mode="wrap")) for sigma in (1.0, 3.0)]
    return np.asarray(sum(5 * layer / layer.std() for layer in soft), np.float32)


def _uneven(rest: list[Grey], texture: Grey) -> Grey:
    """Texture of tissue, HU: it belongs to the anatomy, so it is looked up at the rest coordinates."""
    x, y, z = ((axis + np.float32(64_000.5)).astype(np.int32) & 63 for axis in rest)
    return np.asarray(texture.ravel().take((z << 12) | (y << 6) | x))


def _noise(grid: VolumeGrid, noise_hu: float, rng: np.random.Generator) -> Iterator[Grey]:
    """Slices (J, I) of noise as a reconstruction leaves it: grainy in the plane, neighbouring slices alike."""
    grain_mm, alike = rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.7)
    if grid.spacing_mm[2] > 1.5 * grid.spacing_mm.min():
        alike = 0.1
    sigma = tuple(grain_mm / grid.spacing_mm[[1, 0]])
    shape = (grid.size[1], grid.size[0])
    before: Grey | None = None
    while True:
        grain = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=3)
        # Reconstruction kernels pass little of the lowest frequencies.
        grain = grain - 0.7 * gaussian_filter(grain, [2.5 * s for s in sigma], truncate=2)
        grain *= np.float32(noise_hu / max(float(grain.std()), 1e-6))
        before = grain if before is None else before
        yield (grain + alike * before) / np.float32(np.sqrt(1 + alike**2))
        before = grain
