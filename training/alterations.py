"""What happens to radiographs between the tube and the model, done to annotated ones, with their landmarks moved along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import affine_transform

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.view import MIRRORED, View
from DenseLandmarksLib.landmarks.other_side import names_in_mirror

FloatArray = NDArray[np.float64]
Altered = tuple[MedicalImage, FloatArray]
Alteration = Callable[[MedicalImage, FloatArray, np.random.Generator], Altered]
"""From a radiograph and its landmarks (N, 2) in pixels, NaN where not annotated, to the altered pair.

A landmark that leaves the image becomes NaN.
"""

CROP = 0.2
COLLIMATED = (0.04, 0.10)
DICOM_BITS = 12


def _grey(image: MedicalImage) -> NDArray[np.float32]:
    """Pixels (H, W) between 0 and 1."""
    pixels = image.pixels_yx.astype(np.float32)
    return (pixels - pixels.min()) / np.ptp(pixels)


def _with_pixels(image: MedicalImage, pixels: NDArray[np.float32], blocks: int = 1) -> MedicalImage:
    """The same kind of image with other pixels (H, W), each as large as ``blocks`` x ``blocks`` old ones."""
    volume = sitk.GetImageFromArray(np.round(pixels.clip(0, 1) * 65535).astype(np.uint16)[None])
    x, y, z = image.volume.GetSpacing()
    volume.SetSpacing((x * blocks, y * blocks, z))
    return replace(image, volume=volume)


def _inside(points: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    with np.errstate(invalid="ignore"):
        inside = np.all((points >= -0.5) & (points <= np.array(shape[::-1]) - 0.5), axis=1)
    return np.where(inside[:, None], points, np.nan)


def gamma(exponent: float) -> Alteration:
    """Grey values raised to a power: softer or harder film."""
    return lambda image, points, rng: (_with_pixels(image, _grey(image) ** exponent), points)


def inverted(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """Black for white, as a MONOCHROME1 image that a tool did not invert."""
    return _with_pixels(image, 1 - _grey(image)), points


def rotated(angle_deg: float) -> Alteration:
    """Turned clockwise about the centre in the same frame, with black corners."""

    def alter(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
        pixels, angle = _grey(image), np.deg2rad(angle_deg)
        spacing = np.array(image.volume.GetSpacing()[:2])
        # In millimetres x, y, so that pixels that are not square turn as film does.
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        to_new = turn * spacing / spacing[:, None]
        centre = (np.array(pixels.shape[::-1]) - 1) / 2
        to_old_yx = np.linalg.inv(to_new)[::-1, ::-1]
        turned = affine_transform(pixels, to_old_yx, centre[::-1] - to_old_yx @ centre[::-1], order=1, cval=0.0)
        return _with_pixels(image, turned), _inside((points - centre) @ to_new.T + centre, pixels.shape)

    return alter


def cropped(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """A fifth of the width and of the height cut off, anyhow spread over opposite sides."""
    pixels = _grey(image)
    height, width = (round(side * (1 - CROP)) for side in pixels.shape)
    top = int(rng.integers(pixels.shape[0] - height + 1))
    left = int(rng.integers(pixels.shape[1] - width + 1))
    window = pixels[top : top + height, left : left + width]
    return _with_pixels(image, window), _inside(points - [left, top], window.shape)


def collimated(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """Black or white borders over a part of each side; landmarks beneath them still count."""
    pixels = _grey(image)
    height, width = pixels.shape
    top, bottom = (int(share * height) for share in rng.uniform(*COLLIMATED, 2))
    left, right = (int(share * width) for share in rng.uniform(*COLLIMATED, 2))
    covered = np.full_like(pixels, float(rng.integers(2)))
    open_field = np.s_[top : height - bottom, left : width - right]
    covered[open_field] = pixels[open_field]
    return _with_pixels(image, covered), points


def written_on(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """A side marker and lines of text, white, burnt into the picture at the top, at the bottom and in the middle."""
    pixels = _grey(image)
    height, width = pixels.shape
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for text, size in (("R", 0.08), ("PA ERECT 14:32", 0.035), ("110 kV 2.5 mAs", 0.03)):
        x, y = rng.uniform(0.02, 0.75) * width, rng.uniform(0.02, 0.9) * height
        draw.text((x, y), text, fill=255, font=ImageFont.load_default(size=size * height))
    return _with_pixels(image, np.maximum(pixels, np.asarray(canvas, np.float32) / 255)), points


def half_resolution(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """Means of 2 x 2 pixels; a last odd row or column is cut off."""
    pixels = _grey(image)
    height, width = (side // 2 * 2 for side in pixels.shape)
    small = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return _with_pixels(image, small, 2), _inside((points - 0.5) / 2, small.shape)


def as_dicom(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
    """Written as a 12-bit MONOCHROME1 DX file with its detector's spacing, and read from there."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    top = 2**DICOM_BITS - 1
    stored = top - np.round(_grey(image) * top).astype(np.uint16)
    x, y, _ = image.volume.GetSpacing()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME1"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, DICOM_BITS, DICOM_BITS - 1
    dataset.ImagerPixelSpacing = [f"{y:.6g}", f"{x:.6g}"]
    dataset.PixelData = stored.tobytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return replace(read_image(path), name=image.name), points


def seen_through(view: View) -> Alteration:
    """Stored so that it must be looked at through ``view`` to be upright, with nothing in the file that says so."""

    def alter(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
        pixels = _grey(image)
        stored = np.ascontiguousarray(view.inverse.see(pixels))
        altered = _with_pixels(image, stored)
        if view.turn_deg % 180:
            x, y, z = image.volume.GetSpacing()
            altered.volume.SetSpacing((y, x, z))
        return altered, view.to_stored(points, stored.shape)

    return alter


def of_other_side(names: Sequence[str], structures: Sequence[str]) -> Alteration:
    """The mirror image of what has landmarks called ``names`` (L,) on ``structures`` (L,): left is called right there."""
    rows = [list(names).index(other) for other in names_in_mirror(names, structures)]

    def alter(image: MedicalImage, points: FloatArray, rng: np.random.Generator) -> Altered:
        altered, moved = seen_through(MIRRORED)(image, points, rng)
        return altered, moved[rows]

    return alter


ALTERATIONS: dict[str, Alteration] = {
    "gamma 0.5": gamma(0.5),
    "gamma 2": gamma(2.0),
    "inverted": inverted,
    "turned by -20 degrees": rotated(-20),
    "turned by 20 degrees": rotated(20),
    "20 % cropped": cropped,
    "collimated": collimated,
    "written on": written_on,
    "half resolution": half_resolution,
    "12-bit DICOM": as_dicom,
}
"""What a model must stand; one that knows either side :func:`of_other_side` too."""

VIEWS_TO_NOTICE = (MIRRORED, View(90), View(180), View(270))
"""What a model must notice; one that knows either side sees the other as well as its own."""
