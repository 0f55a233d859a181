"""``python -m Testing.extension.draw_icon``: the icon of the extension, a chest in outline with its landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ICON = Path(__file__).parents[2] / "Resources" / "Icons" / "DenseLandmarks.png"
SIDE_PX = 128
# Drawn larger and made small, for smooth edges.
ZOOM = 8

Points = NDArray[np.float64]

BACKGROUND, LUNG_COLOR, HEART_COLOR, CLAVICLE_COLOR, LANDMARK_COLOR = (
    "#101c2c",
    "#35c6ff",
    "#ff5d8f",
    "#9fb3c8",
    "#ffd166",
)
# Positions in the icon, x to the right and y downwards, in pixels of the finished icon.
RIGHT_LUNG = ((44, 20), (57, 33), (57, 62), (54, 92), (40, 104), (13, 114), (14, 82), (21, 48), (31, 26))
LEFT_LUNG = ((84, 20), (71, 33), (71, 52), (82, 68), (97, 84), (97, 108), (115, 114), (114, 82), (107, 48), (97, 26))
HEART = ((66, 56), (82, 60), (95, 78), (99, 102), (78, 110), (54, 106), (50, 92), (56, 68))
RIGHT_CLAVICLE = ((16, 25), (30, 14), (46, 14), (58, 18), (58, 22), (46, 21), (32, 21), (18, 30))
LANDMARKS = ((44, 20), (58, 58), (40, 104), (15, 114), (17, 68), (84, 20), (115, 114), (111, 68), (82, 62), (88, 108))


def smooth(corners: tuple[tuple[float, float], ...], rounds: int = 4) -> Points:
    """A closed curve (N, 2) with the corners cut (Chaikin's algorithm)."""
    points = np.array(corners, np.float64)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def draw_icon() -> Image.Image:
    """The icon, 128 x 128 pixels with a transparent outside."""
    image = Image.new("RGBA", (SIDE_PX * ZOOM, SIDE_PX * ZOOM), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, SIDE_PX * ZOOM - 1, SIDE_PX * ZOOM - 1), radius=22 * ZOOM, fill=BACKGROUND)
    lungs_and_heart = [smooth(corners) for corners in (RIGHT_LUNG, LEFT_LUNG, HEART)]
    clavicle = smooth(RIGHT_CLAVICLE)
    for curve in (clavicle, np.array([SIDE_PX, 0.0]) + clavicle * np.array([-1.0, 1.0])):
        fill_and_outline(image, curve, CLAVICLE_COLOR, width=1.6)
    for curve, color in zip(lungs_and_heart, (LUNG_COLOR, LUNG_COLOR, HEART_COLOR), strict=True):
        fill_and_outline(image, curve, color, width=3.4)
    for landmark in LANDMARKS:
        dot(draw, nearest(landmark, *lungs_and_heart))
    return image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def fill_and_outline(image: Image.Image, curve: Points, color: str, width: float) -> None:
    """A structure: faintly filled, strongly outlined."""
    corners = [(float(x), float(y)) for x, y in curve * ZOOM]
    veil = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(veil)
    draw.polygon(corners, fill=f"{color}48")
    draw.line([*corners, *corners[:2]], fill=color, width=round(width * ZOOM), joint="curve")
    image.alpha_composite(veil)


def nearest(position: tuple[float, float], *curves: Points) -> Points:
    """The point (2,) of some curves that is nearest to a position: a landmark lies on an outline."""
    points = np.vstack(curves)
    return np.asarray(points[np.linalg.norm(points - np.array(position), axis=1).argmin()])


def dot(draw: ImageDraw.ImageDraw, centre: Points, radius: float = 5.2) -> None:
    """A landmark with a dark rim."""
    for size, color in ((radius + 1.6, BACKGROUND), (radius, LANDMARK_COLOR)):
        low, high = (centre - size) * ZOOM, (centre + size) * ZOOM
        draw.ellipse((*low, *high), fill=color)


if __name__ == "__main__":
    ICON.parent.mkdir(parents=True, exist_ok=True)
    draw_icon().save(ICON, optimize=True)
