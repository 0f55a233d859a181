"""What runs of fine-tuning leave behind, read again and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning.chest_library import MODEL
from Testing.training.finetuning.corrected_cases import Annotator


def json_of(path: Path) -> dict[str, Any]:
    """What a file of a run says."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def state(output: Path) -> dict[str, Any]:
    """How a run stands."""
    return json_of(output / "state.json")


def own_versions(annotator: Annotator) -> list[str]:
    """The versions that are listed beside a library."""
    return [one.version for one in list_versions(MODEL.name, annotator.folder / "versions")]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """What a run's network came to."""
    kept: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    return kept


def assert_same_weights(one: Path, other: Path) -> None:
    """To the last bit."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def differ(one: Path, other: Path) -> bool:
    """Whether any weight of two runs does."""
    first, second = weights_of(one), weights_of(other)
    return any(not torch.equal(value, second[name]) for name, value in first.items())


def distance(run_folder: Path, bundle: Path) -> float:
    """Sum of squares by which a run moved the weights of its model."""
    parent = load_bundle(bundle).weights
    own = weights_of(run_folder)
    return float(sum(((own[name] - torch.from_numpy(w).float()) ** 2).sum() for name, w in parent.items()))
