"""The ladder of Ma, Gupta and Sabuncu 2020, table 1: six ways to find a landmark of a volume, on equal terms.

A TOML file of ``training/recipes/ladder`` says all that the rows share on one data set, each file of its folder ``rows`` what
one row does otherwise. Volumes, augmentation, layers, optimiser and number of steps are thus the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from training.altered_volumes import AlteredVolumesTask
from training.baselines.heatmap_unet import HeatmapTask
from training.baselines.kept_run import Kept, Run
from training.baselines.patch_network import PatchTask
from training.baselines.whole_volume import DIVISOR
from training.recipe import recipe_from_dict, recipe_to_dict
from training.recipe_values import build_from, read_values
from training.stored_pyramid import StoredPyramid
from training.volume_cases import VolumeCases, plan_groups
from training.volume_recipe import VolumeRecipe
from training.volume_task import VolumeTask

ROWS_FOLDER = Path(__file__).parents[1] / "recipes" / "ladder" / "rows"


@dataclass(frozen=True)
class Ladder:
    """What all rows share on one data set.

    Attributes
    ----------
    recipe : of the last row, and of the others but for what they change. Its epochs and learning rate are not used.
    single_scale_mm : spacing of what the rows of one scale see; a volume at this spacing is what they can afford.
    steps : of each run that counts.
    search_steps, learning_rates : each row is trained so long with each of these, with the first fold of ``search_folds``
        of its training cases held out; the one with the smallest error there is its own.
    seeds : each row is trained once with each.
    folds : cases are those of ``train``, each located by a model that did not see it, in so many folds; with 0 models learn
        from all of ``train``, and cases are those of ``test``.
    far_mm : an error beyond it counts as lost.
    """

    recipe: VolumeRecipe
    single_scale_mm: float
    steps: int
    search_steps: int
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    search_folds: int = 5
    seeds: tuple[int, ...] = (1, 2, 3)
    folds: int = 0
    far_mm: float = 10.0

    @property
    def spacings_mm(self) -> tuple[float, ...]:
        """Of all that any row sees, the coarsest first."""
        return tuple(sorted({*self.recipe.levels.spacings_mm, self.single_scale_mm}, reverse=True))


@dataclass(frozen=True)
class Row:
    """One row: which method, at one scale or at all of the recipe's, and what it changes in the recipe.

    ``paper_mm`` is what the paper has for it, mean and SD; NaN for a row that it has not.
    """

    title: str
    method: Literal["heatmap", "patches", "loc_net"]
    single_scale: bool = False
    paper_mm: tuple[float, float] = (float("nan"), float("nan"))
    recipe: dict = field(default_factory=dict)


TASKS: dict[str, type[AlteredVolumesTask]] = {"heatmap": HeatmapTask, "patches": PatchTask, "loc_net": VolumeTask}


def read_ladder(path: Path) -> Ladder:
    """Read a TOML file of a ladder; raises :class:`InputError` as :func:`training.recipe.read_recipe`."""
    values = read_values(path)
    ladder: Ladder = build_from(Ladder, values, "ladder")
    return ladder


def read_rows(folder: Path = ROWS_FOLDER) -> dict[str, Row]:
    """All rows by the names of their files, in the order of these names."""
    return {path.stem: build_from(Row, read_values(path), path.stem) for path in sorted(folder.glob("*.toml"))}


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values in which others take their place, within tables too."""
    return {
        **values,
        **{key: changed(values[key], new) if isinstance(new, dict) else new for key, new in changes.items()},
    }


def recipe_of(
    ladder: Ladder, row: Row, cases: VolumeCases, learning_rate: float, seed: int, steps: int
) -> VolumeRecipe:
    """What one run of a row does on ``cases``: levels, and crops that landmarks share, are planned from these alone."""
    shared = ladder.recipe
    epochs = whole_passes(steps, len(cases), shared.optimiser.batch)
    recipe = recipe_from_dict(changed(recipe_to_dict(shared), row.recipe))
    assert isinstance(recipe, VolumeRecipe)
    levels = recipe.levels
    if row.single_scale:
        finest = cases_at(cases, (ladder.single_scale_mm,))
        longest = max(max(pyramid.grids[0].size) for pyramid in finest.pyramids)
        levels = replace(
            levels, spacings_mm=(ladder.single_scale_mm,), crop_size=max(-(-longest // DIVISOR), 2) * DIVISOR
        )
    extent_mm = levels.shared_extent * levels.crop_size * levels.spacings_mm[-1]
    levels = replace(levels, groups=plan_groups(cases.points_lps_mm, extent_mm, levels.sharing))
    optimiser = replace(recipe.optimiser, learning_rate=learning_rate, epochs=epochs)
    return replace(recipe, seed=seed, levels=levels, optimiser=optimiser)


def whole_passes(steps: int, cases: int, batch: int) -> int:
    """How many passes over so many cases come nearest to ``steps``."""
    return max(round(steps / max(cases // batch, 1)), 1)


def task_of(row: Row, recipe: VolumeRecipe, cases: VolumeCases, held: VolumeCases, device: str) -> AlteredVolumesTask:
    """What the trainer trains for one run of a row, on ``cases`` that hold at least its levels."""
    spacings = recipe.levels.spacings_mm
    return TASKS[row.method](recipe, cases_at(cases, spacings), cases_at(held, spacings), device)


def run_of(kept: Kept, name: str, row: Row, recipe: VolumeRecipe, cases: VolumeCases, held: VolumeCases) -> Run:
    """One training of a row on ``cases``, measured on those that are ``held`` out."""
    return Run(kept, name, recipe, lambda device: task_of(row, recipe, cases, held, device), errors_in_held)


def errors_in_held(task: AlteredVolumesTask, network: nn.Module) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The cases that a task holds out and the errors there (M, L) in mm, NaN where a landmark is not annotated."""
    held = task.held
    assert held is not None
    found = np.stack([task.locate(network, pyramid) for pyramid in held.pyramids])
    errors = np.nan_to_num(np.linalg.norm(found - held.points_lps_mm, axis=2), nan=np.inf)
    return held.names, np.where(np.isfinite(held.points_lps_mm).all(axis=2), errors, np.nan)


def cases_at(cases: VolumeCases, spacings_mm: tuple[float, ...]) -> VolumeCases:
    """The cases with some of their levels only."""
    rows = [cases.spacings_mm.index(spacing) for spacing in spacings_mm]
    pyramids = tuple(StoredPyramid([p.grids[k] for k in rows], [p.levels[k] for k in rows]) for p in cases.pyramids)
    return replace(cases, pyramids=pyramids)
