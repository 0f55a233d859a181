"""NIfTI, NRRD and MetaImage files whose headers state what cannot be, or name files that are none of their business."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_volumes import (
    META_FORMATS,
    NIFTI_FORMATS,
    NRRD_FORMATS,
    gzipped,
    meta_header,
    nifti_header,
    nrrd_header,
)
from Testing.damaged_files.smooth_pixels import smooth_pixels

_BIG, _HUGE, _BEYOND = 10_000, 60_000, 1 << 40


def _nifti(**fields: object) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        pixels = smooth_pixels(rng)
        content = nifti_header(pixels.shape[::-1], "u2", **fields) + pixels.tobytes()
        return gzipped(content) if name == "NIfTI gz" else content

    return make


def _nrrd(**fields: str | None) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        pixels = smooth_pixels(rng)
        raw = pixels.tobytes()
        header = nrrd_header(name, pixels.shape[::-1], "u2", **fields)
        return header + (gzipped(raw) if name == "NRRD gzip" else raw)

    return make


def _meta(**fields: str | None) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        pixels = smooth_pixels(rng)
        return meta_header(name, pixels.shape[::-1], "u2", 100, **fields) + pixels.tobytes()

    return make


def _dim(*dim: int) -> dict[str, object]:
    return {"dim": (*dim, *[1] * (8 - len(dim)))}


# /proc/self/exe is a file of megabytes on every Linux, /dev/zero and /dev/urandom never end.
_ELSEWHERE = ("/etc/passwd", "/proc/self/exe", "/dev/zero", "/dev/urandom", "../../../../../../../proc/self/exe")


def _elsewhere(field: str) -> list[tuple[str, str, dict[str, str | None]]]:
    return [("another file", target, {field: target}) for target in _ELSEWHERE]


_NIFTI = (
    ("wrong tag", "a dimension of -5", _dim(2, -5, 64)),
    ("wrong tag", "a dimension of 0", _dim(2, 64, 0)),
    ("wrong tag", "-1 axes", _dim(-1, 64, 64)),
    ("wrong tag", "0 axes", _dim(0, 64, 64)),
    ("wrong tag", "77 axes", _dim(77, 64, 64)),
    ("wrong tag", "datatype 9999", {"datatype": 9999}),
    ("wrong tag", "datatype 0", {"datatype": 0}),
    ("wrong tag", "vox_offset beyond the end", {"vox_offset": 1e9}),
    ("wrong tag", "spacings of NaN", {"pixdim": (1.0, *[float("nan")] * 7), "srow": (float("nan"),) * 12}),
    ("wrong tag", "a magic of a pair whose other file is missing", {"magic": b"ni1\0", "vox_offset": 0.0}),
    ("absurd size", "32 767 x 32 767", _dim(2, 32767, 32767)),
    ("absurd size", "32 767 on seven axes", _dim(7, *[32767] * 7)),
    ("absurd size", "10 000 x 10 000 that are not there", _dim(2, _BIG, _BIG)),
)
_NRRD: tuple[tuple[str, str, dict[str, str | None]], ...] = (
    ("wrong tag", "sizes of -5 and 64", {"sizes": "-5 64"}),
    ("wrong tag", "sizes of 0 and 64", {"sizes": "0 64"}),
    ("wrong tag", "sizes in words", {"sizes": "many more"}),
    ("wrong tag", "no sizes", {"sizes": None}),
    ("wrong tag", "three axes, two sizes", {"dimension": "3"}),
    ("wrong tag", "dimension 99", {"dimension": "99"}),
    ("wrong tag", "dimension -1", {"dimension": "-1"}),
    ("wrong tag", "a type that does not exist", {"type": "colour"}),
    ("wrong tag", "blocks", {"type": "block", "block_size": "2"}),
    ("wrong tag", "an encoding that does not exist", {"encoding": "morse"}),
    ("wrong tag", "text for pixels", {"encoding": "ascii"}),
    ("wrong tag", "hexadecimal digits for pixels", {"encoding": "hex"}),
    ("wrong tag", "skips 1 000 000 000 bytes", {"byte_skip": "1000000000"}),
    ("absurd size", "60 000 x 60 000", {"sizes": f"{_HUGE} {_HUGE}"}),
    ("absurd size", "1 099 511 627 776 x 1 099 511 627 776", {"sizes": f"{_BEYOND} {_BEYOND}"}),
    ("absurd size", "10 000 x 10 000 that are not there", {"sizes": f"{_BIG} {_BIG}"}),
    *_elsewhere("data_file"),
    ("another file", "a pattern of 10^9 files", {"data_file": "a%d.raw 1 1000000000 1 1"}),
    ("another file", "a list of devices", {"data_file": "LIST\n/dev/zero\n/dev/zero"}),
)
_META: tuple[tuple[str, str, dict[str, str | None]], ...] = (
    ("wrong tag", "DimSize of -5 and 64", {"DimSize": "-5 64"}),
    ("wrong tag", "DimSize of 0 and 64", {"DimSize": "0 64"}),
    ("wrong tag", "DimSize in words", {"DimSize": "many more"}),
    ("wrong tag", "no DimSize", {"DimSize": None}),
    ("wrong tag", "NDims 0", {"NDims": "0"}),
    ("wrong tag", "NDims -1", {"NDims": "-1"}),
    ("wrong tag", "NDims 99", {"NDims": "99"}),
    ("wrong tag", "a type that does not exist", {"ElementType": "MET_COLOUR"}),
    ("wrong tag", "no type", {"ElementType": None}),
    ("wrong tag", "-3 channels", {"ElementNumberOfChannels": "-3"}),
    ("wrong tag", "a compressed size of -1", {"CompressedData": "True", "CompressedDataSize": "-1"}),
    ("wrong tag", "a compressed size of 10^12", {"CompressedData": "True", "CompressedDataSize": "1000000000000"}),
    ("absurd size", "60 000 x 60 000", {"DimSize": f"{_HUGE} {_HUGE}"}),
    ("absurd size", "1 099 511 627 776 x 1 099 511 627 776", {"DimSize": f"{_BEYOND} {_BEYOND}"}),
    ("absurd size", "10 000 x 10 000 that are not there", {"DimSize": f"{_BIG} {_BIG}"}),
    *_elsewhere("ElementDataFile"),
    ("another file", "a pattern of 10^9 files", {"ElementDataFile": "a%d.raw 1 1000000000 1"}),
    ("another file", "a list of devices", {"ElementDataFile": "LIST\n/dev/zero\n/dev/zero"}),
)

# The library of the NIfTI committee repairs these, and MetaIO asks for no length of a header before local data.
_REPAIRED: tuple[tuple[str, dict[str, object]], ...] = (
    ("a slope of NaN", {"scl_slope": float("nan")}),
    ("vox_offset NaN", {"vox_offset": float("nan")}),
    ("vox_offset -1 000 000", {"vox_offset": -1e6}),
    ("a header of 77 bytes", {"sizeof_hdr": 77}),
)
WRONG_VOLUMES = (
    *(Damage("wrong tag", what, NIFTI_FORMATS, _nifti(**fields), must_fail=False) for what, fields in _REPAIRED),
    Damage(
        "wrong tag", "a header of 1 000 000 000 bytes", META_FORMATS, _meta(HeaderSize="1000000000"), must_fail=False
    ),
    *(Damage(kind, what, NIFTI_FORMATS, _nifti(**fields)) for kind, what, fields in _NIFTI),
    *(Damage(kind, what, NRRD_FORMATS, _nrrd(**fields)) for kind, what, fields in _NRRD),
    *(Damage(kind, what, META_FORMATS, _meta(**fields)) for kind, what, fields in _META),
)
