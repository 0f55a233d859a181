"""The picture that people judge a prediction by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib.annotation.exports.overlay import draw_overlay
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle


def _drawn(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _near(picture: NDArray[np.uint8], colour: tuple[float, float, float], tolerance: int = 12) -> NDArray[np.bool_]:
    return (np.abs(picture.astype(int) - np.rint(np.multiply(colour, 255))) <= tolerance).all(axis=2)


def test_structures_and_landmarks_are_drawn_where_they_are(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    draw_overlay(tmp_path / "a.png", radiograph, prediction, styles, extra=["border"])
    picture = _drawn(tmp_path / "a.png")
    # 60 x 80 mm: the long side has 1100 pixels, the radiograph starts in the left upper corner in true proportions.
    assert picture.shape[1] == 825
    per_mm = 1100 / 80
    star = np.argwhere(_near(picture[: int(80 * per_mm)], (1.0, 0.9, 0.2), 3))
    x, y = (70.5 + 0.5) * 0.5 * per_mm, (60.25 + 0.5) * 0.8 * per_mm
    assert np.abs(star - [y, x]).max(axis=1).min() < 3
    top = prediction.grid.to_pixels([[25.0, 10 - 0.5]])[0]
    lung = np.argwhere(_near(picture, styles[0].colour))
    assert np.abs(lung - [(top[1] + 0.5) * 0.8 * per_mm, (top[0] + 0.5) * 0.5 * per_mm]).max(axis=1).min() < 6


def test_an_image_where_nothing_was_found_is_still_drawn(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    draw_overlay(tmp_path / "a.png", radiograph, replace(prediction, masks=prediction.masks & False), styles)
    assert not _near(_drawn(tmp_path / "a.png")[:1000], styles[0].colour, 2)[:, 300:].any()


def test_drawing_leaves_pyplot_and_older_figures_alone(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    from matplotlib import _pylab_helpers

    before = _pylab_helpers.Gcf.get_all_fig_managers()
    draw_overlay(tmp_path / "a.png", radiograph, prediction, styles)
    assert _pylab_helpers.Gcf.get_all_fig_managers() == before


def test_an_unknown_landmark_to_highlight_is_an_error_and_leaves_no_picture(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        draw_overlay(tmp_path / "a.png", radiograph, prediction, styles, extra=["nowhere"])
    assert not list(tmp_path.iterdir())
