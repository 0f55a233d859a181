"""A prediction drawn over its radiograph, as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_LONG_SIDE = 1100
_LINE_HEIGHT = 26
_LEGEND_COLUMN_WIDTH = 240
_HIGHLIGHT: Colour = (1.0, 0.9, 0.2)
_MANY_ELLIPSES = 40


def draw_overlay(
    path: Path,
    image: MedicalImage,
    prediction: Prediction,
    styles: Sequence[StructureStyle],
    extra: Sequence[str] = (),
) -> None:
    """Draw structures, landmarks and their uncertainty over a radiograph, with a legend, into a PNG.

    Structures are contours with a light fill; landmarks are dots (hollow where absent: the best guess); ellipses hold
    90 % of where the model expects the landmark, for about forty landmarks when there are more. A doubtful prediction
    carries its doubts above the picture, and its outlines are dashed. ``extra`` names the landmarks to highlight with a
    labelled star. ``KeyError`` for a name in ``extra`` that the prediction lacks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {style.name: style.colour for style in styles}
    width_px, height_px, _ = image.volume.GetSize()
    spacing_x, spacing_y, _ = image.volume.GetSpacing()
    extent = np.array([width_px * spacing_x, height_px * spacing_y])
    width, height = np.maximum(extent * _LONG_SIDE / extent.max(), 1)
    width = max(width, 0.6 * _LONG_SIDE)  # a narrow image still needs room for its legend
    handles = _legend_handles(prediction, colours, bool(extra))
    columns = int(width // _LEGEND_COLUMN_WIDTH)
    strip = _LINE_HEIGHT * (math.ceil(len(handles) / columns) + 2.5)  # and two lines of text

    warning = warning_lines(prediction.plausibility, int(width / WARNING_CHARACTER_WIDTH))
    banner = WARNING_LINE_HEIGHT * (len(warning) + 0.8) if warning else 0
    whole = height + strip + banner

    figure = Figure(figsize=(width / DPI, whole / DPI), dpi=DPI, facecolor=BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, strip / whole, 1, height / whole))
    axes.set_axis_off()
    _draw_pixels(axes, image)
    for s, name in enumerate(prediction.structures):
        _draw_structure(axes, prediction, s, colours.get(name) or StructureStyle.by_name(name).colour)
    _draw_landmarks(axes, image, prediction.landmarks, colours, extra)
    _draw_scale_bar(axes, image)
    axes.set_xlim(-0.5, width_px - 0.5)
    axes.set_ylim(height_px - 0.5, -0.5)
    axes.set_aspect(spacing_y / spacing_x)

    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, strip / whole),
        ncols=columns,
        frameon=False,
        fontsize=11,
        labelcolor=INK,
        handlelength=1.6,
    )
    figure.text(0.5, 0.012, caption(image, prediction), color=INK, fontsize=10, ha="center", va="bottom")
    if warning:
        figure.text(
            0.5,
            1 - 0.4 * WARNING_LINE_HEIGHT / whole,
            "\n".join(warning),
            color=WARNING,
            fontsize=12,
            ha="center",
            va="top",
        )
    with write_beside_and_rename(path) as temporary:
        # The usual compression takes longer than all drawing, for files that are a fifth smaller.
        canvas.print_png(str(temporary), pil_kwargs={"compress_level": 2})


def _draw_pixels(axes: Axes, image: MedicalImage) -> None:
    """The radiograph in its file's window, else between its 0.5 and 99.5 percentiles.

    A step of whole pixels keeps very large ones quick.
    """
    pixels = image.pixels_yx
    height, width = pixels.shape
    step = max(1, max(height, width) // (2 * _LONG_SIDE))
    shown = pixels[::step, ::step].astype(np.float32)
    low, high = image.window or np.percentile(shown, [0.5, 99.5])
    if high <= low:
        low, high = float(shown.min()), float(shown.max())
    # Each shown pixel stands for the block that it heads; the last block may reach over the border.
    box = (-0.5, shown.shape[1] * step - 0.5, shown.shape[0] * step - 0.5, -0.5)
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, extent=box, interpolation="antialiased")


def _draw_structure(axes: Axes, prediction: Prediction, s: int, colour: Colour) -> None:
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import gaussian_filter

    mask = prediction.masks[s]
    if not mask.any():
        return
    columns, rows = np.meshgrid(np.arange(mask.shape[1]), np.arange(mask.shape[0]))
    x, y = prediction.need_grid().to_pixels(np.column_stack([columns.ravel(), rows.ravel()])).T.reshape(2, *mask.shape)
    # A little smoothing turns the mask's stairs into the line that they stand for.
    smooth = gaussian_filter(mask.astype(np.float32), 1.2)
    axes.contourf(x, y, smooth, levels=[0.5, 2.0], colors=[colour], alpha=0.14)
    style = "solid" if prediction.plausibility.plausible else "dashed"
    line = axes.contour(x, y, smooth, levels=[0.5], colors=[colour], linewidths=1.6, linestyles=style)
    line.set_path_effects([withStroke(linewidth=2.8, foreground="black", alpha=0.45)])


def _draw_landmarks(
    axes: Axes, image: MedicalImage, landmarks: LandmarkSet, colours: dict[str, Colour], extra: Sequence[str]
) -> None:
    from matplotlib.patches import Polygon
    from matplotlib.patheffects import withStroke

    pixels = pixels_from_lps_mm(image.geometry, landmarks.points_lps_mm)
    halo = [withStroke(linewidth=2.0, foreground="black", alpha=0.45)]
    drawn = np.flatnonzero(np.isfinite(pixels).all(axis=1))
    stars = landmarks.index_of(extra)
    every = math.ceil(len(landmarks) / _MANY_ELLIPSES)
    alike: dict[tuple[Colour, bool], list[int]] = {}
    for i in drawn:
        present = landmarks.presence[i] is Presence.PRESENT
        starred = i in stars
        colour = (
            _HIGHLIGHT
            if starred
            else colours.get(landmarks.structures[i]) or StructureStyle.by_name(landmarks.structures[i]).colour
        )
        if present and (i % every == 0 or starred):
            ring = _ellipse_px(image, landmarks.points_lps_mm[i], landmarks.covariance_mm2[i])
            if ring is not None:
                axes.add_patch(Polygon(ring, fill=False, edgecolor=colour, linewidth=1.1, path_effects=halo, zorder=3))
        if not starred:
            alike.setdefault((colour, present), []).append(int(i))
    for (colour, present), rows in alike.items():
        axes.plot(*pixels[rows].T, **dot(colour, present), zorder=4)
    for i in np.intersect1d(stars, drawn):
        present = landmarks.presence[i] is Presence.PRESENT
        axes.plot(*pixels[i], **_star(present), zorder=6)
        right = pixels[i, 0] < 0.7 * image.volume.GetSize()[0]
        axes.annotate(
            landmarks.names[i] + ("" if present else " (absent)"),
            pixels[i],
            xytext=(10 if right else -10, 7),
            textcoords="offset points",
            ha="left" if right else "right",
            color=_HIGHLIGHT,
            fontsize=11,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
            zorder=7,
        )


def _ellipse_px(
    image: MedicalImage, point_lps: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Outline (N, 2) in pixels of the ellipse that holds 90 % of a landmark's Gaussian, ``None`` without one."""
    if not np.isfinite(covariance).all() or not covariance.any():
        return None
    variance, axes_lps = np.linalg.eigh(covariance)
    radii = ELLIPSE_90 * np.sqrt(np.maximum(variance[1:], 0))
    angle = np.linspace(0, 2 * np.pi, 49)
    ring = np.column_stack([radii[0] * np.cos(angle), radii[1] * np.sin(angle)]) @ axes_lps[:, 1:].T
    return pixels_from_lps_mm(image.geometry, point_lps + ring)


def _star(present: bool) -> dict[str, Any]:
    face = _HIGHLIGHT if present else "none"
    return {"marker": "*", "ms": 16, "mfc": face, "mec": "black" if present else _HIGHLIGHT, "mew": 0.9, "ls": "none"}


def _draw_scale_bar(axes: Axes, image: MedicalImage) -> None:
    """A bar of 1, 2 or 5 times a power of ten, at most a quarter of the width."""
    from matplotlib.patheffects import withStroke

    width, height, _ = image.volume.GetSize()
    spacing_x = image.volume.GetSpacing()[0]
    longest = 0.25 * width * spacing_x
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    x, y = 0.03 * width, 0.97 * height
    outline = [withStroke(linewidth=4, foreground="black")]
    axes.plot([x, x + length / spacing_x], [y, y], color=INK, lw=2, solid_capstyle="butt", path_effects=outline)
    axes.annotate(
        f"{length:g} {image.unit}",
        (x, y),
        xytext=(0, 5),
        textcoords="offset points",
        color=INK,
        fontsize=11,
        path_effects=[withStroke(linewidth=2.5, foreground="black")],
    )


def _legend_handles(prediction: Prediction, colours: dict[str, Colour], starred: bool) -> list[Line2D]:
    from matplotlib.lines import Line2D

    handles = []
    for s, name in enumerate(prediction.structures):
        label = name.replace("_", " ") + ("" if prediction.masks[s].any() else " (not found)")
        handles.append(
            Line2D([], [], color=colours.get(name) or StructureStyle.by_name(name).colour, lw=3, label=label)
        )
    presence = prediction.landmarks.presence
    handles.append(Line2D([], [], **dot((1.0, 1.0, 1.0), present=True), label="landmark (ellipse: 90 %)"))
    if Presence.ABSENT in presence:
        handles.append(Line2D([], [], **dot((1.0, 1.0, 1.0), present=False), label="absent (best guess)"))
    if starred:
        handles.append(Line2D([], [], **(_star(present=True) | {"ms": 11}), label="new landmark"))
    return handles
