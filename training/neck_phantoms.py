"""``python -m training neck-phantoms``: synthetic neck CTA volumes with exactly known carotid bifurcations.

The folder it writes is laid out like every data folder of volumes: ``dataset.json``, ``landmarks.csv`` in LPS mm and
``images/``. A landmark that a volume does not show has no row, and the case names it under ``absent``: that is known,
unlike a landmark that nobody annotated.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename, write_json, write_text
from training.neck_anatomy import LANDMARKS, NeckAnatomy, draw_neck
from training.neck_grid import VolumeGrid
from training.neck_parts import Floats
from training.neck_raster import rasterise

log = logging.getLogger(__name__)

INSIDE_MM = 5.0
"""A landmark that is present lies at least this far inside of the volume."""
OUTSIDE_MM = (11.0, 40.0)
"""An absent landmark lies this far outside: never in the 10 mm where both answers would be right."""
BOTH_ABSENT = 0.4
MIDDLE_MM = (0.0, -8.0, 0.0)  # of a usual field of view, in the rest anatomy
STRAY_MM = (12.0, 12.0, 25.0)


def place_volume(
    anatomy: NeckAnatomy,
    size: tuple[int, int, int],
    spacing_mm: ArrayLike,
    direction: Floats,
    absent_share: float,
    rng: np.random.Generator,
) -> VolumeGrid:
    """A field of view: with the chance ``absent_share`` one or both bifurcations lie outside of it.

    Raises :class:`InputError` when the volume is too small to show both bifurcations.
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, np.float64), 3)
    half = np.array(size) * spacing / 2
    points = np.stack([anatomy.landmarks_lps_mm[name] for name in LANDMARKS]) @ direction
    low, high = points.max(axis=0) - half + INSIDE_MM, points.min(axis=0) + half - INSIDE_MM
    if (low > high).any():
        raise InputError(
            f"expected a volume that holds both bifurcations, got {' x '.join(f'{2 * h:.0f}' for h in half)} mm. "
            "Ask for at least 100 mm along each axis."
        )
    usual = anatomy.pose(np.array([MIDDLE_MM]))[0] @ direction
    centre = np.clip(usual + rng.uniform(-1, 1, 3) * np.abs(np.array(STRAY_MM) @ direction), low, high)
    if rng.uniform() < absent_share:
        centre = _moved_off(centre, points, half, direction, rng)
    return VolumeGrid(size, spacing, direction @ (centre - half + spacing / 2), direction)


def _moved_off(centre: Floats, points: Floats, half: Floats, direction: Floats, rng: np.random.Generator) -> Floats:
    """The centre moved along one axis until both points, or one of them, lie outside by ``OUTSIDE_MM``."""
    moved, beyond = centre.copy(), rng.uniform(*OUTSIDE_MM)
    apart = np.abs(points[0] - points[1])
    axis, kept = int(apart.argmax()), int(rng.integers(2))
    room = apart[axis] - INSIDE_MM
    if rng.uniform() < BOTH_ABSENT or room < OUTSIDE_MM[0]:
        axis = int(np.abs(direction[2]).argmax())  # along the neck: the volume ends above or below of both
        side = rng.choice([-1, 1])
        moved[axis] = (side * points[:, axis]).max() * side + side * (half[axis] + beyond)
        return moved
    side = np.sign(points[kept, axis] - points[1 - kept, axis])
    moved[axis] = points[1 - kept, axis] + side * (half[axis] + min(beyond, room))
    return moved


def neck_phantom(
    seed: int,
    size: tuple[int, int, int] = (256, 256, 256),
    spacing_mm: ArrayLike = 0.5,
    direction: ArrayLike | None = None,
    absent_share: float = 0.0,
    noise_hu: float | None = None,
) -> tuple[sitk.Image, dict[str, Floats | None]]:
    """The neck CTA volume of ``seed``, int16 HU, and where each landmark is: (3,) LPS mm, or None when outside.

    Parameters
    ----------
    seed : the anatomy, its pose, the field of view and the noise; the same call always gives the same voxels, and
        the anatomy does not depend on the other parameters.
    size : voxels along x, y, z.
    spacing_mm : one number, or x, y, z. Much thicker slices average what lies within them.
    direction : (3, 3) whose columns are the volume's axes in LPS; the identity when None.
    absent_share : chance that one or both bifurcations lie more than 10 mm outside of the volume.
    noise_hu : see :func:`training.neck_raster.rasterise`; drawn from 8 to 28 when None.

    Raises
    ------
    InputError : when the volume is too small to show both bifurcations.
    """
    of_anatomy, of_view, of_image = np.random.default_rng(seed).spawn(3)
    anatomy = draw_neck(of_anatomy)
    turned = np.eye(3) if direction is None else np.asarray(direction, np.float64)
    grid = place_volume(anatomy, size, spacing_mm, turned, absent_share, of_view)
    sharpness_mm, drawn_noise = of_image.uniform(0.6, 1.2), of_image.uniform(8, 28)
    noise = drawn_noise if noise_hu is None else noise_hu
    image = rasterise(anatomy, grid, of_image, noise, sharpness_mm)
    return image, {
        name: point if grid.outside_mm(point) < 0 else None for name, point in anatomy.landmarks_lps_mm.items()
    }


def oblique_direction(rng: np.random.Generator, up_to_deg: float = 20.0) -> Floats:
    """A direction (3, 3) turned by up to ``up_to_deg`` about an axis that points anywhere."""
    axis = rng.normal(size=3)
    return Rotation.from_rotvec(np.deg2rad(rng.uniform(0, up_to_deg)) * axis / np.linalg.norm(axis)).as_matrix()


def write_neck_phantoms(
    folder: Path,
    seeds: Sequence[int],
    size: tuple[int, int, int] = (256, 256, 256),
    spacing_mm: float = 0.5,
    absent_share: float = 0.0,
    oblique_share: float = 0.0,
    thick_share: float = 0.0,
    test_share: float = 0.25,
) -> None:
    """Write a data folder with one case per seed; the last ``test_share`` of them are the split ``test``.

    With the chance ``oblique_share`` a volume's axes are turned, with ``thick_share`` its slices are 1 to 2.5 mm
    thick where that is more than ``spacing_mm``, over the same length.
    """
    cases: list[dict[str, Any]] = []
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("case", "landmark", "x_lps_mm", "y_lps_mm", "z_lps_mm"))
    first_test = round(len(seeds) * (1 - test_share))
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, 1])  # the case's geometry; its anatomy is drawn from the seed alone
        oblique, thick = rng.uniform(size=2) < [oblique_share, thick_share]
        direction = oblique_direction(rng) if oblique else None
        slice_mm = max(spacing_mm, round(rng.uniform(1, 2.5), 2)) if thick else spacing_mm
        slices = int(np.ceil(size[2] * spacing_mm / slice_mm))
        spacing = (spacing_mm, spacing_mm, slice_mm)
        image, truth = neck_phantom(seed, (size[0], size[1], slices), spacing, direction, absent_share)
        name = f"neck_{seed:06d}"
        path = f"images/{name}.nii.gz"
        with write_beside_and_rename(folder / path) as beside:
            sitk.WriteImage(image, str(beside), useCompression=True)
        absent = [landmark for landmark, point in truth.items() if point is None]
        split = "train" if i < first_test else "test"
        cases.append({"case": name, "split": split, "image": path, "seed": seed, "absent": absent})
        for landmark, point in truth.items():
            if point is not None:
                rows.writerow((name, landmark, *(f"{value:.4f}" for value in point)))
        log.info("%s (%d of %d)", name, i + 1, len(seeds))
    write_text(folder / "landmarks.csv", table.getvalue())
    source = "synthetic neck CTA: exact truth, no patients; 'absent' names the landmarks that a volume does not show"
    described = {"name": "neck_phantoms", "source": source, "coordinates": "physical LPS mm of the stored volume"}
    write_json(folder / "dataset.json", {**described, "cases": cases})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training neck-phantoms``."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="data folder to write")
    parser.add_argument("--cases", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others count on from it")
    parser.add_argument("--size", type=int, nargs=3, default=(256, 256, 256), metavar=("X", "Y", "Z"))
    parser.add_argument("--spacing", type=float, default=0.5, metavar="MM")
    parser.add_argument("--absent-share", type=float, default=0.0, help="volumes that lack one or both bifurcations")
    parser.add_argument("--oblique-share", type=float, default=0.0, help="volumes whose axes are turned")
    parser.add_argument("--thick-share", type=float, default=0.0, help="volumes with slices of 1 to 2.5 mm")
    parser.add_argument("--test-share", type=float, default=0.25, help="cases of the split 'test'")


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training neck-phantoms``; raises :class:`InputError` for a share or number out of range."""
    for name in ("absent_share", "oblique_share", "thick_share", "test_share"):
        if not 0 <= getattr(arguments, name) <= 1:
            option = "--" + name.replace("_", "-")
            raise InputError(f"expected {option} from 0 to 1, got {getattr(arguments, name)}. Correct it.")
    if arguments.cases < 1 or arguments.seed < 0 or min(arguments.size) < 2 or not arguments.spacing > 0:
        raise InputError(
            "expected at least one case, a seed from 0, a size from 2 and a spacing above 0, got "
            f"--cases {arguments.cases} --seed {arguments.seed} --size {' '.join(map(str, arguments.size))} "
            f"--spacing {arguments.spacing}. Correct it."
        )
    write_neck_phantoms(
        arguments.output,
        range(arguments.seed, arguments.seed + arguments.cases),
        tuple(arguments.size),
        arguments.spacing,
        arguments.absent_share,
        arguments.oblique_share,
        arguments.thick_share,
        arguments.test_share,
    )
    return 0
