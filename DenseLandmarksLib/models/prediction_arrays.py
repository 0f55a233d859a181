"""A prediction as a header for JSON and arrays of numbers, and back: how it crosses to another process or a file.

Numbers that may be NaN stand in the arrays, which keep it; the header holds names, sizes and codes. Masks are packed to
bits. Nothing is lost: what comes back is equal to what was given. A prediction of landmarks only has no grid (``None``)
and no masks; everything else is the same, so that files of either kind are of one format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod, UvField
from DenseLandmarksLib.models.prediction import Plausibility, Prediction

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

FORMAT = 1
# What a landmark carries as numbers, and the shape of it after the number of landmarks.
LANDMARK_NUMBERS: dict[str, tuple[int, ...]] = {
    "points_lps_mm": (3,),
    "predicted_lps_mm": (3,),
    "confidence": (),
    "covariance_mm2": (3, 3),
    "template_uv": (2,),
}
Code = TypeVar("Code", bound=StrEnum)


def prediction_to_arrays(prediction: Prediction) -> tuple[Header, Arrays]:
    """The header (for JSON, without NaN) and the arrays of a prediction.

    Floats come as float64 except the uv field's float32, which a file may keep as float16; masks as packed bits, uint8.
    No array is of objects, so ``numpy.savez`` keeps them without pickle.
    """
    landmarks, plausibility = prediction.landmarks, prediction.plausibility
    header: Header = {
        "format": FORMAT,
        "model_name": prediction.model_name,
        "model_version": prediction.model_version,
        "device": prediction.device,
        "structures": list(prediction.structures),
        "grid": None if prediction.grid is None else _grid_to_header(prediction.grid),
        "landmarks": {
            "names": list(landmarks.names),
            "structures": list(landmarks.structures),
            "presence": [str(presence) for presence in landmarks.presence],
            "review": [str(review) for review in landmarks.review],
        },
        "plausibility": {
            "doubts": list(plausibility.doubts),
            "measures": list(plausibility.measures),
            "limits": list(plausibility.limits),
            "suggested_view": view_to_header(plausibility.suggested_view),
        },
        "uv_field": None,
    }
    arrays: Arrays = {
        f"landmarks.{name}": np.asarray(getattr(landmarks, name), np.float64) for name in LANDMARK_NUMBERS
    }
    arrays["masks"] = np.packbits(prediction.masks)
    arrays["plausibility.measures"] = np.array(list(plausibility.measures.values()), np.float64)
    arrays["plausibility.limits"] = np.array(list(plausibility.limits.values()), np.float64)
    field = prediction.uv_field
    if field is not None:
        header["uv_field"] = {
            "structures": list(field.structures),
            "stride": int(field.stride),
            "read_out": field.read_out,
            "border_lengths": [len(border) for border in field.borders],
        }
        arrays["uv_field.uv"] = np.asarray(field.uv, np.float32)
        arrays["uv_field.masks"] = np.packbits(field.masks)
        arrays["uv_field.borders"] = np.concatenate([np.zeros((0, 2)), *field.borders])
        if field.uv_scale is not None:
            arrays["uv_field.uv_scale"] = np.asarray(field.uv_scale, np.float32)
    return header, arrays


def prediction_from_arrays(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Prediction:
    """The prediction of a header and arrays of :func:`prediction_to_arrays`; the arrays are not copied where they fit.

    Raises ``ValueError``, in one line, for anything that such a pair cannot be.
    """
    if not isinstance(header, Mapping) or header.get("format") != FORMAT:
        got = header.get("format") if isinstance(header, Mapping) else header
        raise _wrong("the format", str(FORMAT), got)
    structures = _texts(header, "structures")
    grid = None if header.get("grid", "") is None else _read_grid(_section(header, "grid"))
    return Prediction(
        landmarks=_read_landmarks(_section(header, "landmarks"), arrays),
        structures=structures,
        masks=_bits(arrays, "masks", (len(structures), *((0, 0) if grid is None else grid.size))),
        grid=grid,
        uv_field=None if header.get("uv_field") is None else _read_uv_field(_section(header, "uv_field"), arrays),
        model_name=_text(header, "model_name"),
        model_version=_text(header, "model_version"),
        device=_text(header, "device"),
        plausibility=_read_plausibility(_section(header, "plausibility"), arrays),
    )


def says_the_same(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions are equal in everything, NaN included."""
    (header, arrays), (other_header, other_arrays) = prediction_to_arrays(one), prediction_to_arrays(other)
    return header == other_header and all(
        name in other_arrays and np.array_equal(array, other_arrays[name], equal_nan=array.dtype.kind == "f")
        for name, array in arrays.items()
    )


def view_to_header(view: View | None) -> Header | None:
    """A view for JSON; ``None`` stays ``None``."""
    return None if view is None else {"turn_deg": view.turn_deg, "flip": view.flip}


def view_from_header(header: object) -> View | None:
    """The view of :func:`view_to_header`; raises ``ValueError`` for anything else."""
    if header is None:
        return None
    if not isinstance(header, Mapping) or not isinstance(header.get("flip"), bool):
        raise _wrong("a view", "turn_deg and flip", header)
    (turn_deg,) = _integers({"turn_deg": [header.get("turn_deg")]}, "turn_deg", 1)
    return View(turn_deg, header["flip"])


def _grid_to_header(grid: Grid) -> Header:
    return {
        "size": [int(pixels) for pixels in grid.size],
        "image_size": [int(pixels) for pixels in grid.image_size],
        "inner": [int(pixels) for pixels in grid.inner],
        "view": view_to_header(grid.view),
    }


def _read_grid(section: Mapping[str, Any]) -> Grid:
    height, width = _integers(section, "size", 2)
    image_height, image_width = _integers(section, "image_size", 2)
    top, left, inner_height, inner_width = _integers(section, "inner", 4)
    fits = min(top, left) >= 0 and top + inner_height <= height and left + inner_width <= width
    if not fits or min(height, width, image_height, image_width, inner_height, inner_width) < 1:
        raise _wrong("the grid", "an image inside of it", dict(section))
    view = view_from_header(section.get("view"))
    if view is None:
        raise _wrong("the grid's view", "turn_deg and flip", None)
    return Grid((height, width), (image_height, image_width), (top, left, inner_height, inner_width), view)


def _read_landmarks(section: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LandmarkSet:
    names = _texts(section, "names")
    numbers = {
        name: _floats(arrays, f"landmarks.{name}", (len(names), *shape)).astype(np.float64, copy=False)
        for name, shape in LANDMARK_NUMBERS.items()
    }
    return LandmarkSet(
        names=names,
        structures=_texts(section, "structures"),
        presence=_codes(section, "presence", Presence),
        review=_codes(section, "review", Review),
        **numbers,
    )


def _read_uv_field(section: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> UvField:
    structures = _texts(section, "structures")
    (stride,) = _integers({"stride": [section.get("stride")]}, "stride", 1)
    if stride < 1:
        raise _wrong("the stride", "at least 1", stride)
    method: Any = section.get("read_out")
    if method not in get_args(ReadOutMethod):
        raise _wrong("read_out", f"one of {', '.join(get_args(ReadOutMethod))}", method)
    uv = _floats(arrays, "uv_field.uv", (len(structures), 2, None, None)).astype(np.float32, copy=False)
    scale = None
    if "uv_field.uv_scale" in arrays:
        scale = _floats(arrays, "uv_field.uv_scale", uv.shape).astype(np.float32, copy=False)
    lengths = _integers(section, "border_lengths")
    if len(lengths) not in (0, len(structures)) or min(lengths, default=0) < 0:
        raise _wrong("border_lengths", f"a length for each of {len(structures)} structures, or none", list(lengths))
    lines = _floats(arrays, "uv_field.borders", (sum(lengths), 2)).astype(np.float64, copy=False)
    ends = np.cumsum(lengths, dtype=np.intp)
    borders = tuple(lines[end - length : end] for end, length in zip(ends, lengths, strict=True))
    masks = _bits(arrays, "uv_field.masks", (len(structures), *uv.shape[2:]))
    return UvField(structures, uv, scale, masks, stride, method, borders)


def _read_plausibility(section: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Plausibility:
    def read(name: str) -> dict[str, float]:
        keys = _texts(section, name)
        return dict(zip(keys, _floats(arrays, f"plausibility.{name}", (len(keys),)).tolist(), strict=True))

    suggested = view_from_header(section.get("suggested_view"))
    return Plausibility(_texts(section, "doubts"), read("measures"), read("limits"), suggested)


# ---- what may stand there ---------------------------------------------------------------------------------------------


def _wrong(name: str, expected: str, got: object) -> ValueError:
    shown = repr(got)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return ValueError(f"expected {name} of a prediction to be {expected}, got {shown}; predict the image again")


def _section(header: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = header.get(name)
    if not isinstance(section, Mapping):
        raise _wrong(name, "an object", section)
    return section


def _text(section: Mapping[str, Any], name: str) -> str:
    text = section.get(name)
    if not isinstance(text, str):
        raise _wrong(name, "text", text)
    return text


def _texts(section: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = section.get(name)
    if not isinstance(texts, Sequence) or isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise _wrong(name, "a list of texts", texts)
    return tuple(texts)


def _codes(section: Mapping[str, Any], name: str, codes: type[Code]) -> tuple[Code, ...]:
    texts = _texts(section, name)
    unknown = [text for text in texts if text not in list(codes)]
    if unknown:
        raise _wrong(name, f"of {', '.join(codes)}", unknown[0])
    return tuple(codes(text) for text in texts)


def _integers(section: Mapping[str, Any], name: str, count: int | None = None) -> tuple[int, ...]:
    numbers = section.get(name)
    good = isinstance(numbers, Sequence) and all(type(number) is int for number in numbers)
    if not good or not isinstance(numbers, Sequence) or count not in (None, len(numbers)):
        raise _wrong(name, f"{'a list of' if count is None else count} whole numbers", numbers)
    return tuple(numbers)


def _floats(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]) -> NDArray[np.floating[Any]]:
    array = arrays.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise _wrong(name, "an array of floats", getattr(array, "dtype", array))
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        raise _wrong(name, f"an array of shape {str(shape).replace('None', '*')}", array.shape)
    return array


def _bits(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks of ``shape`` from their packed bits."""
    packed = arrays.get(name)
    if not isinstance(packed, np.ndarray) or packed.dtype != np.uint8:
        raise _wrong(name, "an array of bytes", getattr(packed, "dtype", packed))
    count = int(np.prod(shape, dtype=object))
    if packed.shape != (-(-count // 8),):
        raise _wrong(name, f"{-(-count // 8)} bytes, the bits of masks {shape}", packed.shape)
    return np.unpackbits(packed, count=count).view(np.bool_).reshape(shape)
