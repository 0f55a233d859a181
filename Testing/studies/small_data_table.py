"""What two networks make of fewer and fewer images: a table and curves, with intervals over cases and draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FAR_MM = 10.0
REPEATS = 2000


@dataclass(frozen=True)
class SizeErrors:
    """Errors (D, M, L) in mm of one network that learned from so many images: D draws, M cases, L landmarks.

    NaN where nobody knows, infinite where training failed.
    """

    network: str
    images: int
    errors_mm: NDArray[np.float64]
    learning_rate: float


def far_share(errors_mm: NDArray[np.float64]) -> float:
    """The share of known errors of 10 mm or more."""
    return float((errors_mm >= FAR_MM).sum() / (~np.isnan(errors_mm)).sum())


def median_mm(errors_mm: NDArray[np.float64]) -> float:
    """The median of known errors."""
    return float(np.nanmedian(errors_mm))


Figure = Callable[[NDArray[np.float64]], float]


def resampled(sizes: Sequence[SizeErrors], figure: Figure, seed: int = 0) -> NDArray[np.float64]:
    """A figure (R, S) of each of S sizes in R repeats, in which the same draws and cases are drawn for all of them."""
    rng = np.random.default_rng(seed)
    draws, cases = sizes[0].errors_mm.shape[:2]
    found = np.empty((REPEATS, len(sizes)))
    for repeat in range(REPEATS):
        some_draws, some_cases = rng.integers(0, draws, draws), rng.integers(0, cases, cases)
        for column, size in enumerate(sizes):
            found[repeat, column] = figure(size.errors_mm[some_draws][:, some_cases])
    return found


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """From 2.5 to 97.5 % of the repeats."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def by_images(sizes: Sequence[SizeErrors]) -> dict[int, dict[str, SizeErrors]]:
    """The networks of each number of images, the largest number first."""
    found: dict[int, dict[str, SizeErrors]] = {}
    for size in sorted(sizes, key=lambda one: -one.images):
        found.setdefault(size.images, {})[size.network] = size
    return found


def _difference(first: SizeErrors, second: SizeErrors, figure: Figure) -> tuple[float, float, float]:
    """By how much the second's figure is larger, with its interval; over the draws that both have."""
    draws = min(len(first.errors_mm), len(second.errors_mm))
    pair = [SizeErrors(one.network, one.images, one.errors_mm[:draws], one.learning_rate) for one in (first, second)]
    values = resampled(pair, figure)
    return figure(pair[1].errors_mm) - figure(pair[0].errors_mm), *interval(values[:, 1] - values[:, 0])


def table_of(sizes: Sequence[SizeErrors]) -> str:
    """The table as Markdown: each number of images, each network, and by how much the first one wins."""
    lines = [
        "| images | network | draws | errors >= 10 mm [95 %] | median mm [95 %] | learning rate |",
        "|---|---|---|---|---|---|",
    ]
    gains = ["", "| images | more errors >= 10 mm of the U-Net [95 %] | larger median [95 %] |", "|---|---|---|"]
    for images, networks in by_images(sizes).items():
        for name, size in networks.items():
            far = interval(resampled([size], far_share)[:, 0])
            middle = interval(resampled([size], median_mm)[:, 0])
            cells = [
                str(images),
                name,
                str(len(size.errors_mm)),
                f"{far_share(size.errors_mm):.2%} [{far[0]:.2%}, {far[1]:.2%}]",
                f"{median_mm(size.errors_mm):.2f} [{middle[0]:.2f}, {middle[1]:.2f}]",
                f"{size.learning_rate:g}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        if set(networks) >= {"scn", "u-net"}:
            more = _difference(networks["scn"], networks["u-net"], far_share)
            larger = _difference(networks["scn"], networks["u-net"], median_mm)
            gains.append(
                f"| {images} | {more[0]:+.2%} [{more[1]:+.2%}, {more[2]:+.2%}] "
                f"| {larger[0]:+.2f} [{larger[1]:+.2f}, {larger[2]:+.2f}] |"
            )
    return "\n".join(lines + gains) + "\n"


def draw_curves(sizes: Sequence[SizeErrors], path: Path) -> None:
    """Both figures over the number of images, a line per network, as a picture; none without any run."""
    if not sizes:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(drawing)
    left, right = drawing.subplots(1, 2)
    titles = {"scn": "SpatialConfiguration-Net", "u-net": "U-Net with as many weights"}
    colours = {"scn": "#0072b2", "u-net": "#d55e00"}
    for axes, figure, factor, label in (
        (left, far_share, 100, "errors of 10 mm or more, %"),
        (right, median_mm, 1, "median error, mm"),
    ):
        for name in dict.fromkeys(size.network for size in sizes):
            own = sorted((size for size in sizes if size.network == name), key=lambda size: size.images)
            middle = factor * np.array([figure(size.errors_mm) for size in own])
            ends = factor * np.array([interval(resampled([size], figure)[:, 0]) for size in own])
            beside = np.abs(ends - middle[:, None]).T
            images = [size.images for size in own]
            axes.errorbar(images, middle, beside, marker="o", capsize=3, label=titles[name], color=colours[name])
        axes.set(xscale="log", xlabel="images to learn from", ylabel=label, ylim=(0, None))
        ticks = sorted({size.images for size in sizes})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    left.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=150)
