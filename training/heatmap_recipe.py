"""What a training run of heatmaps on radiographs does, as data: the network, its targets, the losses and the augmentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from DenseLandmarksLib.errors import InputError
from training.run_recipe import AugmentationRecipe, OptimiserRecipe, RunRecipe


@dataclass(frozen=True)
class HeatmapNetworkRecipe:
    """Which network: a name of ``HEATMAP_NETWORKS``, its own ``arguments``, such as widths, and why it was taken.

    ``reason`` is a sentence for the model's card: what it was compared with, and what came of it.
    """

    name: str = "CompactHeatmapNet"
    arguments: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class HeatmapTargetRecipe:
    """The grid (height, width) that images are fitted to, and the landmarks that are found on it.

    ``structures`` empty means all of the data set. ``landmarks_share`` below 1 keeps that share of each, chosen
    farthest from each other by their mean positions. ``contours`` says that the landmarks of a structure go around it, in order.
    """

    grid: tuple[int, int] = (320, 256)
    structures: tuple[str, ...] = ()
    landmarks_share: float = 1.0
    contours: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.landmarks_share <= 1:
            raise InputError(
                f"expected target.landmarks_share above 0 and at most 1, got {self.landmarks_share:g}. Change the recipe."
            )


@dataclass(frozen=True)
class HeatmapLossRecipe:
    """What a heatmap is compared with: a Gaussian of ``sigma`` heatmap pixels about the landmark.

    ``kind``: ``"sum"`` is half the *sum* of squared differences to a Gaussian whose volume is ``gamma``, as Payer et al. have
    it; with ``learned_sigma`` each landmark has its own, which ``alpha`` keeps small. ``"heat_reg"`` is DenseSeg's baseline, the
    *mean* of squared differences to a Gaussian that is ``height`` high; ``"distribution"`` the cross-entropy of the spatial
    softmax, where ``absent_weight`` above 0 teaches landmarks that left the image to be nowhere. ``mask_weight`` weighs the masks of
    joint networks, ``mask`` as in :class:`~training.recipe.LossRecipe`; the heatmaps then weigh ``1 - mask_weight``.
    """

    kind: Literal["sum", "heat_reg", "distribution"] = "distribution"
    gamma: float = 100.0
    alpha: float = 20.0
    height: float = 44.0
    sigma: float = 1.5
    learned_sigma: bool = False
    absent_weight: float = 0.0
    mask: Literal["bce", "dice_bce"] = "bce"
    mask_weight: float = 0.0

    @property
    def teaches_absence(self) -> bool:
        """Whether a landmark that is truly absent costs anything; to heights it is a target of zero."""
        return self.kind != "distribution" or self.absent_weight > 0

    def __post_init__(self) -> None:
        if self.learned_sigma and self.kind != "sum":
            raise InputError(
                f'expected loss.learned_sigma with loss.kind = "sum" alone, got "{self.kind}", where nothing '
                "keeps it from 0. Change one of them in the recipe."
            )


@dataclass(frozen=True)
class HeatmapRecipe(RunRecipe):
    """One training run of the family ``heatmap``.

    ``either_side`` says that a mirrored image is as good when it is mirrored
    back: a right hand to a model of left ones. The model that comes out looks ``passes`` times; a landmark is present where the peak of
    its heatmap is at least ``present_above`` of what was taught, and at its sub-pixel position unless ``sub_pixel`` is off.
    """

    either_side: bool = False
    passes: int = 1
    present_above: float = 0.1
    sub_pixel: bool = True
    network: HeatmapNetworkRecipe = field(default_factory=HeatmapNetworkRecipe)
    target: HeatmapTargetRecipe = field(default_factory=HeatmapTargetRecipe)
    loss: HeatmapLossRecipe = field(default_factory=HeatmapLossRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    family: Literal["heatmap"] = "heatmap"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmentation.turned > 0:
            raise InputError(
                "expected augmentation.turned = 0, heatmap networks have no head that notices turned images. Change the recipe."
            )
        if self.loss.mask_weight > 0 and not self.target.contours:
            raise InputError(
                "expected target.contours = true where loss.mask_weight is above 0: masks are made of contours. "
                "Change one of them in the recipe."
            )
        if self.passes < 1:
            raise InputError(f"expected at least 1 pass, got {self.passes}. Change passes in the recipe.")

    @property
    def heat(self) -> Literal["regression", "distribution"]:
        """What the heatmaps are: heights of a Gaussian, or logits of a distribution."""
        return "distribution" if self.loss.kind == "distribution" else "regression"
