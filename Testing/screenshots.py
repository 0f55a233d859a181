"""``python -m Testing.screenshots``: the pictures of the README, from phantoms and the shipped model."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from DenseLandmarksLib.annotation.exports.overlay import draw_overlay
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.alterations import seen_through
from training.demo import PHANTOM_SIZE, on_phantom
from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image

FOLDER = Path(__file__).parents[1] / "Resources" / "Screenshots"
WIDTH = 1600


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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        picture_of_the_demo(Path(temporary))
        picture_of_a_film_that_lies_on_its_side(Path(temporary))
