"""What a training run on volumes does, as data: the levels, the network, the losses and the augmentation of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.intensity import IntensityRecipe
from training.run_recipe import OptimiserRecipe, RunRecipe


@dataclass(frozen=True)
class LevelsRecipe:
    """The pyramid. Without ``spacings_mm`` it is planned from the extents of the training volumes.

    ``crop_size`` is in voxels, the same at all levels; ``groups`` the number of the crop that each landmark is in, empty
    for a plan: up to eight landmarks have a crop each, more share one with neighbours that lie within
    ``shared_extent`` of its side, at most ``sharing`` of them. ``crops_per_step`` is how many of a volume's finer crops,
    drawn at random, one step of the training looks at; 0 means all.
    """

    crop_size: int = 56
    spacings_mm: tuple[float, ...] = ()
    groups: tuple[int, ...] = ()
    shared_extent: float = 0.4
    sharing: int = 4
    crops_per_step: int = 0

    def __post_init__(self) -> None:
        if (
            list(self.spacings_mm) != sorted(set(self.spacings_mm), reverse=True)
            or min(self.spacings_mm, default=1) <= 0
        ):
            raise InputError(
                "expected levels.spacings_mm from the coarsest to the finest, got "
                f"{', '.join(f'{spacing:g}' for spacing in self.spacings_mm)}. Change the recipe."
            )


@dataclass(frozen=True)
class LocNetRecipe:
    """The networks of all levels, see :class:`~DenseLandmarksLib.models.networks.multi_scale.MultiScaleLocNet`.

    ``is_posed`` turns the finer crops into the pose of the mean shape, which the level before shows.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128)
    convolutions: int = 2
    is_normalised: bool = True
    dropout: float = 0.0
    centre: Literal["softmax", "relu"] = "softmax"
    cropping: Literal["differentiable", "integer", "detached"] = "differentiable"
    presence: bool = True
    is_posed: bool = False


@dataclass(frozen=True)
class ScaleLossRecipe:
    """Squared errors in mm^2 per level, weighed over the run, and what stands beside them.

    ``schedule``: ``"ramps"`` as the paper draws it (coarse 1 to 0, fine 0 to 1, those between up to 1 and back, linearly
    over the run), ``"staircase"`` as its code has it, ``"final"`` for the finest level alone, ``"equal"``.
    ``heat_weight`` weighs the cross-entropy of the heatmaps with a Gaussian of ``heat_sigma`` voxels, which the paper does
    not have; ``distance`` ``"squared"`` is the paper's, ``"huber"`` grows linearly beyond ``huber_voxels``.
    """

    schedule: Literal["ramps", "staircase", "final", "equal"] = "ramps"
    distance: Literal["squared", "huber"] = "squared"
    huber_voxels: float = 2.0
    point_weight: float = 1.0
    heat_weight: float = 0.0
    heat_sigma: float = 1.0
    presence_weight: float = 1.0


@dataclass(frozen=True)
class VolumeAlterationRecipe:
    """Largest deviations of what a volume looks like, in mm where they are lengths, drawn uniformly.

    ``any_pose`` turns volumes every way; ``elastic_mm`` bends them, with ``elastic_every_mm`` between the knots;
    ``mirror`` is the share of volumes that are mirrored, left and right landmarks swapped; ``crop`` the share that is cut,
    so that landmarks can be more than ``absent_mm`` outside.
    """

    rotation_deg: float = 15.0
    any_pose: bool = False
    scale: tuple[float, float] = (0.9, 1.1)
    shift_mm: float = 10.0
    elastic_mm: float = 0.0
    elastic_every_mm: float = 40.0
    mirror: float = 0.0
    crop: float = 0.0
    absent_mm: float = 10.0
    contrast: float = 0.2
    brightness: float = 0.2
    gamma: float = 0.2
    noise: float = 0.05

    def __post_init__(self) -> None:
        # Beyond, a bend may fold over, and where a landmark is seen could no more be found.
        if not 0 <= self.elastic_mm <= self.elastic_every_mm / 8:
            raise InputError(
                "expected augmentation.elastic_mm to be at most an eighth of elastic_every_mm "
                f"({self.elastic_every_mm:g}), got {self.elastic_mm:g}. Change the recipe."
            )


@dataclass(frozen=True)
class VolumeAugmentationRecipe(VolumeAlterationRecipe):
    """Also how the crops of a multi-scale network are moved.

    ``noise_mm`` moves the crops of the finest level, each way, or with ``one_sided_noise`` only up, as the paper's code
    does. In the share ``guided`` of the volumes the finer crops lie about the truth, moved by up to ``guided_voxels`` of the
    level before, whatever that level said.
    """

    noise_mm: float = 5.0
    one_sided_noise: bool = False
    guided: float = 0.0
    guided_voxels: float = 1.0


@dataclass(frozen=True)
class VolumeRecipe(RunRecipe):
    """One training run of the family ``multi_scale``.

    ``demonstration`` marks a model that must not be used on patients, such as one of phantoms; ``one_level_at_a_time``
    trains each level for its share of the run and then leaves it as it is (the paper's multi-step rival). The model that comes
    out looks ``passes`` times with its finest level, and its confidence is the probability of an error below
    ``confidence_radius_mm``.
    """

    demonstration: bool = False
    one_level_at_a_time: bool = False
    passes: int = 8
    confidence_radius_mm: float = 5.0
    intensity: IntensityRecipe = field(default_factory=IntensityRecipe)
    levels: LevelsRecipe = field(default_factory=LevelsRecipe)
    network: LocNetRecipe = field(default_factory=LocNetRecipe)
    loss: ScaleLossRecipe = field(default_factory=ScaleLossRecipe)
    augmentation: VolumeAugmentationRecipe = field(default_factory=VolumeAugmentationRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    family: Literal["multi_scale"] = "multi_scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        divisor = 2 ** (len(self.network.channels) - 1)
        if self.levels.crop_size < 2 * divisor or self.levels.crop_size % divisor:
            raise InputError(
                f"expected levels.crop_size to be a multiple of {divisor}, at least {2 * divisor}, got "
                f"{self.levels.crop_size}. Change the recipe."
            )
