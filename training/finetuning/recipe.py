"""How a model learns from corrections, as data: what is put on top of the recipe that it was made with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import Bundle
from training.dense_shape_recipe import DenseShapeRecipe
from training.recipe import AnyRecipe, recipe_from_dict
from training.recipe_values import build_from, read_values

OneRecipe = TypeVar("OneRecipe", bound=AnyRecipe)


@dataclass(frozen=True)
class FinetuneRecipe:
    """One run of fine-tuning, the table ``[finetune]`` of a TOML file.

    Attributes
    ----------
    steps : of the optimiser; ``epochs`` is in how many parts they are done, each with a line in the curves and a chance to be
        gone on with. Steps are rounded up to a multiple of the parts.
    batch : cases in a step; 0 takes the model's own.
    learning_rate_share : of the learning rate that the model was trained with.
    verified_weight : what a landmark or mask teaches that a person found right as it was, where a corrected, placed or
        painted one teaches 1.
    replay_share : of each batch, out of the original cases, where they are at hand.
    pull : where they are not, ``pull * sum((w - w0) ** 2)`` over the weights that the model had is added to the loss
        (L2-SP, Li et al. 2018; the factor of a half is in ``pull``).
    ema : as in :class:`~training.recipe.OptimiserRecipe`.
    anew : begin with random weights instead of those of the model; ``pull`` is then for nothing.
    seed : of all random numbers.
    """

    steps: int = 600
    epochs: int = 20
    batch: int = 0
    learning_rate_share: float = 0.3
    verified_weight: float = 0.5
    replay_share: float = 0.5
    pull: float = 0.01
    ema: float = 0.99
    anew: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        shares = ("verified_weight", "replay_share", "ema")
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        wrong += [name for name in ("batch", "pull") if getattr(self, name) < 0]
        wrong += [name for name in ("steps", "epochs", "learning_rate_share") if getattr(self, name) <= 0]
        wrong += ["replay_share"] if self.replay_share == 1 else []
        wrong += ["ema"] if self.ema == 1 else []
        if wrong:
            raise InputError(
                f"expected finetune.{wrong[0]} in its range, got {getattr(self, wrong[0])}. Shares lie between 0 and 1, "
                "numbers of steps above 0. Change the recipe."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of each part."""
        return -(-self.steps // self.parts)

    @property
    def parts(self) -> int:
        """In how many parts the steps are done: never more than there are steps."""
        return min(self.epochs, self.steps)

    def weight(self, review: Review) -> float:
        """What a decided landmark teaches."""
        return self.verified_weight if review is Review.VERIFIED else 1.0


def read_finetune_recipe(path: Path) -> FinetuneRecipe:
    """The table ``[finetune]`` of a TOML file; raises :class:`InputError` for anything else."""
    values = read_values(path)
    if set(values) != {"finetune"}:
        raise InputError(
            f"expected one table [finetune] in {path}, got {', '.join(values) or 'nothing'}. The rest is the model's own recipe."
        )
    recipe: FinetuneRecipe = build_from(FinetuneRecipe, values["finetune"], "finetune")
    return recipe


def finetune_recipe_from_dict(values: dict[str, Any]) -> FinetuneRecipe:
    """The recipe of ``dataclasses.asdict``, also after a journey through JSON."""
    recipe: FinetuneRecipe = build_from(FinetuneRecipe, values, "finetune")
    return recipe


def recipe_of(parent: Bundle) -> AnyRecipe:
    """The recipe that a model was trained with; raises :class:`InputError` where its bundle does not keep it."""
    values = parent.metadata.get("training", {}).get("recipe")
    if not isinstance(values, dict):
        raise InputError(
            f"expected a model that keeps the recipe it was trained with, got {parent.name} {parent.version} without. "
            "Choose another model."
        )
    return recipe_from_dict({"family": parent.family.name, **values, "name": parent.name})


def finetuned(recipe: OneRecipe, options: FinetuneRecipe) -> OneRecipe:
    """The model's recipe for a run of fine-tuning: every case counts, and no phantom is drawn."""
    optimiser = dataclasses.replace(
        recipe.optimiser,
        epochs=options.parts,
        steps=options.parts * options.steps_per_epoch,
        batch=options.batch or recipe.optimiser.batch,
        learning_rate=recipe.optimiser.learning_rate * options.learning_rate_share,
        ema=options.ema,
    )
    changes: dict[str, Any] = {"optimiser": optimiser, "seed": options.seed}
    if isinstance(recipe, DenseShapeRecipe):
        # What a study held out is on no template, and all that is on it is taught.
        changes |= {"phantom_share": 0.0, "target": dataclasses.replace(recipe.target, hold_out_every=0)}
    result: OneRecipe = dataclasses.replace(recipe, **changes)
    return result
