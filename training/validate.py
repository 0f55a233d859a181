"""A quick look at held-out cases while training: Dice and landmark error on the grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from DenseLandmarksLib.landmarks.locate import locate_landmarks
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.predictors.decode import decode_output
from training.dense_shape_recipe import TargetRecipe
from training.grid_cases import GridCases
from training.metrics import dice_percent
from training.targets import landmark_rows, make_targets


def validate(
    network: nn.Module, template: Template, cases: GridCases, recipe: TargetRecipe, device: str
) -> dict[str, float]:
    """Means over structures of Dice (%), landmark error (mm) and the share of missed landmarks.

    What nobody annotated does not count. The final figures come from ``evaluate``; these choose between recipes.
    """
    network.eval()
    names = template.structure_names
    truth = make_targets(cases, template, recipe)
    rows = np.concatenate([landmark_rows(cases, name, recipe)[1] for name in names])
    owner = np.repeat(np.arange(len(names)), [len(s.landmark_names) for s in template.structures])
    dice, errors, missed = [], [], []
    for i in range(len(cases)):
        with torch.inference_mode():
            output = network(torch.from_numpy(cases.images[i : i + 1]).float()[:, None].to(device))
        masks, field = decode_output(output, names, read_out=recipe.read_out)
        located = locate_landmarks(field, template, recipe.grid)
        error = np.linalg.norm(located.points - cases.points[i, rows], axis=1) * cases.mm_per_pixel[i]
        known = np.isfinite(error)
        dice += [dice_percent(masks[s], truth.masks[i, s]) for s in range(len(names)) if truth.annotated[i, s]]
        errors += [error[known & (owner == s)].mean() for s in range(len(names)) if (known & (owner == s)).any()]
        missed.append(1 - located.found[known].mean())
    return {"dsc": float(np.mean(dice)), "tre_mm": float(np.mean(errors)), "missed_share": float(np.mean(missed))}
