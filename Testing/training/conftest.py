"""A small data folder as a person would have it: images, ``dataset.json`` and ``landmarks.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from DenseLandmarksLib.landmarks.template import Template
from Testing.training.finetuning.corrected_cases import Annotator
from training.phantoms import DEMO_SEEDS, draw_phantom

TRAIN, TEST = 8, 2


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory, chest_template: Template) -> Path:
    """Eight training and two test radiographs of 96 x 96 pixels; one training case lacks its heart's landmarks."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    (folder / "images").mkdir(parents=True)
    cases, rows = [], []
    structures = [s.name for s in chest_template.structures for _ in s.landmark_names]
    for i, seed in enumerate(DEMO_SEEDS[: TRAIN + TEST]):
        phantom = draw_phantom(chest_template, seed, (96, 96))
        # Names out of order: a fold must not depend on the order of the file.
        name, image = f"case{(7 * i) % 10:02d}", f"images/case{(7 * i) % 10:02d}.png"
        Image.fromarray(np.round(phantom.pixels * 255).astype(np.uint8)).save(folder / image)
        spacing = [phantom.spacing_mm, phantom.spacing_mm]
        split = "train" if i < TRAIN else "test"
        cases.append({"case": name, "image": image, "split": split, "spacing_mm": spacing, "size_px": [96, 96]})
        for landmark, structure, (x, y) in zip(
            chest_template.landmark_names, structures, phantom.landmarks_px, strict=True
        ):
            if i != 3 or structure != "heart":
                rows.append((name, landmark, structure, float(x), float(y)))
    (folder / "dataset.json").write_text(json.dumps({"name": "phantoms", "spacing_source": "given", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "structure", "x_px", "y_px"), *rows])
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in another order are other sums: runs are compared to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def chest_bundle(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that knows the lungs badly, see :mod:`Testing.training.finetuning.chest_library`."""
    from Testing.training.finetuning.chest_library import MODEL
    from training.fit import fit

    output = tmp_path_factory.mktemp("parent")
    assert fit(MODEL, phantom_folder, output)
    return output / "bundle"


@pytest.fixture(scope="session")
def corrected_chests(
    chest_bundle: Path, chest_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Annotator:
    """Three corrected cases; nobody changes them."""
    from Testing.training.finetuning.chest_library import corrected_library

    return corrected_library(tmp_path_factory.mktemp("corrected"), chest_bundle, chest_template)
