"""Pictures of an evaluation: best, median and worst case, error curves, and where along the contour the errors lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Prediction
from training.data import Case, Dataset
from training.data_folder import AnnotatedCases
from training.evaluation_report import CaseMeasurement, group_structures
from training.point_errors import has_point_errors, point_errors

# Okabe and Ito's colours: told apart on grey and by colour-blind readers.
TRUTH_COLOUR = "#56B4E9"
PREDICTED_COLOUR = "#E69F00"
ABSENT_COLOUR = "#D55E00"
ERROR_COLOUR = "#CC79A7"
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": "black"}


def draw_figures(
    folder: Path,
    measurements: Sequence[CaseMeasurement],
    report: Mapping[str, Any],
    dataset: AnnotatedCases[Any],
    contours: Sequence[str],
    draw: Callable[[int, str], Figure],
    other: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write the PNGs of an evaluation into ``folder`` and return their paths.

    ``draw`` gives the picture of a case by its number, with a title; ``other`` is the report of a model whose curves are
    drawn beside, where it keeps the errors of single landmarks.
    """
    tre = np.array([entry["average"]["tre_mm"] for entry in report["per_case"]], np.float64)
    order = [int(i) for i in np.argsort(tre, kind="stable") if np.isfinite(tre[i])]
    chosen: dict[int, str] = {}
    if order:
        for rank, position in {"best": 0, "median": (len(order) - 1) // 2, "worst": len(order) - 1}.items():
            chosen.setdefault(order[position], rank)
    written = []
    for index, rank in chosen.items():
        title = f"{rank} case {dataset.cases[index].name}: average TRE {tre[index]:.2f} {report['unit']}"
        written.append(_save(draw(index, title), folder / f"case_{rank}.png"))
    curves = draw_cumulative_errors(report, dataset, other if other is None or has_point_errors(other) else None)
    written.append(_save(curves, folder / "cumulative_error.png"))
    if contours:
        normal = np.stack([m.errors.normal_mm for m in measurements])
        tangential = np.stack([m.errors.tangential_mm for m in measurements])
        figure = draw_components(normal, tangential, dataset, contours, report["unit"])
        written.append(_save(figure, folder / "normal_tangential.png"))
    return tuple(written)


def _save(figure: Figure, path: Path) -> Path:
    with write_beside_and_rename(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=110)
    return path


def legend_handles(all_present: bool) -> list[Line2D]:
    """Truth, prediction and, where there is one, a best guess of a landmark that is called absent."""
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, marker="o", markersize=4, label="truth"),
        Line2D([], [], color=PREDICTED_COLOUR, marker="o", markersize=4, label="prediction"),
    ]
    if not all_present:
        handles.append(
            Line2D([], [], color=ABSENT_COLOUR, marker="x", linestyle="", label="called absent (best guess)")
        )
    return handles


def draw_case(
    image: MedicalImage,
    prediction: Prediction,
    case: Case,
    measurement: CaseMeasurement,
    dataset: Dataset,
    contours: Sequence[str],
    title: str,
) -> Figure:
    """The radiograph with the truth, the prediction, and a line from every landmark to where it was predicted."""
    pixels = np.asarray(image.pixels_yx, np.float32)
    height, width = pixels.shape
    spacing_x, spacing_y, _ = image.volume.GetSpacing()
    aspect = spacing_y / spacing_x
    figure = Figure(figsize=(9.0, 9.0 * height * aspect / width + 0.9), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.percentile(pixels, [1, 99])
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, aspect=aspect)
    for structure in contours:
        closed = case.points_px[dataset.landmarks_of(structure)]
        closed = np.vstack([closed, closed[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color=TRUTH_COLOUR, linewidth=1.0)
    grid = prediction.need_grid()
    for mask in prediction.masks:
        if mask.any():
            # On the grid and carried to the image as positions: contouring a large radiograph would take seconds.
            rows, columns = np.indices(mask.shape)
            at = grid.to_pixels(np.column_stack([columns.ravel(), rows.ravel()])).reshape(*mask.shape, 2)
            axes.contour(at[..., 0], at[..., 1], mask.astype(float), [0.5], colors=PREDICTED_COLOUR, linewidths=1.0)
    measured = np.isfinite(measurement.errors.tre_mm)
    predicted_px = pixels_from_lps_mm(image.geometry, measurement.points_lps_mm)
    truth, predicted, present = case.points_px[measured], predicted_px[measured], measurement.present[measured]
    axes.add_collection(LineCollection(list(np.stack([truth, predicted], axis=1)), colors=ERROR_COLOUR, linewidths=0.8))
    axes.scatter(truth[:, 0], truth[:, 1], s=9, color=TRUTH_COLOUR, linewidths=0, zorder=3)
    axes.scatter(
        predicted[present][:, 0], predicted[present][:, 1], s=9, color=PREDICTED_COLOUR, linewidths=0, zorder=3
    )
    axes.scatter(
        predicted[~present][:, 0],
        predicted[~present][:, 1],
        s=22,
        color=ABSENT_COLOUR,
        marker="x",
        linewidths=1.0,
        zorder=3,
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), title=title)
    axes.set_axis_off()
    figure.legend(handles=legend_handles(bool(present.all())), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within a range, with the 4 mm of outlier rates."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = sorted({4.0, *(step * 10.0**decade for decade in decades for step in (1, 2, 5))})
    return [step for step in steps if low <= step <= high and step != 5.0]


def _curves(errors: NDArray[np.float64], dataset: AnnotatedCases[Any]) -> dict[str, NDArray[np.float64]]:
    """Sorted errors of all landmarks and, where they are a few, of each group of structures."""
    groups = group_structures(dataset.structures)
    columns = {"all landmarks": np.arange(errors.shape[1])}
    if 1 < len(groups) <= len(GROUP_COLOURS):
        columns |= {
            group: np.concatenate([dataset.landmarks_of(member) for member in members])
            for group, members in groups.items()
        }
    values = {name: errors[:, of_group] for name, of_group in columns.items()}
    return {name: np.sort(v[np.isfinite(v)]) for name, v in values.items() if np.isfinite(v).any()}


def draw_cumulative_errors(
    report: Mapping[str, Any], dataset: AnnotatedCases[Any], other: Mapping[str, Any] | None = None
) -> Figure:
    """Share of landmarks with at most an error, of all and per group, and what is known of the labels' noise.

    The axis of errors is logarithmic: it shows the sub-millimetre errors of most landmarks and the rare ones beyond 10 mm.
    With ``other``, a report that keeps point errors, both are of the cases that they share, the other's dashed.
    """
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    axes = figure.add_subplot()
    cases = [entry["case"] for entry in report["per_case"]]
    if other is not None:
        of_other = {entry["case"] for entry in other["per_case"]}
        cases = [case for case in cases if case in of_other]
    colours = ("black", *GROUP_COLOURS)
    low, high = np.inf, 0.0
    for model, style in ((report, "-"), (other, "--")):
        if model is None:
            continue
        curves = _curves(point_errors(model, dataset.landmark_names, cases), dataset)
        whose = "" if other is None else f"{model['model']['name']} {model['model']['version']}, "
        for (name, values), colour in zip(curves.items(), colours, strict=False):
            share = 100 * np.arange(1, len(values) + 1) / len(values)
            low, high = min(low, float(np.percentile(values, 1))), max(high, float(values[-1]))
            label = f"{whose}{name}: median {np.median(values):.2f}, 95 % within {np.percentile(values, 95):.2f} {report['unit']}"
            # On to the right border, beyond the largest error.
            x, y = np.append(values, 1e6), np.append(share, 100)
            axes.step(x, y, where="post", color=colour, linestyle=style, label=label, linewidth=1.4)
    ours = point_errors(report, dataset.landmark_names, cases)
    ours = ours[np.isfinite(ours)]
    marked = [reference["error_mm"] for reference in report["references"] if reference["landmark"] is None]
    for reference in report["references"]:
        if reference["landmark"] is None:
            _mark_reference(axes, reference, is_low=bool((ours > reference["error_mm"]).sum() > len(ours) / 2))
    low = max(min([low, *marked]) * 0.8, 1e-3) if np.isfinite(low) else 0.1
    high = max([high, *marked, 2 * low]) * 1.1
    axes.set(
        xscale="log",
        xlim=(low, high),
        ylim=(0, 100),
        xlabel=f"point error [{report['unit']}]",
        ylabel="landmarks with at most this error [%]",
        title=f"Cumulative point error on {report['data']}, {report['split']}, {len(cases)} cases",
    )
    ticks = _ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(0, 101, 10))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    _finish(axes)
    return figure


def _mark_reference(axes: Axes, reference: Mapping[str, Any], is_low: bool) -> None:
    """A line at a known error, its name where the curve is not: above where few landmarks have at most this error."""
    axes.axvline(reference["error_mm"], color="0.45", linestyle=":", linewidth=1.4)
    axes.annotate(
        f"{reference['name']} {reference['error_mm']:g} mm",
        (reference["error_mm"], 0.985 if is_low else 0.015),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if is_low else 3, 0),
        textcoords="offset points",
        rotation=90,
        ha="right" if is_low else "left",
        va="top" if is_low else "bottom",
        color="0.3",
        fontsize=9,
    )


def draw_components(
    normal: NDArray[np.float64],
    tangential: NDArray[np.float64],
    dataset: AnnotatedCases[Any],
    contours: Sequence[str],
    unit: str,
) -> Figure:
    """Errors across and along the contour per structure, (N, L) each: boxes over landmarks, whiskers at 5 and 95 %."""
    figure = Figure(figsize=(2.5 + 1.4 * len(contours), 5.0), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(contours), dtype=float)
    handles = []
    for shift, errors, label, colour in (
        (-0.19, normal, "normal (across the contour)", GROUP_COLOURS[0]),
        (0.19, tangential, "tangential (along the contour)", GROUP_COLOURS[4]),
    ):
        values = [errors[:, dataset.landmarks_of(structure)] for structure in contours]
        boxes = axes.boxplot(
            [v[np.isfinite(v)] for v in values],
            positions=places + shift,
            widths=0.32,
            whis=(5, 95),
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            medianprops={"color": "black"},
            meanprops=DIAMOND,
        )
        for box in boxes["boxes"]:
            box.set_facecolor(colour)
        handles.append(Line2D([], [], color=colour, linewidth=6, label=label))
    handles.append(Line2D([], [], linestyle="", label="mean", **DIAMOND))
    axes.set_xticks(places, [structure.replace("_", " ") for structure in contours])
    axes.set(ylabel=f"landmark error [{unit}]", title="Errors across and along the contour", ylim=(0, None))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    _finish(axes)
    return figure
