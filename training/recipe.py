"""What a training run does, as data: a TOML recipe, checked, and saved beside what it produced."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.expectation import Expectation

if TYPE_CHECKING:
    from training.heatmap_recipe import HeatmapRecipe
    from training.heatmap_volume_recipe import HeatmapVolumeRecipe
    from training.volume_recipe import VolumeRecipe


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


@dataclass(frozen=True)
class Recipe(RunRecipe):
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


def _convert(value: Any, hint: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"expected a table [{where}] in the recipe, got {value!r}. Write it as a TOML table.")
        return build_from(hint, value, where)
    origin = get_origin(hint)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"expected a table [{where}] in the recipe, got {value!r}. Write it as a TOML table.")
        return dict(value)
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(
                f"expected {where} to be one of {', '.join(get_args(hint))}, got {value!r}. Change the recipe."
            )
        return value
    if origin is tuple:
        inner, length = get_args(hint)[0], None if get_args(hint)[-1] is Ellipsis else len(get_args(hint))
        if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
            raise InputError(
                f"expected {where} to be a list of {length or 'some'} values, got {value!r}. Change the recipe."
            )
        return tuple(_convert(v, inner, where) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"expected {where} to be {hint.__name__}, got {value!r}. Change the recipe.")
    return value


def build_from(cls: Any, values: dict[str, Any], where: str) -> Any:
    """A dataclass from plain values, tables within it too; raises :class:`InputError` for what it has not, or is no such type.

    ``where`` is what the values are called in the message.
    """
    hints = get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise InputError(
            f"unknown key {', '.join(unknown)} in {where}; known are {', '.join(hints)}. Correct the recipe."
        )
    return cls(**{key: _convert(value, hints[key], f"{where}.{key}") for key, value in values.items()})


AnyRecipe: TypeAlias = "Recipe | VolumeRecipe | HeatmapRecipe | HeatmapVolumeRecipe"


def _recipe_class(values: dict[str, Any]) -> Any:
    """The class of the recipe's family."""
    from training.heatmap_recipe import HeatmapRecipe
    from training.heatmap_volume_recipe import HeatmapVolumeRecipe
    from training.volume_recipe import VolumeRecipe

    families = {
        "dense_shape": Recipe,
        "multi_scale": VolumeRecipe,
        "heatmap": HeatmapRecipe,
        "heatmap_volume": HeatmapVolumeRecipe,
    }
    family = values.get("family", "dense_shape")
    if family not in families:
        raise InputError(f"expected family to be one of {', '.join(families)}, got {family!r}. Change the recipe.")
    return families[family]


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a TOML recipe; raises :class:`InputError` for a missing file, or one that is none."""
    if not path.is_file():
        raise InputError(
            f"expected a recipe (a TOML file), {path} is not there. See training/recipes for those that exist."
        )
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected a recipe in TOML, {path} is not: {error}. Correct the file.") from error


def read_recipe(path: Path) -> AnyRecipe:
    """Read a TOML recipe; raises :class:`InputError` for a missing file, an unknown key or a value of another type."""
    values = read_values(path)
    recipe: AnyRecipe = build_from(_recipe_class(values), {"name": path.stem, **values}, "recipe")
    return recipe


def recipe_to_dict(recipe: AnyRecipe) -> dict[str, Any]:
    """The recipe as plain values, for JSON."""
    return dataclasses.asdict(recipe)


def recipe_from_dict(values: dict[str, Any]) -> AnyRecipe:
    """The recipe of :func:`recipe_to_dict`, also after a journey through JSON."""
    recipe: AnyRecipe = build_from(_recipe_class(values), values, "recipe")
    return recipe
