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
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
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


def test_a_radiograph_is_shown_in_the_window_that_its_file_asks_for(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    # Pixels rise from 0 to 3570 toward the right: black up to 1200 is a third of the width, white from 2400 the last.
    draw_overlay(tmp_path / "a.png", replace(radiograph, window=(1200.0, 2400.0)), prediction, styles)
    draw_overlay(tmp_path / "b.png", radiograph, prediction, styles)
    row = slice(40, 140)  # above all structures and landmarks
    windowed, plain = (_drawn(tmp_path / name)[row].mean(axis=(0, 2)) for name in ("a.png", "b.png"))
    assert windowed[200:260].max() == 0
    assert windowed[580:800].min() == 255
    assert plain[200:260].min() > 40
    assert plain[580:620].max() < 220


def test_a_doubtful_prediction_says_so_above_the_picture_and_hides_nothing(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    draw_overlay(tmp_path / "a.png", radiograph, prediction, styles)
    doubts = (
        "the image looks mirrored",
        "masks and landmarks contradict each other: 30.0% of their area, not 5.0% " * 3,
    )
    doubtful = replace(prediction, plausibility=Plausibility(doubts))
    draw_overlay(tmp_path / "b.png", radiograph, doubtful, styles)
    plain, warned = _drawn(tmp_path / "a.png"), _drawn(tmp_path / "b.png")
    banner = len(warned) - len(plain)
    amber = (1.0, 0.706, 0.329)
    assert 4 * 16 < banner < 9 * 30  # a heading, one doubt, and one that needs several lines
    assert _near(warned[:banner], amber).sum() > 300
    assert not _near(plain, amber, 3).any()
    lung = np.argwhere(_near(plain[:1100], styles[0].colour))
    below = np.argwhere(_near(warned[banner : banner + 1100], styles[0].colour))
    assert np.abs(lung.min(axis=0) - below.min(axis=0)).max() <= 2  # at the same place, beneath the banner
    assert 0.3 * len(lung) < len(below) < 0.95 * len(lung)  # dashed


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
