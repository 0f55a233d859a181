"""What a run learned from, of all that people decided in its library."""

from __future__ import annotations

from dataclasses import replace

from DenseLandmarksLib.annotation.library.decisions import Decision, Decisions
from training.finetuning.recipe import recipe_of
from training.finetuning.request import BegunRun
from training.finetuning.task import FinetuneTask
from training.heatmap_recipe import HeatmapRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe


def learned_decisions(run: BegunRun, task: FinetuneTask) -> tuple[Decisions, ...]:
    """The cases that were not left out, each with the landmarks that the model has and of which it was taught anything."""
    names, recipe, weight = frozenset(task.cases.landmark_names), recipe_of(run.parent), run.request.options.weight
    teaches_absence = not isinstance(recipe, HeatmapRecipe | HeatmapVolumeRecipe) or recipe.loss.teaches_absence

    def teaches(row: Decision) -> bool:
        is_taught = teaches_absence or row.index_ijk is not None
        return row.name in names and weight(row.review) > 0 and is_taught

    return tuple(
        replace(case, landmarks=tuple(filter(teaches, case.landmarks)))
        for case in run.training
        if case.case_id in task.run.case_ids
    )
