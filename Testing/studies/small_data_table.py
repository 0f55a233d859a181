"""What two networks make of fewer and fewer images: a table and curves, with intervals over cases and draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """A figure (R, S) of each of S sizes in R repeats, in which the same cases are drawn for all of them.

    So are the draws, for all sizes that have as many of them.
    """
    rng = np.random.default_rng(seed)
    counts, cases = sorted({len(size.errors_mm) for size in sizes}), sizes[0].errors_mm.shape[1]
    found = np.empty((REPEATS, len(sizes)))
    for repeat in range(REPEATS):
        some_draws = {count: rng.integers(0, count, count) for count in counts}
        some_cases = rng.integers(0, cases, cases)
        for column, size in enumerate(sizes):
            found[repeat, column] = figure(size.errors_mm[some_draws[len(size.errors_mm)]][:, some_cases])
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


FIRST, SECOND = "scn", "u-net"


def _pair(networks: Mapping[str, SizeErrors]) -> list[SizeErrors]:
    """Both networks of one number of images, over the draws that both have."""
    both = [networks[FIRST], networks[SECOND]]
    draws = min(len(one.errors_mm) for one in both)
    return [replace(one, errors_mm=one.errors_mm[:draws]) for one in both]


def gain(networks: Mapping[str, SizeErrors], figure: Figure) -> tuple[float, float, float]:
    """By how much the second network's figure is larger, with its interval."""
    pair = _pair(networks)
    values = resampled(pair, figure)
    return figure(pair[1].errors_mm) - figure(pair[0].errors_mm), *interval(values[:, 1] - values[:, 0])


def more_gain(
    few: Mapping[str, SizeErrors], many: Mapping[str, SizeErrors], figure: Figure
) -> tuple[float, float, float]:
    """By how much the :func:`gain` is larger with few images than with many, with its interval."""
    sizes = [*_pair(few), *_pair(many)]
    signs = np.array([-1.0, 1.0, 1.0, -1.0])
    of_all = np.array([figure(size.errors_mm) for size in sizes])
    return float(of_all @ signs), *interval(resampled(sizes, figure) @ signs)


def _gain_row(name: str, far: tuple[float, float, float], middle: tuple[float, float, float]) -> str:
    return (
        f"| {name} | {far[0]:+.2%} [{far[1]:+.2%}, {far[2]:+.2%}] "
        f"| {middle[0]:+.2f} [{middle[1]:+.2f}, {middle[2]:+.2f}] |"
    )


def _rates_at_the_edge(sizes: Sequence[SizeErrors], searched: Sequence[float]) -> list[str]:
    """A line for each network whose learning rate is the first or last of those that were searched."""
    edges = {min(searched): "smallest", max(searched): "largest"} if len(set(searched)) > 1 else {}
    chosen = dict.fromkeys((size.network, size.learning_rate) for size in sizes)
    return [
        f"* The learning rate of {network}, {rate:g}, is the {edges[rate]} that was searched: one beyond may be better."
        for network, rate in chosen
        if rate in edges
    ]


def table_of(sizes: Sequence[SizeErrors], searched: Sequence[float] = ()) -> str:
    """The table as Markdown: each number of images, each network, and by how much the first one wins.

    ``searched`` are the learning rates that each network was tried with.
    """
    lines = [
        "| images | network | draws | errors >= 10 mm [95 %] | median mm [95 %] | learning rate |",
        "|---|---|---|---|---|---|",
    ]
    gains = ["", "| images | more errors >= 10 mm of the U-Net [95 %] | larger median [95 %] |", "|---|---|---|"]
    compared: list[dict[str, SizeErrors]] = []
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
        if set(networks) >= {FIRST, SECOND}:
            gains.append(_gain_row(str(images), gain(networks, far_share), gain(networks, median_mm)))
            compared.append(networks)
    if len(compared) > 1:
        # The claim is about this difference: that one gain is beyond chance and another is not does not show it.
        few, many = compared[-1], compared[0]
        name = f"{few[FIRST].images} less {many[FIRST].images}"
        gains.append(_gain_row(name, more_gain(few, many, far_share), more_gain(few, many, median_mm)))
    notes = _rates_at_the_edge(sizes, searched)
    return "\n".join([*lines, *gains, *([""] if notes else []), *notes]) + "\n"


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
        for aside, name in enumerate(dict.fromkeys(size.network for size in sizes)):
            own = sorted((size for size in sizes if size.network == name), key=lambda size: size.images)
            middle = factor * np.array([figure(size.errors_mm) for size in own])
            ends = factor * np.array([interval(resampled([size], figure)[:, 0]) for size in own])
            beside = np.abs(ends - middle[:, None]).T
            # Beside each other, so that both intervals can be read.
            images = [size.images * 1.03**aside for size in own]
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
