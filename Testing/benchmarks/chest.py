"""A chest to measure on: a template of five ellipses with as many landmarks as JSRT has, and phantoms of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.template import Template, build_template
from training.phantoms import DEMO_SEEDS, Phantom, draw_phantom

GRID_SIZE = (256, 256)
# Centre and half axes in mm, turn in degrees, and how many of JSRT's 166 landmarks lie on the structure.
ELLIPSES = {
    "right_lung": ((104, 165), (52, 120), 0, 44),
    "left_lung": ((256, 165), (52, 120), 0, 50),
    "heart": ((205, 218), (68, 48), 30, 26),
    "right_clavicle": ((118, 55), (42, 8), 15, 23),
    "left_clavicle": ((240, 55), (42, 8), -15, 23),
}


def chest_template() -> Template:
    """Five structures and 166 landmarks in a field of view of 358.4 mm; speed asks for sizes, not for anatomy."""
    contours: dict[str, NDArray[np.float64]] = {}
    for name, (centre, half_axes, turn, count) in ELLIPSES.items():
        angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        ellipse = np.stack([np.cos(angle), np.sin(angle)], axis=1) * half_axes
        contours[name] = ellipse @ np.array([[cosine, sine], [-sine, cosine]]) + centre
    return build_template(
        {name: contour[None] for name, contour in contours.items()},
        {name: [f"{name}_{i + 1:02d}" for i in range(len(contour))] for name, contour in contours.items()},
        (358.4, 358.4),
    )


def chest_phantom(template: Template, size: tuple[int, int] = GRID_SIZE) -> Phantom:
    """The same patient at every size."""
    return draw_phantom(template, DEMO_SEEDS[0], size)
