"""``python -m training demo``: the shipped model on a phantom whose truth is exact, or on a person's own image."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.exports.results import write_results
from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.metrics import dice_percent
from training.phantoms import DEMO_SEEDS, draw_phantom, landmarks_of, phantom_image

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
    parser.add_argument("--model", default="chest-xray", help="name or bundle folder")
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--image", help="an image of your own instead of a phantom")
    parser.add_argument("--seed", type=int, default=DEMO_SEEDS[0], help="which phantom")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training demo``."""
    if arguments.image:
        u, v = NEW_UV
        landmark = f"{NEW_LANDMARK}={NEW_STRUCTURE}:{u},{v}"
        where = ["--model", arguments.model, "--output", str(arguments.output), "--device", arguments.device]
        return cli.main(["predict", arguments.image, *where, "--landmark", landmark])
    on_phantom(arguments.model, arguments.output, arguments.device, arguments.seed)
    return 0
