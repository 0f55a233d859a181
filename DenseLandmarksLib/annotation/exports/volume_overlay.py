"""A prediction drawn over its volume, as a PNG: the brightest voxels along each of the volume's three axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.exports.overlay_parts import (
    BACKGROUND,
    DPI,
    ELLIPSE_90,
    INK,
    WARNING,
    WARNING_CHARACTER_WIDTH,
    WARNING_LINE_HEIGHT,
    Colour,
    caption,
    dot,
    warning_lines,
)
from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE, _STRIP, _GAP = 520, 64, 8
# Names of more landmarks than these would cover each other.
_MOST_NAMES = 12


def draw_volume_overlay(
    path: Path, image: MedicalImage, prediction: Prediction, styles: Sequence[StructureStyle] = ()
) -> None:
    """Draw landmarks and their uncertainty over three projections of a volume into a PNG.

    Each picture looks along one of the volume's own axes and shows the brightest voxel behind each place. Landmarks are
    dots (hollow where absent: the best guess), ellipses hold 90 % of where the model expects them in that picture. A
    doubtful prediction carries its doubts above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = 3 * _SIDE + 4 * _GAP
    warning = warning_lines(prediction.plausibility, int(width / WARNING_CHARACTER_WIDTH))
    banner = WARNING_LINE_HEIGHT * (len(warning) + 0.8) if warning else 0
    height = _SIDE + _STRIP + banner
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    voxels = sitk.GetArrayViewFromImage(image.volume)
    for place, along in enumerate((2, 1, 0)):
        left = _GAP + place * (_SIDE + _GAP)
        axes = figure.add_axes((left / width, _STRIP / height, _SIDE / width, _SIDE / height))
        axes.set_axis_off()
        across, down = (axis for axis in range(3) if axis != along)
        _draw_projection(axes, voxels.max(axis=2 - along), image.geometry, across, down)
        _draw_landmarks(axes, image, prediction, {style.name: style.colour for style in styles}, (across, down))
    figure.text(0.5, 0.012, caption(image, prediction), color=INK, fontsize=10, ha="center", va="bottom")
    if warning:
        top = 1 - 0.4 * WARNING_LINE_HEIGHT / height
        figure.text(0.5, top, "\n".join(warning), color=WARNING, fontsize=12, ha="center", va="top")
    with write_beside_and_rename(path) as temporary:
        canvas.print_png(str(temporary), pil_kwargs={"compress_level": 2})


def _draw_projection(axes: Axes, pixels: NDArray[np.generic], geometry: ImageGeometry, across: int, down: int) -> None:
    """Pixels (rows, columns) with true proportions; rows run along the stored axis ``down``, columns ``across``."""
    shown = pixels.astype(np.float32)
    low, high = np.percentile(shown, [0.5, 99.5])
    axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="antialiased")
    axes.set_aspect(geometry.spacing_mm[down] / geometry.spacing_mm[across])
    # The head is above, and where it is not in sight the face.
    runs_lps = geometry.index_to_lps_mm[:, down]
    main = int(np.argmax(np.abs(runs_lps)))
    if (main == 2 and runs_lps[2] > 0) or (main == 1 and runs_lps[1] < 0):
        axes.invert_yaxis()


def _draw_landmarks(
    axes: Axes, image: MedicalImage, prediction: Prediction, colours: dict[str, Colour], shown: tuple[int, int]
) -> None:
    from matplotlib.patches import Polygon
    from matplotlib.patheffects import withStroke

    landmarks, columns = prediction.landmarks, list(shown)
    halo = [withStroke(linewidth=2.0, foreground="black", alpha=0.45)]
    index_ijk = index_from_lps_mm(image.geometry, landmarks.points_lps_mm)
    to_index = np.linalg.inv(image.geometry.index_to_lps_mm)
    for i in np.flatnonzero(np.isfinite(index_ijk).all(axis=1)):
        structure = landmarks.structures[i]
        colour = colours.get(structure) or StructureStyle.by_name(structure).colour
        present = landmarks.presence[i] is Presence.PRESENT
        at = index_ijk[i, columns]
        covariance = (to_index @ landmarks.covariance_mm2[i] @ to_index.T)[np.ix_(columns, columns)]
        if present and np.isfinite(covariance).all() and covariance.any():
            ring = at + _ellipse(covariance)
            axes.add_patch(Polygon(ring, fill=False, edgecolor=colour, linewidth=1.1, path_effects=halo, zorder=3))
        axes.plot(*at, **dot(colour, present), zorder=4)
        if len(landmarks) <= _MOST_NAMES:
            axes.annotate(
                landmarks.names[i] + ("" if present else " (absent)"),
                (at[0], at[1]),
                xytext=(7, 5),
                textcoords="offset points",
                color=INK,
                fontsize=9,
                path_effects=halo,
                zorder=5,
            )


def _ellipse(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outline (N, 2) about 0 of the ellipse that holds 90 % of a Gaussian in the plane."""
    variance, directions = np.linalg.eigh(covariance)
    angle = np.linspace(0, 2 * np.pi, 49)
    radii = ELLIPSE_90 * np.sqrt(np.maximum(variance, 0))
    return np.asarray(np.column_stack([np.cos(angle), np.sin(angle)]) * radii @ directions.T)
