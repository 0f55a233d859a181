"""Whether a NRRD or MetaImage file is whole and stays in its folder, before ITK opens its pixels.

Their headers are text that may name any file; MetaIO prints to the terminal, and ITK compares no check sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import MAX_DEFLATE_RATIO, check_held
from DenseLandmarksLib.geometry.formats.inflating import inflated

_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class TextHeader:
    """Fields by name in lower case of a NRRD or MetaImage header, and where the pixels lie."""

    fields: dict[str, str]
    data_path: Path
    data_at: int


def read_text_header(path: Path, kind: str) -> TextHeader:
    """Read the header of a ``"NRRD"`` or ``"MetaImage"``; ITK is not safe from all that may be in one.

    Raises :class:`InputError` where the pixels lie outside the folder, ``ValueError`` where there are no axes.
    """
    with path.open("rb") as file:
        if kind == "NRRD":
            fields = _fields(file, ":", lambda line: not line.strip())
            axes, data_file = fields["dimension"], fields.get("data file", fields.get("datafile", ""))
        else:
            fields = _fields(file, "=", lambda line: line.lower().startswith(b"elementdatafile"))
            axes, data_file = fields["ndims"], fields["elementdatafile"]
        data_at = file.tell()
    if not 2 <= int(axes) <= 5 or int(fields.get("elementnumberofchannels", 1)) < 1:
        raise ValueError("no image has so many axes or channels")
    beside = bool(data_file) and data_file.lower() != "local"
    if skipped := int(fields.get("headersize", 0)):  # -1: the pixels are the end of the file
        data_at = max(0, skipped)
    elif beside:
        data_at = 0
    return TextHeader(fields, _beside(path, data_file) if beside else path, data_at)


def check_text_volume(header: TextHeader, kind: str, pixel_bytes: int) -> None:
    """Refuse (``EOFError``, ``zlib.error``) truncated or damaged pixels, as far as seen without decoding text or bzip2."""
    deflated = _is_deflated(header.fields, kind)
    if deflated is None:
        return
    check_held(header.data_path.stat().st_size - header.data_at, pixel_bytes, MAX_DEFLATE_RATIO if deflated else 1)
    if deflated:
        with header.data_path.open("rb") as file:
            file.seek(header.data_at)
            for _ in inflated(file, pixel_bytes):
                pass


def _is_deflated(fields: dict[str, str], kind: str) -> bool | None:
    """Whether the pixels are deflated or raw; ``None`` where they are neither."""
    if kind == "NRRD":
        return {"raw": False, "gzip": True, "gz": True}.get(fields.get("encoding", "raw").lower())
    if fields.get("compresseddata", "").lower() in ("true", "1"):
        return True
    return False if fields.get("binarydata", "true").lower() in ("true", "1") else None


def _fields(file: BinaryIO, separator: str, is_last: Callable[[bytes], bool]) -> dict[str, str]:
    """Values by name in lower case of a text header, up to and with its last line."""
    fields = {}
    while (line := file.readline(_LONGEST_HEADER)) and file.tell() < _LONGEST_HEADER:
        name, _, value = line.decode("latin-1").partition(separator)
        fields[name.strip().lower()] = value.lstrip("=").strip()
        if is_last(line):
            break
    return fields


def _beside(path: Path, name: str) -> Path:
    """The data file of a header, which must be one file in the same folder."""
    beside = path.parent / name
    if Path(name).name != name or "\\" in name or not beside.is_file() or beside.is_symlink():
        raise InputError(
            f"{path}: expected its pixels in one file beside it, got another place or none; "
            "put both into one folder, or save the image as one file"
        )
    return beside
