"""What a person sees of a case in a slice view of Slicer's: a phantom in the main states of the work on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.open_cases import point_lps_mm, world_ras_mm
from Testing.scene.saved_scene import read_scene, save_scene
from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image

Pixels = NDArray[np.uint8]
SIDE = 640


@dataclass
class Work:
    """A phantom of which the shipped model has said what it sees, as a case in a scene with a view."""

    screen: OffscreenSlice
    desk: Desk
    case: CaseInScene
    lines: list[str] = field(default_factory=list)


def begin(folder: Path) -> Work:
    """Open the phantom as a case, and bring the model's prediction in."""
    bundle = load_bundle(find_bundle("chest-xray"))
    film = phantom_image(draw_phantom(bundle.template, DEMO_SEEDS[4], (1024, 1024)))
    sitk.WriteImage(film.volume, folder / "phantom.nrrd")
    library = Library.create(folder / "library", "phantoms")
    lines: list[str] = []
    screen = OffscreenSlice((SIDE, SIDE))
    desk = Desk(screen.scene, "reader-1", lines.append, folder / "user")
    case = desk.open(library.add(folder / "phantom.nrrd"))
    image, _ = case.session.case.read_image()
    answer = ModelAnswer(open_bundle(bundle, "cpu").predict(image), bundle.template, bundle.styles)
    case.session.take(answer, image.geometry)
    case.save()
    screen.look_at(case.image.volume)
    return Work(screen, desk, case, lines)


def states(work: Work, folder: Path) -> Iterator[tuple[str, Pixels]]:
    """The main states, a caption and the view (height, width, 3) each, reached as a person reaches them."""
    screen, case = work.screen, work.case
    older = save_scene(screen.scene, folder / "older.mrb")
    yield "predicted: structures, landmarks, 90 % ellipses", screen.pixels()

    name = _lowest_of(case, "heart")
    point = world_ras_mm(case, name)
    middle = point + [0, 25, 0]
    screen.zoom(2.6, middle)
    x, y = screen.display_xy(point)
    screen.move(x, y)
    yield "the mouse over a landmark shows its name", screen.pixels()
    screen.press(x, y)
    for step in range(1, 6):
        screen.move(x - 8 * step, y - 10 * step)
        case.poll()
    yield "while it is dragged, neighbours come along", screen.pixels()
    screen.release(x - 40, y - 50)
    case.poll()
    screen.move(5, 5)
    yield "dropped: the mask follows, a ghost marks the prediction", screen.pixels()

    screen.look_at(case.image.volume)
    case.place("hilum")
    names, rows = case.session.state.landmarks.names, case.session.state.landmarks.of_structure("left_lung")
    x, y = screen.display_xy(np.mean([world_ras_mm(case, names[row]) for row in rows], axis=0))
    screen.press(x - 50, y)
    screen.release(x - 50, y)
    case.poll()
    screen.zoom(1.8, world_ras_mm(case, "hilum"))
    screen.move(*screen.display_xy(world_ras_mm(case, "hilum")))
    yield "a new landmark by one click, found in all other cases", screen.pixels()

    case.save()
    case.session.close()
    screen.close()
    screen = work.screen = OffscreenSlice((SIDE, SIDE))
    work.desk = Desk(screen.scene, "reader-1", work.lines.append, folder / "user")
    read_scene(older, screen.scene)
    (work.case,) = work.desk.reopen()
    screen.look_at(work.case.image.volume)
    screen.zoom(2.6, middle)
    yield "a scene older than its library: both, the scene's faint", screen.pixels()


def _lowest_of(case: CaseInScene, structure: str) -> str:
    names = [case.session.state.landmarks.names[row] for row in case.session.state.landmarks.of_structure(structure)]
    lowest: str = max(names, key=lambda name: float(point_lps_mm(case, name)[1]))
    return lowest


def in_one_picture(tiles: list[tuple[str, Pixels]], columns: int = 3) -> Image.Image:
    """All states side by side with their captions."""
    bar = 34
    rows = -(-len(tiles) // columns)
    whole = Image.new("RGB", (columns * SIDE + (columns - 1) * 4, rows * (SIDE + bar)), "#101418")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(22)
    for n, (caption, pixels) in enumerate(tiles):
        x, y = n % columns * (SIDE + 4), n // columns * (SIDE + bar)
        draw.text((x + 8, y + 4), caption, "#e8eef4", font)
        whole.paste(Image.fromarray(pixels), (x, y + bar))
    return whole
