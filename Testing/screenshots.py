"""``python -m Testing.screenshots``: the pictures of the README, from phantoms and the shipped model."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.exports.overlay import draw_overlay
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from Testing.annotation.retraining.phantom_library import phantom_library
from Testing.panel.pictures import draw as draw_panel
from Testing.panel.retrain_picture import draw as draw_retraining
from Testing.scene.pictures import begin, in_one_picture, states
from Testing.web.pictures import draw as draw_page
from Testing.web.retrain_picture import draw as draw_retraining_in_page
from Testing.web.volume_picture import draw as draw_volume
from training.alterations import seen_through
from training.demo import PHANTOM_SIZE, on_phantom
from training.phantoms import DEMO_SEEDS, draw_phantom, landmarks_of, phantom_image

FOLDER = Path(__file__).parents[1] / "Resources" / "Screenshots"
WIDTH = 1600
# Of the panel's states.
IN_README = ("1-image", "5-corrected", "6-new-landmark", "8-why-here", "9-doubted")
CORRECTED_SEED, CORRECTED_STRUCTURE = DEMO_SEEDS[4], "heart"


def picture_of_the_demo(folder: Path) -> None:
    """What ``make demo`` draws."""
    on_phantom("chest-xray", folder, "cpu", DEMO_SEEDS[0])
    (overlay,) = folder.glob("*.overlay.png")
    shutil.copyfile(overlay, FOLDER / "demo.png")


def picture_of_a_film_that_lies_on_its_side(folder: Path) -> None:
    """A mirrored film on its side: to the left as the model sees it unasked, to the right as it then advises."""
    bundle = load_bundle(find_bundle("chest-xray"))
    predictor = open_bundle(bundle, "cpu")
    upright = phantom_image(draw_phantom(bundle.template, DEMO_SEEDS[2], PHANTOM_SIZE))
    stored, _ = seen_through(View(90, flip=True))(upright, np.zeros((0, 2)), np.random.default_rng(0))
    film = replace(stored, name="film")
    unasked = predictor.predict(film)
    advised = predictor.predict(film, unasked.plausibility.suggested_view)
    halves = []
    for name, prediction in (("unasked", unasked), ("advised", advised)):
        draw_overlay(folder / f"{name}.png", film, prediction, bundle.styles)
        halves.append(Image.open(folder / f"{name}.png").convert("RGB"))
    whole = Image.new("RGB", (sum(half.width for half in halves), max(half.height for half in halves)), "#101418")
    whole.paste(halves[0], (0, 0))
    whole.paste(halves[1], (halves[0].width, whole.height - halves[1].height))
    whole.resize((WIDTH, round(whole.height * WIDTH / whole.width)), Image.Resampling.LANCZOS).save(
        FOLDER / "sideways.png", optimize=True
    )


def picture_of_a_correction(folder: Path) -> None:
    """One landmark of a session is dragged to the truth: what comes along, and what that does to mask and error."""
    bundle = load_bundle(find_bundle("chest-xray"))
    phantom = draw_phantom(bundle.template, CORRECTED_SEED, PHANTOM_SIZE)
    image = phantom_image(phantom)
    sitk.WriteImage(image.volume, folder / "film.nrrd")
    case = Library.create(folder / "library", "phantoms").add(folder / "film.nrrd")
    session = Session(case, "annotator", data_folder=folder / "user")
    predictor = open_bundle(bundle, "cpu")
    session.take(ModelAnswer(predictor.predict(image), bundle.template, bundle.styles), image.geometry)
    before = session.state
    rows = before.landmarks.of_structure(CORRECTED_STRUCTURE)
    truth_px = landmarks_of(bundle.template, phantom.contours)[rows]
    worst = int(np.linalg.norm(before.index_ijk[rows, :2] - truth_px, axis=1).argmax())
    truth_lps_mm = lps_mm_from_pixels(before.geometry, truth_px)
    session.move({before.landmarks.names[rows[worst]]: truth_lps_mm[worst]})

    figure = Figure(figsize=(12, 6.3), dpi=WIDTH / 12, facecolor="#101418", layout="constrained")
    FigureCanvasAgg(figure)
    low, high = truth_px.min(axis=0) - 30, truth_px.max(axis=0) + 30
    for axes, state, title in zip(
        figure.subplots(1, 2), (before, session.state), ("predicted", "one landmark dragged (star)"), strict=True
    ):
        points = state.index_ijk[rows, :2]
        error_mm = np.linalg.norm(points - truth_px, axis=1) * phantom.spacing_mm
        axes.imshow(image.pixels_yx, cmap="gray")
        axes.contour(structure_mask(state, CORRECTED_STRUCTURE)[0], [0.5], colors="#35c6ff", linewidths=1.6)
        axes.plot(*np.vstack([truth_px, truth_px[:1]]).T, color="#ffd166", linewidth=1.2, linestyle=(0, (4, 3)))
        was = before.index_ijk[rows, :2]
        axes.quiver(
            *was.T, *(points - was).T, angles="xy", scale_units="xy", scale=1, color="#ff5d8f", width=0.005, zorder=3
        )
        axes.plot(*points.T, "o", color="#35c6ff", markersize=4.5, markeredgecolor="black")
        if state is not before:
            axes.plot(*points[worst], "*", color="#ff5d8f", markersize=17, markeredgecolor="black")
        axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
        axes.set_title(f"{title}: mean error {error_mm.mean():.1f} mm", color="white", fontsize=13)
        axes.axis("off")
    figure.savefig(FOLDER / "correction.png")


def picture_of_the_scene(folder: Path) -> None:
    """A case in a slice view of Slicer's, in the main states of the work on it."""
    whole = in_one_picture(list(states(begin(folder), folder)))
    whole.resize((WIDTH, round(whole.height * WIDTH / whole.width)), Image.Resampling.LANCZOS).save(
        FOLDER / "scene.png", optimize=True
    )


def pictures_of_the_panel(folder: Path) -> None:
    """The panel beside the red view, on the stand-in for 3D Slicer's window."""
    os.environ["XDG_DATA_HOME"] = str(folder / "data")  # the person's own cases are none of a picture's business

    def keep(name: str, picture: Image.Image) -> None:
        if name in IN_README:
            picture.save(FOLDER / f"panel-{name.split('-', 1)[1]}.png", optimize=True)

    draw_panel(folder, keep)


def pictures_of_retraining(folder: Path) -> None:
    """The section Retrain in panel and page, after a few steps of the real training on phantoms."""
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    library = phantom_library(folder)
    (folder / "panel").mkdir()

    def keep(name: str, picture: Image.Image) -> None:
        picture.save(FOLDER / f"panel-{name}.png", optimize=True)

    draw_retraining(folder / "panel", library, keep)
    draw_retraining_in_page(folder, library, FOLDER / "browser-retrain.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        picture_of_the_demo(Path(temporary))
        picture_of_a_film_that_lies_on_its_side(Path(temporary))
        picture_of_a_correction(Path(temporary))
    with tempfile.TemporaryDirectory() as temporary:
        picture_of_the_scene(Path(temporary))
    with tempfile.TemporaryDirectory() as temporary:
        pictures_of_the_panel(Path(temporary))
    with tempfile.TemporaryDirectory() as temporary:
        draw_page(Path(temporary), FOLDER / "browser.png")
    with tempfile.TemporaryDirectory() as temporary:
        draw_volume(Path(temporary), FOLDER / "volume.png")
    with tempfile.TemporaryDirectory() as temporary:
        pictures_of_retraining(Path(temporary))
