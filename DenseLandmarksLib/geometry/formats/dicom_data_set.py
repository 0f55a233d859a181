"""Opening a DICOM file's data set, up to its pixels, without inflating whatever is in it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from DenseLandmarksLib.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_INFLATED_BYTES = 1 << 28
_PIXEL_DATA = 0x7FE00010
_FILE_META_GROUP = 2


@contextmanager
def open_data_set(path: Path, keywords: Iterable[str]) -> Iterator[tuple[Dataset, BinaryIO, int]]:
    """The tags ``keywords`` before the pixel data, the stream at the pixel data (if any), and the stream's length.

    Raises :class:`InputError` for a deflated file of more than 256 MiB, and whatever pydicom does for a damaged one.
    """
    import pydicom
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.tag import Tag

    tags = [Tag(keyword) for keyword in keywords]
    with path.open("rb") as file:
        read_preamble(file, force=True)
        meta = pydicom.dataset.FileMetaDataset(
            read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != _FILE_META_GROUP)
        )
        if meta.get("TransferSyntaxUID") != _DEFLATED:
            file.seek(0)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
            yield dataset, file, os.fstat(file.fileno()).st_size
            return
        # pydicom would inflate all of it.
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), _MAX_INFLATED_BYTES + 1)
    if len(inflated) > _MAX_INFLATED_BYTES:
        raise InputError(
            f"{path}: expected at most {_MAX_INFLATED_BYTES >> 20} MiB in a deflated file, got more; "
            "export it uncompressed"
        )
    stream = BytesIO(inflated)
    dataset = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag == _PIXEL_DATA, specific_tags=tags)
    dataset.file_meta = meta
    yield dataset, stream, len(inflated)
