"""``dense-landmarks models``: which models and versions there are, where each comes from, and going back to an earlier one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.descent import Descent, descent_of, lineage
from DenseLandmarksLib.models.family import FIRST_FAMILY
from DenseLandmarksLib.models.manage_versions import set_active
from DenseLandmarksLib.models.measured import HEADLINE, figure
from DenseLandmarksLib.models.versions import ModelVersion, list_versions, model_names

_EPILOG = """\
A version that was retrained says what it comes from: its parent, the library, how many of its cases and in which state (the
same digits mean the same revisions of the same cases), how many landmarks people decided in them, and the mean error
before and after on cases that neither version had seen.

  dense-landmarks models chest-xray --use 1.1.0      go back to this version, or on to it
"""


def add_models_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; it leaves its function in ``arguments.act``."""
    show = commands.add_parser(
        "models",
        help="list the models and their versions, with their measured errors; make one active",
        description="List the models and their versions, with their measured errors and where they come from.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("name", nargs="?", metavar="NAME", help="only this model")
    show.add_argument("--use", metavar="VERSION", help="let the model's name stand for this version from now on")
    show.add_argument("--json", action="store_true", help="all that is known of each version, for programs")
    show.set_defaults(act=models)


def models(arguments: argparse.Namespace) -> int:
    """Make a version active where one is named, and print the list."""
    name = arguments.name
    if arguments.use is not None and name is None:
        raise InputError("expected the name of a model for --use, got none. Say 'models NAME --use VERSION'.")
    if name is not None and not list_versions(name):
        names = ", ".join(model_names()) or "none"
        raise InputError(f"expected the name of a model, got {name!r}. Models here: {names}.")
    if name is not None and arguments.use is not None:
        set_active(name, arguments.use)
    found = [version for one in (model_names() if name is None else (name,)) for version in list_versions(one)]
    print(json.dumps([_to_dict(one) for one in found], indent=2) if arguments.json else model_table(found))
    return 0


def model_table(found: Sequence[ModelVersion]) -> str:
    """Versions with what they find, their measured errors and where they lie, then where they come from, as text."""
    rows: list[tuple[str, ...]] = [("model", "active", "finds", "measured on", *HEADLINE.values(), "where")]
    problems, descents = [], []
    for version in found:
        if version.problem:
            problems.append(f"{version.name} {version.version} cannot be used: {version.problem}")
            continue
        rows.append(_row(version))
        descent = descent_of(version.metadata)
        if descent is not None:
            descents.append(_descent_line(version, descent, found))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *descents, *problems])


def _row(version: ModelVersion) -> tuple[str, ...]:
    metadata = version.metadata
    structures = len(metadata["structures"])
    finds = f"{structures} structures, " if structures else ""
    finds += f"{len(metadata['landmark_names'])} landmarks"
    finds += " (demonstration)" if metadata.get("demonstration") is True else ""
    measured = metadata.get("measured")
    figures = ["not measured"] + [""] * len(HEADLINE)
    if measured:
        average = measured["average"]
        figures = [f"{measured['cases']} cases of {measured['data']} {measured['split']}"] + [
            figure(average, metric) for metric in HEADLINE
        ]
    active, where = "yes" if version.active else "no", "shipped" if version.shipped else str(version.folder)
    return f"{metadata['name']} {metadata['version']}", active, finds, *figures, where


def _descent_line(version: ModelVersion, descent: Descent, found: Sequence[ModelVersion]) -> str:
    ancestors = lineage(version.version, [one for one in found if one.name == version.name])[1:]
    line = " from ".join((f"{version.name} {version.version}", descent.parent, *(one.version for one in ancestors[1:])))
    counts = descent.corrections
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in counts if counts[kind])
    line += (
        f": learnt from {len(descent.revisions)} cases of the library {descent.library_name}, state {descent.library_state} "
        f"({sum(counts.values())} landmarks{': ' + kinds if kinds else ''})"
    )
    if descent.new_landmarks:
        line += f"; new: {', '.join(descent.new_landmarks)}"
    if descent.before_mm is not None and descent.after_mm is not None:
        line += f"; {descent.before_mm:.2f} mm before, {descent.after_mm:.2f} mm after"
    return f"{line}; {descent.outcome}" if descent.outcome else line


def _to_dict(version: ModelVersion) -> dict[str, Any]:
    """All that is known of a version, as plain JSON types."""
    metadata, descent = version.metadata, descent_of(version.metadata)
    said = None
    if descent is not None:
        said = asdict(descent) | {"trained_on": sorted(descent.trained_on), "library_state": descent.library_state}
    return {
        "name": version.name,
        "version": version.version,
        "active": version.active,
        "shipped": version.shipped,
        "folder": str(version.folder),
        "problem": version.problem,
        "family": metadata.get("family", FIRST_FAMILY),
        "description": metadata.get("description", ""),
        "demonstration": metadata.get("demonstration") is True,
        "structures": [style.get("name") for style in metadata.get("structures", []) if isinstance(style, dict)],
        "landmark_names": metadata.get("landmark_names", []),
        "measured": metadata.get("measured"),
        "training": metadata.get("training"),
        "descent": said,
    }
