"""``python -m Testing.extension.draw_samples``: the two sample images of the extension, phantoms that show no person.

Says the checksums to enter into ``DenseLandmarksLib/panel/sample_data.py``. Other versions of the packages may compress
the same pixels to other bytes, so the files are drawn again only when they are meant to change.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageOps

from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle
from training.phantoms import DEMO_SEEDS, draw_phantom

FOLDER = Path(__file__).parents[2] / "Resources" / "SampleData"
MODEL = "chest-xray"
SIZE = (512, 512)
# What Slicer advises, and a rim so that both pictures are of one size.
THUMBNAIL_SIZE, RIM = (260, 280), "#000000"


@dataclass(frozen=True)
class Sample:
    """A sample: the phantom of ``seed``, stored so that ``view`` shows it upright; ``spacing`` is in the file."""

    name: str
    seed: int
    view: View
    has_spacing: bool


SAMPLES = (
    Sample("chest-phantom", DEMO_SEEDS[10], View(), has_spacing=True),
    # As some scanners and phones leave a film: on its side, mirrored, and nobody knows how large it is.
    Sample("chest-phantom-on-its-side", DEMO_SEEDS[2], View(90, flip=True), has_spacing=False),
)


def pixels_of(sample: Sample, template: Template) -> NDArray[np.uint8]:
    """The pixels (H, W) of a sample as it is stored."""
    upright = draw_phantom(template, sample.seed, SIZE).pixels
    stored = stored_as(sample.view, upright)
    return np.round(stored * 255).astype(np.uint8)


def stored_as(view: View, upright: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image that a view shows as ``upright``."""
    mirrored = upright[:, ::-1] if view.flip else upright
    # A view turns clockwise before it mirrors; numpy turns counterclockwise.
    return np.rot90(mirrored, view.turn_deg // 90)


def write_sample(folder: Path, sample: Sample, template: Template) -> Path:
    """Write image and thumbnail of a sample; returns the image's path."""
    pixels = pixels_of(sample, template)
    volume = sitk.GetImageFromArray(pixels[None])
    if sample.has_spacing:
        spacing_mm = template.field_of_view_mm[0] / SIZE[0]
        volume.SetSpacing((spacing_mm, spacing_mm, 1.0))
    path = folder / f"{sample.name}.nrrd"
    sitk.WriteImage(volume, str(path), useCompression=True, compressionLevel=9)
    ImageOps.pad(Image.fromarray(pixels), THUMBNAIL_SIZE, Image.Resampling.LANCZOS, color=RIM).save(
        path.with_suffix(".png"), optimize=True
    )
    return path


def main() -> None:
    """Write all samples."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    template = read_description(find_bundle(MODEL)).template
    for sample in SAMPLES:
        path = write_sample(FOLDER, sample, template)
        sys.stdout.write(f"{path.name}: SHA256:{sha256(path.read_bytes()).hexdigest()}, {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
