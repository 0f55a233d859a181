"""``python -m training demo``: the shipped model on a phantom whose truth is exact, or on a person's own image."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.exports.results import write_results
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import load_bundle, read_description
from DenseLandmarksLib.models.fitting_models import fitting_instead
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.metrics import dice_percent
from training.phantoms import DEMO_SEEDS, draw_phantom, landmarks_of, phantom_image

USUAL = "chest-xray"
SYNTHETIC = "synthetic: shows that it runs, not how accurate it is"
# Half-way down the middle of the heart's box; no annotator ever marked it, no training ever saw it.
NEW_LANDMARK, NEW_STRUCTURE, NEW_UV = "heart_centre", "heart", (0.0, 0.0)
PHANTOM_SIZE = (512, 512)


def on_phantom(model: str, output: Path, device: str, seed: int) -> None:
    """Draw a phantom, predict it, print errors against its exact truth, and write all results."""
    bundle = load_bundle(find_bundle(model))
    shape = bundle.need_template()
    template = shape.with_landmark(NEW_STRUCTURE, NEW_LANDMARK, NEW_UV)
    predictor = open_bundle(replace(bundle, template=template), device)
    phantom = draw_phantom(shape, seed, PHANTOM_SIZE)
    image = phantom_image(phantom)
    prediction = predictor.predict(image)

    truth_px = landmarks_of(template, phantom.contours)
    points_px = pixels_from_lps_mm(image.geometry, prediction.landmarks.points_lps_mm)
    error_mm = np.linalg.norm(points_px - truth_px, axis=1) * phantom.spacing_mm
    print(f"{image.name}, model {bundle.name} {bundle.version} on {prediction.device} ({SYNTHETIC})")
    print(f"  {'structure':<16}{'Dice %':>8}{'landmark error mm':>20}")
    for s, name in enumerate(prediction.structures):
        mask = prediction.need_grid().mask_on_image(prediction.masks[s])
        rows = [i for i in prediction.landmarks.of_structure(name) if template.landmark_names[i] != NEW_LANDMARK]
        print(f"  {name:<16}{dice_percent(mask, phantom.masks[s]):8.1f}{error_mm[rows].mean():20.2f}")
    new = template.landmark_names.index(NEW_LANDMARK)
    print(f"  new landmark {NEW_LANDMARK}, looked up without training: error {error_mm[new]:.2f} mm")

    with write_beside_and_rename(output / f"{image.name}.nrrd") as beside:
        sitk.WriteImage(image.volume, str(beside), useCompression=True)
    for path in [
        output / f"{image.name}.nrrd",
        *write_results(output, image, prediction, bundle.styles, [NEW_LANDMARK]),
    ]:
        print(f"  {path}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training demo``."""
    parser.add_argument(
        "--model", help="name or bundle folder; by default the one that knows what an image's file states"
    )
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--image", help="an image of your own instead of a phantom")
    parser.add_argument("--seed", type=int, default=DEMO_SEEDS[0], help="which phantom")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training demo``."""
    if not arguments.image:
        on_phantom(arguments.model or USUAL, arguments.output, arguments.device, arguments.seed)
        return 0
    model = arguments.model or model_of(Path(arguments.image))
    where = ["--model", model, "--output", str(arguments.output), "--device", arguments.device]
    has_structure = NEW_STRUCTURE in (style.name for style in read_description(find_bundle(model)).styles)
    u, v = NEW_UV
    landmark = ["--landmark", f"{NEW_LANDMARK}={NEW_STRUCTURE}:{u},{v}"] if has_structure else []
    return cli.main(["predict", arguments.image, *where, *landmark])


def model_of(path: Path) -> str:
    """The shipped model that knows the body part which an image's file states; the chest's where none does."""
    usual = read_description(find_bundle(USUAL))
    try:
        image = read_image(path)
    except InputError:
        return USUAL  # predicting tells it
    return fitting_instead(usual, image.acquisition.body_part, image.geometry.size[2]) or USUAL
