"""What the recipes of all families have: augmentation, optimiser, folds, and what the training images are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.expectation import Expectation


@dataclass(frozen=True)
class AugmentationRecipe:
    """Largest deviations. Scales are factors; shifts and elastic are shares of the grid.

    Deviations are drawn uniformly, or with ``peaked`` as the signed square of a uniform number for rotation, scale, shift
    and gamma: films are mostly straight, and few are not.

    ``elastic`` bends an image by displacements at nodes: ``bend`` ``"cubic"`` draws 7 x 7 from a normal distribution of that
    standard deviation and interpolates them; ``"b_spline"`` draws the 5 x 5 coefficients of a cubic B-spline uniformly up to
    it, as Payer et al. do.

    ``invert``, ``collimation``, ``letters`` and ``turned`` are shares of the images that are inverted, have collimated
    borders, have letters burnt in, and are turned or mirrored. Turned images teach the ``views`` head alone. ``mirror`` is the
    share that is mirrored and teaches where things are then, with left and right landmarks swapped; of heatmap models only.
    """

    rotation_deg: float = 12.0
    scale: tuple[float, float] = (0.82, 1.2)
    anisotropy: float = 0.08
    shift: float = 0.12
    elastic: float = 0.0
    bend: Literal["cubic", "b_spline"] = "cubic"
    mirror: float = 0.0
    contrast: float = 0.3
    brightness: float = 0.3
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    invert: float = 0.0
    collimation: float = 0.0
    letters: float = 0.0
    turned: float = 0.0
    peaked: bool = False


@dataclass(frozen=True)
class OptimiserRecipe:
    """Optimiser, schedule and averaging. ``ema`` 0 keeps the last weights instead of their running mean.

    ``steps`` above 0 is the length of the run whatever the number of cases; ``epochs`` is then in how many parts it is done,
    each with a line in the log. ``decay`` ``"kernels"`` spares all but the weights of convolutions. Gradients longer than
    ``clip``, all taken together, are shortened to it; 0 shortens none. ``"nesterov"`` is gradient descent with ``momentum``.
    ``"falling"`` halves the learning rate at 50 % of the run, and makes it a tenth at 75 % (Thaler et al. 2021); ``"cosine"``
    ends at a hundredth of it.
    """

    name: Literal["adam", "adamw", "nesterov"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant", "falling"] = "one_cycle"
    epochs: int = 48
    steps: int = 0
    batch: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    decay: Literal["all", "kernels"] = "all"
    momentum: float = 0.99
    clip: float = 10.0
    ema: float = 0.99
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if not self.clip >= 0:
            raise InputError(f"expected optimiser.clip of 0, for none, or above, got {self.clip:g}. Change the recipe.")
        if self.steps < 0 or self.steps % max(self.epochs, 1):
            raise InputError(
                f"expected optimiser.steps to be a multiple of optimiser.epochs ({self.epochs}), got {self.steps}. "
                "Change the recipe."
            )


@dataclass(frozen=True)
class RunRecipe:
    """What every training run has.

    ``validation_fold`` -1 trains on every case; ``expects`` is what the training images are, for the model to notice others.
    """

    name: str
    description: str = ""
    version: str = "1.0.0"
    seed: int = 0
    validation_fold: int = -1
    folds: int = 5
    expects: Expectation = field(default_factory=Expectation)

    def __post_init__(self) -> None:
        if not -1 <= self.validation_fold < self.folds:
            raise InputError(
                f"expected a validation fold from 0 to {self.folds - 1}, or -1 for none, got {self.validation_fold}. "
                "Change --fold or the recipe."
            )
