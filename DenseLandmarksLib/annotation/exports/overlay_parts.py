"""What the overlays of radiographs and of volumes have in common: colours, marks, what is said around the picture."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import Any

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Plausibility, Prediction

Colour = tuple[float, float, float]

DPI = 100
BACKGROUND = "#101418"
INK = "#e8eaed"
WARNING = "#ffb454"
WARNING_CHARACTER_WIDTH, WARNING_LINE_HEIGHT = 9.5, 21
# 90 % of a Gaussian in the plane lies within this many standard deviations: sqrt of the chi-square quantile, 2 degrees.
ELLIPSE_90 = math.sqrt(-2 * math.log(1 - 0.9))


def dot(colour: Colour, present: bool) -> dict[str, Any]:
    """How a landmark is drawn: full where present, hollow where absent, its best guess."""
    if present:
        return {"marker": "o", "ms": 4.8, "mfc": colour, "mec": "black", "mew": 0.5, "ls": "none"}
    return {"marker": "o", "ms": 6.5, "mfc": "none", "mec": colour, "mew": 1.6, "ls": "none"}


def warning_lines(plausibility: Plausibility, columns: int) -> list[str]:
    """Lines of at most ``columns`` characters that say why a prediction is doubtful; none for a plausible one."""
    doubts = [line for doubt in plausibility.doubts for line in wrap(doubt, columns, subsequent_indent="  ")]
    return ["DOUBTFUL", *doubts] if doubts else []


def caption(image: MedicalImage, prediction: Prediction) -> str:
    """Two lines on the image, the model and the unit."""
    name = image.name if len(image.name) <= 60 else f"{image.name[:28]} ... {image.name[-28:]}"
    lengths = "pixels (spacing unknown)" if image.unit == "px" else f"mm (spacing: {image.spacing_source})"
    model = f"{prediction.model_name} {prediction.model_version}"
    return f"{name}\n{model}   |   lengths in {lengths}   |   research use only"
