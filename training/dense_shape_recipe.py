"""The recipe of the family ``dense_shape``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from DenseLandmarksLib.errors import InputError
from training.run_recipe import AugmentationRecipe, OptimiserRecipe, RunRecipe


@dataclass(frozen=True)
class NetworkRecipe:
    """Which network: a name of ``NETWORKS`` and its arguments. ``views`` adds the head that notices turned images."""

    name: str = "CompactDenseSegNet"
    channels: tuple[int, ...] = (32, 64, 128, 256)
    uncertainty: bool = True
    views: bool = False


@dataclass(frozen=True)
class TargetRecipe:
    """The grid, the template and the uv maps.

    ``hold_out_every`` n > 0 leaves every n-th landmark of each structure out of template, uv maps and losses, so that
    it is new to the model. ``structures`` empty means all of the data set. ``read_out`` is the model's way from uv to
    landmarks, see :class:`~DenseLandmarksLib.landmarks.uv_field.UvField`.
    """

    grid: tuple[int, int] = (256, 256)
    chart: Literal["cartesian", "polar"] = "cartesian"
    align_template: bool = True
    per_image_triangulation: bool = False
    hold_out_every: int = 0
    structures: tuple[str, ...] = ()
    read_out: Literal["border", "affine", "softmin"] = "border"


@dataclass(frozen=True)
class LossRecipe:
    """Weights of DenseSeg's equation 4 and their better successors; a weight of 0 leaves a term out.

    ``mask``: ``"bce"`` with class weights (the paper) or ``"dice_bce"``. ``likelihood``: ``"l1"`` (the paper), or
    ``"laplace"`` with the scale learned; ``beta`` then weighs each error by its scale to that power, so that at 1 the
    coordinates learn as with L1 while the scale learns its own likelihood (Seitzer et al. 2022).
    """

    mask: Literal["bce", "dice_bce"] = "dice_bce"
    likelihood: Literal["l1", "laplace"] = "laplace"
    mask_weight: float = 1.0
    dense_weight: float = 2.0
    landmark_weight: float = 2.0
    smoothness_weight: float = 0.0
    view_weight: float = 0.1
    beta: float = 1.0


@dataclass(frozen=True)
class DenseShapeRecipe(RunRecipe):
    """One training run of the family ``dense_shape``; ``phantom_share`` is at most 0.1."""

    phantom_share: float = 0.0
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    target: TargetRecipe = field(default_factory=TargetRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    family: Literal["dense_shape"] = "dense_shape"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmentation.turned > 0 and not self.network.views:
            raise InputError(
                "expected network.views = true where augmentation.turned is above 0, since turned images teach nothing "
                "else. Change one of them in the recipe."
            )
        if self.augmentation.mirror > 0:
            raise InputError(
                "expected augmentation.mirror = 0, mirrored images teach heatmap models alone; turned images teach the views "
                "head. Change the recipe."
            )
        if not 0 <= self.phantom_share <= 0.1:
            raise InputError(
                f"expected phantom_share between 0 and 0.1, got {self.phantom_share}. Lower it in the recipe."
            )
