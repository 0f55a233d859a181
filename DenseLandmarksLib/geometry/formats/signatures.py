"""Which format a file has, by how it begins; no foreign parser is asked, as some print, guess or crash."""

from __future__ import annotations

import re
import zlib

# MetaImage headers are text, and no field of theirs has a fixed place.
HEAD_BYTES = 4096

_PREFIXES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"NRRD00": "NRRD",
}
_NIFTI_1, _NIFTI_2 = (b"n+1\0", b"ni1\0"), (b"n+2\0", b"ni2\0")
_GZIP = b"\x1f\x8b"
_META_FIELD = re.compile(rb"\s*[a-z]\w*[ \t]*=", re.IGNORECASE)
_META_AXES = re.compile(rb"^\s*ndims[ \t]*=", re.IGNORECASE | re.MULTILINE)


def format_of(head: bytes) -> str | None:
    """Name of the format of a file that begins with ``head`` (``HEAD_BYTES`` of it, or all); ``None`` for any other."""
    # DICOM first: a DICOM file may carry any other signature in its preamble.
    if head[128:132] == b"DICM" or _begins_with_dicom_tag(head):
        return "DICOM"
    for prefix, kind in _PREFIXES.items():
        if head.startswith(prefix):
            return kind
    if _is_nifti(_inflated(head) if head.startswith(_GZIP) else head):
        return "NIfTI"
    return "MetaImage" if _META_FIELD.match(head) and _META_AXES.search(head) else None


def _begins_with_dicom_tag(head: bytes) -> bool:
    """Whether a file starts as DICOM does behind its preamble: with the length of group 2, or a short tag of group 8."""
    if head.startswith(b"\x02\x00\x00\x00UL\x04\x00"):
        return True
    explicit = head[4:6] in (b"UL", b"UI", b"CS", b"DA", b"TM", b"DT", b"SH", b"LO")
    implicit = head[5:8] == b"\x00\x00\x00" and 0 < head[4] <= 64 and head[4] % 2 == 0
    return len(head) >= 8 and head[:2] == b"\x08\x00" and head[3] == 0 and (explicit or implicit)


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in _NIFTI_1 or head[4:8] in _NIFTI_2


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""
