"""What a run of fine-tuning was begun with: cases, images, the model and the program, so that it goes on with no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib import __version__
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle_files import WEIGHTS
from training.finetuning.task import FinetuneTask
from training.grid_cases import GridCases
from training.run_origin import digest_of_points
from training.volume_cases import VolumeCases

# What the numbers of a run come out of.
_PACKAGES = ("torch", "monai", "numpy", "SimpleITK")


def versions() -> dict[str, str]:
    """Of this program and the packages that it computes with."""
    found = {"DenseLandmarks": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # there, as its own import will say, and without a version
            found[name] = "unknown"
    return found


def origin_of(task: FinetuneTask) -> dict[str, Any]:
    """What says whether a run goes on with the same, as plain JSON types."""
    cases, run = task.cases, task.run
    count = len(run.case_ids)
    return {
        "weights": {
            "of": f"{run.parent.name} {run.parent.version}",
            "sha256": run.parent.metadata["checksums"][WEIGHTS],
        },
        "cases": dict(zip(run.case_ids, cases.names[:count], strict=True)),
        "replayed": list(cases.names[count:]),
        "landmarks": list(cases.landmark_names),
        "points": digest_of_points(cases),
        "images": _digest_of_images(cases),
    }


def check_origin(output: Path, begun: Mapping[str, Any], now: Mapping[str, Any], changed: str) -> None:
    """Raise :class:`InputError` unless the run in ``output`` goes on with what it was ``begun`` with.

    ``changed``, a sentence or nothing, says which versions are others: images may be read otherwise by another program.
    """
    if begun == now:
        return
    gone = [name for case_id, name in begun["cases"].items() if case_id not in now["cases"]]
    if begun["weights"] != now["weights"]:
        expected, do = f"the weights of {begun['weights']['of']}", "Restore them from a backup"
    elif gone:
        expected, do = f"case {gone[0]}, one of the {len(begun['cases'])}", "Bring its image back"
    else:
        expected, do = "the cases and the --replay data", "Give the same"
    raise InputError(
        f"expected {expected} that the run in {output} was begun with, got {'it left out' if gone else 'others'}. {do}, or begin in "
        f"another folder.{changed and ' '}{changed}"
    )


def changed_versions(begun: Mapping[str, str]) -> str:
    """A sentence on what differs between the program that began a run and this one; empty where nothing does."""
    now = versions()
    others = [f"{name} {was} (now {now.get(name)})" for name, was in begun.items() if now.get(name) != was]
    return f"It was begun with {', '.join(others)}." if others else ""


def _digest_of_images(cases: GridCases | VolumeCases) -> str:
    digest = hashlib.sha256()
    for image in _images(cases):
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _images(cases: GridCases | VolumeCases) -> Iterator[NDArray[np.float16]]:
    if isinstance(cases, GridCases):
        yield from cases.images
    else:
        yield from (level for pyramid in cases.pyramids for level in pyramid.levels)
