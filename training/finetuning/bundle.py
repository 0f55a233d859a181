"""A finetuned network as a bundle: of its parent it keeps calibration, terms, and the recipe that it was trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from DenseLandmarksLib.models.bundle import LICENSE, Bundle, save_bundle
from training.bundle_metadata import finetuned_training
from training.finetuning.grow_network import grown_weights, landmark_rows
from training.finetuning.inherit_calibration import inherited_inference, inherited_metadata
from training.replay import CaseMix
from training.run_recipe import OptimiserRecipe


@dataclass(frozen=True)
class FinetuneRun:
    """What a run of fine-tuning was, for the bundle that comes out: its ``parent``, its cases and what was replayed.

    ``lines`` are for the report, one each: cases that were left out, landmarks that are not learned; ``new_landmarks`` the
    names of those that are trained for the first time; ``case_ids`` of the library that were learned from; ``anew`` whether it
    began with random weights.
    """

    parent: Bundle
    optimiser: OptimiserRecipe
    mix: CaseMix
    replayed: str | None
    case_ids: tuple[str, ...]
    new_landmarks: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    anew: bool = False

    def first_weights(self, fresh: Mapping[str, Tensor], landmark_names: Sequence[str]) -> dict[str, Tensor]:
        """What a network for these landmarks begins with, whose ``fresh`` weights are random."""
        if self.anew:
            return dict(fresh)
        return grown_weights(self.parent.weights, fresh, landmark_rows(self.parent.landmark_names, landmark_names))

    @property
    def steps(self) -> int:
        """How many the run takes."""
        optimiser = self.optimiser
        return optimiser.steps or optimiser.epochs * self.mix.steps(optimiser.batch)


def save_finetuned(
    folder: Path,
    run: FinetuneRun,
    metadata: dict[str, Any],
    inference: dict[str, Any],
    files: Mapping[str, str],
    network: nn.Module,
    write_card: Callable[[dict[str, Any], dict[str, Any]], str],
) -> None:
    """Write ``folder`` as a bundle; ``metadata`` and ``inference`` are those of a model that was trained from scratch."""
    parent = run.parent
    inference = {**inference, **inherited_inference(parent)}
    training = {**metadata["training"], "cases": len(run.case_ids)}
    replayed = run.mix.original if run.replayed is not None else 0
    training = finetuned_training(training, parent, run.steps, run.replayed, replayed)
    metadata = {**metadata, **inherited_metadata(parent), "training": training}
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    card = write_card(metadata, inference)
    license_text = (parent.folder / LICENSE).read_text(encoding="utf-8")
    save_bundle(folder, metadata, inference, files, weights, card, license_text)
