"""Pictures of a measured volume: three slices through a landmark, with where it is and where it was predicted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_level import level_grids, read_level
from DenseLandmarksLib.models.prediction import Prediction
from training.evaluation_figures import ABSENT_COLOUR, ERROR_COLOUR, PREDICTED_COLOUR, TRUTH_COLOUR, legend_handles
from training.evaluation_report import CaseMeasurement
from training.volume_data import VolumeCase

FloatArray = NDArray[np.float64]

# Along the longest side of the volume: more is not seen.
_PIXELS = 320


class _Plane(NamedTuple):
    """A plane through which one of the axes L, P, S goes; the others go ``along`` and ``up`` or down the picture."""

    name: str
    through: int
    along: int
    up: int
    points_up: bool


# As radiologists look: from the feet with the nose up, from the front, and with the nose to the left.
_PLANES = (
    _Plane("axial", 2, 0, 1, False),
    _Plane("coronal", 1, 0, 2, True),
    _Plane("sagittal", 0, 1, 2, True),
)


def draw_volume_case(
    image: MedicalImage, prediction: Prediction, case: VolumeCase, measurement: CaseMeasurement, title: str
) -> Figure:
    """Axial, coronal and sagittal slices through the landmark with the largest error.

    Its truth and its prediction are drawn with the outline of its 90 % region, both projected onto the slices.
    """
    errors = measurement.errors.tre_mm
    row = int(np.nanargmax(errors))
    name = measurement.landmark_names[row]
    truth, predicted = case.points_lps_mm[row], measurement.points_lps_mm[row]
    covariance_mm2 = prediction.landmarks.covariance_mm2[prediction.landmarks.names.index(name)]
    is_present = bool(measurement.present[row])
    (finest,) = level_grids(image.geometry, [1.0])
    (grid,) = level_grids(image.geometry, [max(finest.size) / _PIXELS])
    slices = [_slice(image, grid, plane, truth) for plane in _PLANES]
    low, high = np.nanpercentile(np.concatenate([pixels.ravel() for pixels in slices]), [1, 99])
    figure = Figure(figsize=(13.5, 5.4), layout="constrained")
    for axes, plane, pixels in zip(figure.subplots(1, 3), _PLANES, slices, strict=True):
        _show(axes, grid, plane, pixels, (float(low), float(max(high, low + 1e-6))))
        _mark(axes, plane, truth, predicted, covariance_mm2, is_present)
    figure.suptitle(f"{title}\n{name}: {errors[row]:.2f} {measurement.unit} off, the largest error of the case")
    figure.legend(handles=legend_handles(is_present), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _slice(image: MedicalImage, grid: LevelGrid, plane: _Plane, at_lps_mm: FloatArray) -> NDArray[np.float32]:
    """Grey values (up, along) of the slice nearest to a point; NaN outside of the volume."""
    start, size = [0, 0, 0], list(grid.size)
    start[plane.through] = int(np.rint(grid.index_from_lps_mm([at_lps_mm])[0, plane.through]))
    size[plane.through] = 1
    # Values come in the order S, P, L, in which what goes along comes after what goes up.
    return np.squeeze(read_level(image.volume, grid, start, size, outside=np.nan), axis=2 - plane.through)


def _show(axes: Axes, grid: LevelGrid, plane: _Plane, pixels: NDArray[np.float32], window: tuple[float, float]) -> None:
    low_mm = np.array(grid.origin_lps_mm) - grid.spacing_mm / 2
    high_mm = low_mm + np.array(grid.size) * grid.spacing_mm
    extent = (low_mm[plane.along], high_mm[plane.along], low_mm[plane.up], high_mm[plane.up])
    axes.imshow(pixels, cmap="gray", vmin=window[0], vmax=window[1], origin="lower", extent=extent)
    if not plane.points_up:
        axes.invert_yaxis()
    axes.set_title(plane.name)
    axes.set_axis_off()


def _mark(
    axes: Axes,
    plane: _Plane,
    truth_lps_mm: FloatArray,
    predicted_lps_mm: FloatArray,
    covariance_mm2: FloatArray,
    is_present: bool,
) -> None:
    seen = [plane.along, plane.up]
    truth, predicted = truth_lps_mm[seen], predicted_lps_mm[seen]
    axes.plot(*np.stack([truth, predicted]).T, color=ERROR_COLOUR, linewidth=1.0)
    axes.plot(*truth, marker="o", markersize=5, color=TRUTH_COLOUR)
    if is_present:
        axes.plot(*predicted, marker="o", markersize=5, color=PREDICTED_COLOUR)
    else:
        axes.plot(*predicted, marker="x", markersize=7, color=ABSENT_COLOUR)
    variances, directions = np.linalg.eigh(covariance_mm2[np.ix_(seen, seen)])
    angle = np.linspace(0, 2 * np.pi, 100)
    # The shadow of the ellipsoid, not the ellipse that holds 90 % of the two coordinates.
    radii = np.sqrt(chi2.ppf(0.9, 3) * np.maximum(variances, 0))
    outline = predicted[:, None] + directions @ (radii[:, None] * np.stack([np.cos(angle), np.sin(angle)]))
    axes.plot(*outline, color=PREDICTED_COLOUR, linewidth=1.0)
