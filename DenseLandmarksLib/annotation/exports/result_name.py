"""What the results of an image are called."""

from __future__ import annotations

import re
from pathlib import Path

from DenseLandmarksLib.geometry.formats.dicom_identifiers import contains_identifier

# The content decides what a file is; these are only left out of names, and sought in folders.
IMAGE_SUFFIXES = (
    ".nii.gz",
    *(".dcm", ".dicom", ".dic", ".ima"),
    *(".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff"),
    *(".nii", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"),
)
# File systems take 255 bytes, and endings, keys and the temporary name need some.
_LONGEST_BYTES = 180
_NOT_PLAIN = re.compile(r"[^\w .()+-]|^\.+")
_LONGEST_PLAIN = 80


def file_stem(path: Path) -> str:
    """A file's name without the suffix of an image format: ``1.2.840.113`` stays, ``a.b.nii.gz`` becomes ``a.b``."""
    name = path.name
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s) and len(name) > len(s)), "")
    stem = name[: len(name) - len(suffix)]
    # Control characters would tear lines, and bytes that are no text cannot be written into a table.
    stem = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "_", stem)
    return stem.encode()[:_LONGEST_BYTES].decode(errors="ignore")


def safe_name(path: Path, identifiers: frozenset[str] | None) -> str | None:
    """The stem of a file's name, or ``None`` where it holds one of its ``identifiers`` or where those are unknown.

    ``identifiers`` as :func:`~DenseLandmarksLib.geometry.formats.dicom_identifiers.read_identifiers` gives them.
    """
    if identifiers is None or contains_identifier(path.name, identifiers):
        return None
    return file_stem(path)


def plain_name(text: str) -> str:
    """``text`` as the stem of a file's name in any folder: it names no other place, and is no longer than a line."""
    return _NOT_PLAIN.sub("_", text)[:_LONGEST_PLAIN].strip()
