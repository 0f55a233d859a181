"""What a training run of heatmaps on volumes does, as data: the tiles, the network, its targets and the augmentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.intensity import IntensityRecipe
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe
from training.run_recipe import OptimiserRecipe, RunRecipe
from training.volume_recipe import LevelsRecipe, VolumeAlterationRecipe


@dataclass(frozen=True)
class TilesRecipe:
    """What the network sees at a time: ``size`` voxels (x, y, z) of ``spacing_mm`` (Payer et al. 2019).

    A prediction joins tiles that are ``step`` voxels apart. In training one tile is drawn from each volume that is larger;
    the share ``about_landmarks`` of them holds a landmark, wherever in it that may lie.
    """

    spacing_mm: float = 2.0
    size: tuple[int, int, int] = (96, 96, 192)
    step: int = 64
    about_landmarks: float = 0.5

    def __post_init__(self) -> None:
        if not self.spacing_mm > 0 or not 0 < self.step <= min(self.size):
            raise InputError(
                "expected tiles.spacing_mm above 0 and tiles.step from 1 to the shortest side of tiles.size, got "
                f"{self.spacing_mm:g}, {self.step} and {self.size}. Change the recipe."
            )


@dataclass(frozen=True)
class HeatmapVolumeRecipe(RunRecipe):
    """One training run of the family ``heatmap_volume``.

    ``demonstration`` marks a model that must not be used on patients, such as one of phantoms. The model that comes out looks
    ``passes`` times, each time at a volume that is moved a little; without a calibration a landmark is present where the
    peak of its heatmap is more than ``present_above`` of what was taught; it lies at its sub-pixel position unless ``sub_pixel`` is
    off, and confidence is the probability of an error below ``confidence_radius_mm``.
    """

    demonstration: bool = False
    passes: int = 1
    present_above: float = 0.1
    sub_pixel: bool = True
    confidence_radius_mm: float = 5.0
    intensity: IntensityRecipe = field(default_factory=IntensityRecipe)
    tiles: TilesRecipe = field(default_factory=TilesRecipe)
    network: HeatmapNetworkRecipe = field(default_factory=HeatmapNetworkRecipe)
    loss: HeatmapLossRecipe = field(default_factory=HeatmapLossRecipe)
    augmentation: VolumeAlterationRecipe = field(default_factory=VolumeAlterationRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    family: Literal["heatmap_volume"] = "heatmap_volume"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss.mask_weight > 0:
            raise InputError("expected loss.mask_weight = 0, volumes are trained without masks. Change the recipe.")
        if self.passes < 1 or not self.present_above > 0:
            raise InputError(
                f"expected at least 1 pass and present_above over 0, got {self.passes} and {self.present_above:g}. "
                "Change the recipe."
            )

    @property
    def levels(self) -> LevelsRecipe:
        """The one level that volumes are read at."""
        return LevelsRecipe(spacings_mm=(self.tiles.spacing_mm,))
