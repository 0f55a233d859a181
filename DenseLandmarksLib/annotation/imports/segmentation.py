"""Masks out of a ``.seg.nrrd`` file, ours or one that Slicer saved, on the voxels of the image that it belongs to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.imports.imported_landmarks import shown
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import MAX_VOLUME_BYTES
from DenseLandmarksLib.geometry.formats.itk_pixels import decoded_bytes_per_pixel
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.geometry.formats.text_volume_header import check_text_volume, read_text_header
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry

_SEGMENT_KEY = re.compile(r"Segment(\d+)_(ID|Name|LabelValue|Layer)")
# Rounding in a header moves a voxel by less than this part of itself; another spacing moves some by more.
_SAME_VOXEL = 0.05


@dataclass(frozen=True)
class _Segment:
    name: str
    label: int
    layer: int


def read_segmentation(path: Path, geometry: ImageGeometry) -> dict[str, NDArray[np.bool_]]:
    """The masks (Z, Y, X), by the segments' names, on the voxels of an image of ``geometry``.

    Slicer crops a file to what is drawn, keeps segments that overlap in several layers and gives each its own label
    value. A segment without voxels is an empty mask.

    Raises
    ------
    InputError : one line, for every file that is no segmentation, is damaged, or does not lie on the image's voxels.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got '{error.strerror}'. Check the path.") from error
    if kind != "NRRD":
        what = f"a {kind} file" if kind else "something else"
        raise InputError(f"{path}: expected a segmentation (.seg.nrrd), got {what}. Save it from Slicer as .seg.nrrd.")
    with reading(path, "NRRD"):
        header = read_text_header(path, "NRRD")
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("NrrdImageIO")
        reader.ReadImageInformation()
        layer_count = reader.GetNumberOfComponents()
        segments = _segments(path, reader, layer_count)
        offset_ijk = _offset(path, reader, geometry)
        voxel_bytes = math.prod(reader.GetSize()) * decoded_bytes_per_pixel(reader)
        if voxel_bytes > MAX_VOLUME_BYTES:
            raise InputError(
                f"{path}: expected at most {MAX_VOLUME_BYTES >> 30} GiB, got {voxel_bytes / 2**30:.1f} GiB in {layer_count} "
                "layers. Save fewer segments, or let them not overlap."
            )
        check_text_volume(header, "NRRD", voxel_bytes)
        volume = reader.Execute()
        layers = sitk.GetArrayViewFromImage(volume).reshape(*reversed(volume.GetSize()), layer_count)
        return {
            segment.name: _on_image(path, segment, layers[..., segment.layer] == segment.label, offset_ijk, geometry)
            for segment in segments
        }


def _segments(path: Path, reader: sitk.ImageFileReader, layer_count: int) -> list[_Segment]:
    """What the header says about each segment, in the order of their numbers."""
    stated: dict[int, dict[str, str]] = {}
    for key in reader.GetMetaDataKeys():
        match = _SEGMENT_KEY.fullmatch(key)
        if match:
            stated.setdefault(int(match[1]), {})[match[2]] = reader.GetMetaData(key)
    if not stated:
        raise InputError(
            f"{path}: expected a segmentation, got an image without segments. Import it into a segmentation in Slicer "
            "and save that."
        )
    # Before Slicer 4.11 each segment had a layer of its own, and the header did not say so.
    own_layers = layer_count == len(stated) and not any("Layer" in entry for entry in stated.values())
    segments: list[_Segment] = []
    for place, (number, entry) in enumerate(sorted(stated.items())):
        name = entry.get("Name") or entry.get("ID", "")
        if not name.strip():
            raise InputError(f"{path}: expected a name for every segment, got none for number {number + 1}. Name it.")
        if any(name == other.name for other in segments):
            raise InputError(f"{path}: expected every name once, got {shown(name)} twice. Rename one of the segments.")
        label = _whole_number(path, name, entry.get("LabelValue", "1"))
        layer = place if own_layers else _whole_number(path, name, entry.get("Layer", "0"))
        if not 0 <= layer < layer_count:
            raise InputError(
                f"{path}: expected {shown(name)} in one of {layer_count} layers, got {layer}. Save it from Slicer again."
            )
        segments.append(_Segment(name, label, layer))
    return segments


def _whole_number(path: Path, name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{path}: expected whole numbers for label and layer of {shown(name)}, got {shown(text)}. Save it again."
        ) from None


def _offset(path: Path, reader: sitk.ImageFileReader, geometry: ImageGeometry) -> NDArray[np.intp]:
    """Where in the image, i, j, k, the file's first voxel lies, for a file whose voxels are those of the image."""
    size = reader.GetSize()
    if len(size) != 3:
        raise InputError(f"{path}: expected a segmentation of three axes, got {len(size)}. Save it from Slicer again.")
    origin, axes = np.array(reader.GetOrigin()), np.array(reader.GetDirection()).reshape(3, 3)
    last = np.diag(np.array(size) - 1.0)  # the first voxel, and the last ones along each axis
    corners_lps_mm = origin + np.vstack([np.zeros(3), last]) @ (axes * np.array(reader.GetSpacing())).T
    index = index_from_lps_mm(geometry, corners_lps_mm)
    first = np.rint(index[0])
    if np.abs(index - (first + np.vstack([np.zeros(3), last]))).max() > _SAME_VOXEL:
        raise InputError(
            f"{path}: expected a segmentation on the voxels of the image, of {_shown(geometry.spacing_mm)} {geometry.unit}, "
            f"got other voxels, of {_shown(reader.GetSpacing())}. In Slicer, make the image the source of its geometry "
            "(Segment Editor) and save it again, or give the one that belongs to this image."
        )
    if (first >= geometry.size).any() or (first + size <= 0).any():
        raise _of_another_image(path)
    return first.astype(np.intp)


def _on_image(
    path: Path, segment: _Segment, mask: NDArray[np.bool_], offset_ijk: NDArray[np.intp], geometry: ImageGeometry
) -> NDArray[np.bool_]:
    """A mask (z, y, x) of the file on the whole image (Z, Y, X); nothing of it may lie outside."""
    whole = np.zeros(geometry.size[::-1], bool)
    here, there = [], []
    for start, length, size in zip(offset_ijk[::-1], mask.shape, whole.shape, strict=True):
        low, high = max(start, 0), min(start + length, size)
        here.append(slice(low, high))
        there.append(slice(low - start, high - start))
    inside = mask[tuple(there)]
    if np.count_nonzero(inside) < np.count_nonzero(mask):
        raise _of_another_image(path, segment.name)
    whole[tuple(here)] = inside
    return whole


def _of_another_image(path: Path, name: str = "") -> InputError:
    what = f"{shown(name)} partly" if name else "one"
    return InputError(
        f"{path}: expected a segmentation that lies in the image, got {what} outside of it. Give the one that belongs to "
        "this image."
    )


def _shown(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{length:.4g}" for length in spacing)
