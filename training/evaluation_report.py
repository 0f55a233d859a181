"""From measured cases to the report: summaries over cases, and paired comparison, as JSON types.

Averages, in the order in which they are made (DenseSeg's Table 2: lungs, heart, clavicles, and their mean):

* a *structure* in one case: over its landmarks, or of its mask;
* a *group* in one case: the left and the right structure of a pair. Dice and surface distances are the mean over the
  structures of the group, TRE and shares of landmarks the mean over all its landmarks (the released code takes the
  mean over structures there, too: for the lungs of ``jsrt``, with 44 and 50 landmarks, 18.53 in place of 18.56 mm when
  the mean shape is the prediction);
* the *average* in one case: the mean of its groups, each counting the same;
* over cases: mean, standard deviation (N - 1), median and bootstrap interval. The paper's "average" row has the mean
  of the groups' standard deviations in place of the standard deviation of the average.

What a case cannot tell (nothing annotated, or the model has no such output) is left out of the averages above it.
What is undefined because the predicted mask is empty makes the averages above it undefined in that case: a mean over
the structures that happened to be found would flatter a model that misses some. Summaries over cases leave undefined
ones out and say in ``defined`` over how many cases they run.

``all_landmarks`` pools the landmarks of all cases instead, as papers on few landmarks do (:mod:`training.point_errors`),
and ``spearman_uncertainty_error`` is the correlation, over the same landmarks, of how large a region the model claims
(an area in radiographs) with how far off it is. ``landmark_tre_mm`` of a case has the error of each of ``landmarks``, in their order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from training.data_folder import Spacing
from training.metrics import LandmarkErrors
from training.point_errors import (
    compare_point_errors,
    has_point_errors,
    image_errors,
    point_errors,
    summarise_landmarks,
)
from training.reference_lines import Reference
from training.summary import plain, summarise, summarise_differences

SCHEMA = 1
SIDES = ("left_", "right_")

METRICS = (
    "dsc",
    "asd_mm",
    "asd_one_sided_mm",
    "asd_predicted_to_truth_mm",
    "tre_mm",
    "tre_normal_mm",
    "tre_tangential_mm",
    "over_10_mm_share",
    "missed_share",
    "in_ellipse_90_share",
    "median_ellipse_90_mm2",
    "median_ellipsoid_90_ml",
    "false_alarm_share",
)
# How a structure weighs in its group: by one, or by the number of landmarks that were measured.
ANNOTATED_WEIGHT = frozenset(
    {
        "tre_mm",
        "tre_normal_mm",
        "tre_tangential_mm",
        "over_10_mm_share",
        "missed_share",
        "in_ellipse_90_share",
        "median_ellipse_90_mm2",
        "median_ellipsoid_90_ml",
    }
)
ABSENT_WEIGHT = frozenset({"false_alarm_share"})

Values = dict[str, float | None]
"""One value per metric: a number, NaN where it is undefined, None where there is nothing to measure."""


@dataclass(frozen=True)
class StructureMeasurement:
    """What was measured on one structure of one case.

    The counts are of landmarks that the model names: ``annotated`` ones, and those that should be called ``absent``.
    """

    values: Values
    annotated: int
    absent: int


@dataclass(frozen=True)
class CaseMeasurement:
    """What was measured on one case of ``"radiographs"`` or ``"volumes"``.

    ``points_lps_mm`` (L, 3) are the predicted landmarks, NaN where the model does not name the data set's landmark;
    ``present`` (L,) what the model says of them. ``errors`` hold (L,) each, NaN where there is nothing to compare;
    ``region`` (L,) the sizes of their 90 % regions, mm^2 in radiographs and ml in volumes, NaN where none is claimed.
    """

    case: str
    images: str
    unit: str
    model: Mapping[str, str]
    structures: Mapping[str, StructureMeasurement]
    landmark_names: tuple[str, ...]
    points_lps_mm: NDArray[np.float64]
    present: NDArray[np.bool_]
    errors: LandmarkErrors
    region: NDArray[np.float64]
    unnamed_landmarks: tuple[str, ...]


def group_structures(structures: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups of structures: ``left_X`` and ``right_X`` become ``Xs``; every other structure is a group of its own."""
    groups: dict[str, list[str]] = {}
    for structure in structures:
        stem = next((structure.removeprefix(side) for side in SIDES if structure.startswith(side)), None)
        paired = stem is not None and all(side + stem in structures for side in SIDES)
        groups.setdefault(f"{stem}s" if paired else structure, []).append(structure)
    return {name: tuple(members) for name, members in groups.items()}


def _pool(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    if not known:
        return None
    return float(np.average([value for value, _ in known], weights=[weight for _, weight in known]))


def pool_group(members: Sequence[StructureMeasurement]) -> Values:
    """The values of a group of structures in one case (see the top of this file)."""
    pooled: Values = {}
    for metric in METRICS:
        weights = [
            m.annotated if metric in ANNOTATED_WEIGHT else m.absent if metric in ABSENT_WEIGHT else 1 for m in members
        ]
        pooled[metric] = _pool([m.values[metric] for m in members], weights)
    return pooled


def pool_average(groups: Mapping[str, Values]) -> Values:
    """The average over the groups of one case, each counting the same."""
    return {metric: _pool([group[metric] for group in groups.values()], [1] * len(groups)) for metric in METRICS}


def build_report(
    measurements: Sequence[CaseMeasurement],
    data: str,
    split: str,
    references: Sequence[Reference] = (),
    spacing: Spacing | None = None,
) -> dict[str, Any]:
    """The report, ready for JSON (no NaN): see the top of this file for what is averaged how.

    ``references`` are known errors, of readers for example, that stand beside the model's; ``spacing`` is what the data say of
    their millimetres.

    Raises :class:`InputError` when cases with and without known spacing are mixed: their lengths have no common unit.
    """
    units = sorted({m.unit for m in measurements})
    if len(units) != 1:
        raise InputError(
            f"expected cases of one unit of length in {data}, got {' and '.join(units) or 'no case'}. "
            "Give every case a spacing, or none."
        )
    names = list(measurements[0].structures)
    members_of = group_structures(names)
    groups = [
        {group: pool_group([m.structures[name] for name in members]) for group, members in members_of.items()}
        for m in measurements
    ]
    averages = [pool_average(of_case) for of_case in groups]
    unnamed = measurements[0].unnamed_landmarks

    errors = np.stack([m.errors.tre_mm for m in measurements])
    present = np.stack([m.present for m in measurements])
    region = np.stack([m.region for m in measurements])

    def all_plain(values: Values) -> Values:
        return {metric: plain(value) for metric, value in values.items()}

    return {
        "schema": SCHEMA,
        "model": dict(measurements[0].model),
        "data": data,
        "split": split,
        "images": measurements[0].images,
        "cases": len(measurements),
        "unit": units[0],
        "spacing": spacing,
        "skipped_landmarks": {"count": len(unnamed), "names": list(unnamed)},
        "average": {metric: summarise([a[metric] for a in averages]) for metric in METRICS},
        "groups": {
            group: {metric: summarise([g[group][metric] for g in groups]) for metric in METRICS} for group in members_of
        },
        "structures": {
            name: {metric: summarise([m.structures[name].values[metric] for m in measurements]) for metric in METRICS}
            for name in names
        },
        **summarise_landmarks(measurements[0].landmark_names, errors, present, region, units[0]),
        "references": [dataclasses.asdict(reference) for reference in references],
        "per_case": [
            {
                "case": m.case,
                "average": all_plain(average),
                "groups": {group: all_plain(values) for group, values in of_case.items()},
                "structures": {name: all_plain(s.values) for name, s in m.structures.items()},
                "image_error_mm": plain(image_error),
                "landmark_tre_mm": [plain(error) for error in m.errors.tre_mm],
            }
            for m, of_case, average, image_error in zip(
                measurements, groups, averages, image_errors(errors).tolist(), strict=True
            )
        ],
    }


def read_report(path: Path) -> dict[str, Any]:
    """Read an earlier report; raises :class:`InputError` when the file is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"expected a report in JSON, cannot read {path}: {error}. Make one with evaluate.") from error
    needed = {"schema", "model", "data", "unit", "per_case"}
    if not isinstance(report, dict) or not needed <= set(report) or report["schema"] != SCHEMA:
        raise InputError(f"expected a report of schema {SCHEMA}, {path} is something else. Make one with evaluate.")
    return report


def _paired(report: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    pairs = [
        (a[metric], b[metric])
        for a, b in zip(report, other, strict=True)
        if a.get(metric) is not None and b.get(metric) is not None
    ]
    return summarise_differences(np.array([a - b for a, b in pairs], np.float64))


def compare_reports(report: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Paired differences, this report minus the other, over the cases that both have.

    Each metric of average, groups and structures gets mean, sd, median and bootstrap ci95 of the differences and the
    two-sided p value of Wilcoxon's signed-rank test; so do image error and rates of ``all_landmarks``, over landmarks that
    both measured, unless a report is of before point errors were kept. Raises :class:`InputError` when data or unit differ or no case
    is common.
    """
    for key in ("data", "unit"):
        if report[key] != other.get(key):
            raise InputError(
                f"expected two reports of the same {key}, got {report[key]!r} and {other.get(key)!r}. "
                "Evaluate both models on the same data."
            )
    of_other = {entry["case"]: entry for entry in other["per_case"]}
    common = [entry for entry in report["per_case"] if entry["case"] in of_other]
    if not common:
        raise InputError("expected reports that share cases, these share none. Evaluate both models on the same split.")
    pairs = [(entry, of_other[entry["case"]]) for entry in common]
    left_out = len(report["per_case"]) + len(of_other) - 2 * len(common)
    notes = [f"Cases that only one of the two reports has, left out: {left_out}."] if left_out else []
    if report["skipped_landmarks"]["names"] != other.get("skipped_landmarks", {}).get("names"):
        notes.append("The two models name different landmarks, so their landmark errors are over different points.")

    of_points: dict[str, Any] = {}
    if has_point_errors(report) and has_point_errors(other):
        names, cases = list(report["landmarks"]), [entry["case"] for entry in common]
        ours, theirs = (point_errors(each, names, cases) for each in (report, other))
        of_points = {"all_landmarks": compare_point_errors(ours, theirs, report["unit"])}
    else:
        notes.append(
            "One of the two reports keeps no errors of single landmarks, so rates and curves are not compared."
        )

    def differences(kind: str, name: str | None = None) -> dict[str, Any]:
        ours = [a[kind] if name is None else a[kind][name] for a, _ in pairs]
        theirs = [b[kind] if name is None else b[kind][name] for _, b in pairs]
        return {metric: _paired(ours, theirs, metric) for metric in METRICS}

    def shared(kind: str) -> list[str]:
        return [name for name in report[kind] if name in other.get(kind, {})]

    return {
        "other": other["model"],
        "cases": len(common),
        "notes": notes,
        "average": differences("average"),
        "groups": {name: differences("groups", name) for name in shared("groups")},
        "structures": {name: differences("structures", name) for name in shared("structures")},
        **of_points,
    }
