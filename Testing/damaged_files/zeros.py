"""Streams of zeros that inflate to gigabytes: one deflated mebibyte, said again and again."""

from __future__ import annotations

import functools
import struct
import zlib

MIB = 1 << 20


@functools.cache
def _deflated_mebibyte() -> bytes:
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    # A full flush ends at a byte and refers to nothing before, so that the block may be repeated.
    return deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)


def deflated_zeros(mebibytes: int, before: bytes = b"") -> bytes:
    """A raw deflate stream of ``before`` and zeros (RFC 1951)."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    head = deflate.compress(before) + deflate.flush(zlib.Z_FULL_FLUSH)
    return head + _deflated_mebibyte() * mebibytes + b"\x03\x00"


def zlib_zeros(mebibytes: int, before: bytes = b"") -> bytes:
    """The same as a zlib stream with its right check sum (RFC 1950)."""
    first = zlib.adler32(before)
    low, high = first & 0xFFFF, first >> 16
    # A zero leaves the low sum as it is and adds it to the high one.
    high = (high + low * (mebibytes * MIB)) % 65521
    return b"\x78\x9c" + deflated_zeros(mebibytes, before) + struct.pack(">I", high << 16 | low)


def gzip_zeros(mebibytes: int, before: bytes = b"", right: bool = False) -> bytes:
    """The same as a gzip member (RFC 1952); its check sum is right only on demand, which takes a second for a gigabyte."""
    check_sum = zlib.crc32(before)
    for _ in range(mebibytes if right else 0):
        check_sum = zlib.crc32(bytes(MIB), check_sum)
    length = len(before) + mebibytes * MIB
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return head + deflated_zeros(mebibytes, before) + struct.pack("<II", check_sum, length & 0xFFFFFFFF)
