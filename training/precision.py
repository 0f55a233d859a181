"""In which precision a run computes."""

from __future__ import annotations

from DenseLandmarksLib.models.predictors.on_device import has_bfloat16
from training.run_recipe import OptimiserRecipe


def computes_mixed(optimiser: OptimiserRecipe, device: str) -> bool:
    """Whether a run on ``device`` convolves in bfloat16: where its recipe says so, unless the CPU would be slower for it."""
    return optimiser.precision == "bfloat16" and (device != "cpu" or has_bfloat16())
