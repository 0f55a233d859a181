"""Small radiographs of blobs, one per landmark and each of its own brightness, as a data folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

LANDMARKS = ("left_ear", "right_ear", "nose", "chin")
# Brightness and width tell them apart: a network must not have to learn where they are.
BRIGHTNESS = (60, 120, 180, 240)
MEAN_PX = np.array([[34.0, 14.0], [10.0, 16.0], [22.0, 30.0], [24.0, 46.0]])
SIZE = (64, 48)  # height, width
SPACING_MM = 2.0


def blob_image(points_px: np.ndarray, seed: int) -> np.ndarray:
    """A picture (H, W), uint8, that is bright about the points (4, 2)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    picture = np.random.default_rng(seed).normal(12, 3, SIZE)
    for (at_x, at_y), bright in zip(points_px, BRIGHTNESS, strict=True):
        if np.isfinite(at_x):
            picture += bright * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 8)
    return picture.clip(0, 255).astype(np.uint8)


def write_blob_radiographs(folder: Path, train: int = 8, test: int = 2) -> Path:
    """So many cases, one without its chin's row; returns the folder."""
    (folder / "images").mkdir(parents=True)
    cases, rows = [], []
    rng = np.random.default_rng(5)
    for i in range(train + test):
        name, image = f"case{(7 * i) % (train + test):02d}", f"images/case{(7 * i) % (train + test):02d}.png"
        points = MEAN_PX + rng.uniform(-4, 4, 2) + rng.uniform(-2, 2, (4, 2))
        Image.fromarray(blob_image(points, i)).save(folder / image)
        spacing = [SPACING_MM, SPACING_MM]
        split = "train" if i < train else "test"
        cases.append({"case": name, "image": image, "split": split, "spacing_mm": spacing, "size_px": [*SIZE[::-1]]})
        for landmark, (x, y) in zip(LANDMARKS, points.tolist(), strict=True):
            if i != 3 or landmark != "chin":
                rows.append((name, landmark, "head", x, y))
    (folder / "dataset.json").write_text(json.dumps({"name": "blobs", "spacing_source": "given", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "structure", "x_px", "y_px"), *rows])
    return folder
