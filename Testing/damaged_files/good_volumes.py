"""Good NIfTI, NRRD and MetaImage files, written field by field so that any field can be wrong."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from Testing.damaged_files.smooth_pixels import smooth_pixels

NIFTI_FORMATS = ("NIfTI", "NIfTI gz")
NRRD_FORMATS = ("NRRD", "NRRD gzip")
META_FORMATS = ("MetaImage", "MetaImage zlib")
NIFTI_DATA_AT = 352
# Offset and layout of fields of a NIfTI-1 header (nifti1.h).
NIFTI_FIELDS = {
    "sizeof_hdr": (0, "<i"),
    "dim": (40, "<8h"),
    "datatype": (70, "<h"),
    "bitpix": (72, "<h"),
    "pixdim": (76, "<8f"),
    "vox_offset": (108, "<f"),
    "scl_slope": (112, "<f"),
    "scl_inter": (116, "<f"),
    "sform_code": (254, "<h"),
    "srow": (280, "<12f"),
    "magic": (344, "4s"),
}
_NIFTI_TYPES = {"u1": (2, 8), "i2": (4, 16), "f4": (16, 32), "f8": (64, 64), "c8": (32, 64), "u2": (512, 16)}
_NRRD_TYPES = {"u1": "uint8", "u2": "uint16", "f4": "float", "f8": "double"}
_META_TYPES = {"u1": "MET_UCHAR", "u2": "MET_USHORT", "f4": "MET_FLOAT", "f8": "MET_DOUBLE"}


def good_volume(name: str, rng: np.random.Generator) -> bytes:
    """A one-slice file of a format of ``NIFTI_FORMATS``, ``NRRD_FORMATS`` or ``META_FORMATS``."""
    return volume_of(name, smooth_pixels(rng))


def volume_of(name: str, pixels: NDArray[np.generic]) -> bytes:
    """A file of any of the six formats that holds these ``pixels`` (rows, columns)."""
    size, code, raw = pixels.shape[::-1], pixels.dtype.str[1:], pixels.tobytes()
    if name in NIFTI_FORMATS:
        content = nifti_header(size, code) + raw
        return gzipped(content) if name == "NIfTI gz" else content
    if name in NRRD_FORMATS:
        return nrrd_header(name, size, code) + (gzipped(raw) if name == "NRRD gzip" else raw)
    stored = zlib.compress(raw) if name == "MetaImage zlib" else raw
    return meta_header(name, size, code, stored_bytes=len(stored)) + stored


def gzipped(content: bytes) -> bytes:
    """Without the time, which would make every file another one."""
    return gzip.compress(content, mtime=0)


def nifti_header(size: tuple[int, ...], code: str, **fields: object) -> bytes:
    """352 bytes; ``fields`` replace those of ``NIFTI_FIELDS``."""
    dim = (2, *size, *[1] * 5) if len(size) == 2 else (len(size), *size, *[1] * (7 - len(size)))
    datatype, bitpix = _NIFTI_TYPES[code]
    values: dict[str, object] = {
        "sizeof_hdr": 348,
        "dim": dim,
        "datatype": datatype,
        "bitpix": bitpix,
        "pixdim": (1.0, 0.2, 0.2, 1.0, 0.0, 0.0, 0.0, 0.0),
        "vox_offset": float(NIFTI_DATA_AT),
        "sform_code": 1,
        "srow": (-0.2, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "magic": b"n+1\0",
    } | fields
    header = bytearray(NIFTI_DATA_AT)
    for name, value in values.items():
        at, layout = NIFTI_FIELDS[name]
        struct.pack_into(layout, header, at, *(value if isinstance(value, tuple) else (value,)))
    return bytes(header)


def nrrd_header(name: str, size: tuple[int, ...], code: str, **fields: str | None) -> bytes:
    """The text up to the empty line; ``fields`` replace or add lines (``data_file`` is "data file"), ``None`` drops."""
    values: dict[str, str | None] = {
        "type": _NRRD_TYPES[code],
        "dimension": str(len(size)),
        "sizes": " ".join(map(str, size)),
        "spacings": " ".join(["0.2"] * len(size)),
        "endian": "little",
        "encoding": "gzip" if name == "NRRD gzip" else "raw",
        **fields,
    }
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in values.items() if value is not None]
    return "\n".join(["NRRD0004", *lines, "", ""]).encode()


def meta_header(name: str, size: tuple[int, ...], code: str, stored_bytes: int = 0, **fields: str | None) -> bytes:
    """The text up to the pixels; ``fields`` replace or add lines, ``None`` drops them."""
    values: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(len(size)),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(name == "MetaImage zlib"),
        "CompressedDataSize": str(stored_bytes) if name == "MetaImage zlib" else None,
        "ElementSpacing": " ".join(["0.2"] * len(size)),
        "DimSize": " ".join(map(str, size)),
        "ElementType": _META_TYPES[code],
        **fields,
    }
    values["ElementDataFile"] = values.pop("ElementDataFile", "LOCAL")  # the pixels follow this line
    return "".join(f"{key} = {value}\n" for key, value in values.items() if value is not None).encode()
