"""Good DICOM files in nine transfer syntaxes, as data sets that can still be changed and as bytes."""

from __future__ import annotations

import base64
import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders import RLELosslessEncoder

from Testing.damaged_files.smooth_pixels import smooth_pixels

SYNTAXES = {
    "DICOM implicit": "1.2.840.10008.1.2",
    "DICOM explicit": "1.2.840.10008.1.2.1",
    "DICOM big endian": "1.2.840.10008.1.2.2",
    "DICOM deflated": "1.2.840.10008.1.2.1.99",
    "DICOM RLE": "1.2.840.10008.1.2.5",
    "DICOM JPEG": "1.2.840.10008.1.2.4.50",
    "DICOM JPEG lossless": "1.2.840.10008.1.2.4.70",
    "DICOM JPEG-LS": "1.2.840.10008.1.2.4.80",
    "DICOM JPEG 2000": "1.2.840.10008.1.2.4.90",
}
# CR, DX, RF, XA, secondary capture, CT: DICOM PS3.4, table B.5-1.
_CLASSES = ("1", "1.1", "12.2", "12.1", "7", "2")
_UID = "1.2.826.0.1.3680043.8.498.1"
# No encoder of JPEG-LS is installed here: 48 x 56 pixels of 8 bits, written once with CharLS (pyjpegls).
_JPEG_LS = base64.b64decode(
    "/9j/9wALCAAwADgBAREA/9oACAEBAAAAAK++XzrrfLut27t27d9pX/Pn/399/3pff/933/99/x/99/9/ff973f9/33//d/9f"
    "77//e/9/vs//fvv/d9//f33/f9//fff/f9//fff/f99//eAAAC7JJfAAAAvH/3//ff99f/9//3+//2AAAC6wm/9+0AAAF3qA"
    "ADf/f/9//3bZdttt/3/9gAAAuul//3//fRtIBX+//z//f/9//fbZbbbQAAAXW3//f3/+/3ulgE//f/9+/3zbbbbbbbKAAAC8"
    "3f9//3/25Af7/3//d/3/f3j/f7/v/3+4C/99/z//f/7dr/9++7cK/3/v/dP77/99sFb7/33uR/9/ff7UJ/9b/2Pvvv9/759/"
    "/z64f/9ff/tAn+//eTO+/3/vvR//PvJv/19//2jvv/8PPv9/77+f/338f/77/3/m+/99n7//e+/83/t/5/8+/3/vm3//PlP/"
    "f77/fL/f/2X77/9+/y//d9y//2+//u3v/35QAAAXYAAAF3ff/33+AAAC77/b7+Wv/f9/3ab/f/soABo2v/77/wAAALrv39/8"
    "YCbp9/9/eAAYv/99/GAi5f8+/3AS/vv/fcYH3B//ffA9/3/3/0Ytbvff/gevff9++4xXLbP/b4AAALruSSSSSqmVVVVVVGJ5"
    "7VSqquAAAC7W22TZIkkklSSpVSqqqYnnz2qqVAAAAu09+ySSSSSSRVqqqqqlVKmJZ82bbXXVLnz/fz5//3Pn/38+f/8fP/97"
    "7/933/999/9/ff9++/9/vv9/+/9/vv9/77//X3//d9//ff9/99//fff/e+//fvv/f76A/9k="
)


def good_dataset(name: str, rng: np.random.Generator) -> FileDataset:
    """A small radiograph or slice whose pixels are stored as the format ``name`` of ``SYNTAXES`` says."""
    if name == "DICOM JPEG-LS":
        rows, columns, bits, stored = 48, 56, 8, encapsulate([_JPEG_LS])
    else:
        pixels = smooth_pixels(rng, 8 if name == "DICOM JPEG" else 12)
        rows, columns = pixels.shape
        bits, stored = pixels.itemsize * 8, _stored(name, pixels)
    meta = FileMetaDataset()
    sop_class = "1.2.840.10008.5.1.4.1.1." + _CLASSES[int(rng.integers(len(_CLASSES)))]
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, _UID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = SYNTAXES[name], _UID + ".1"
    meta.ImplementationVersionName = "DAMAGED FILES"
    dataset = FileDataset(
        None,  # it was read from no file
        {},
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=name == "DICOM implicit",
        is_little_endian=name != "DICOM big endian",
    )
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, _UID
    dataset.Modality, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "OT", _UID + ".2", _UID + ".3"
    dataset.PatientName, dataset.PatientID = "Nobody", "0"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.PixelSpacing = [0.2, 0.2]
    dataset.PixelData = stored
    dataset["PixelData"].VR = "OB" if bits == 8 or is_encapsulated(name) else "OW"
    dataset["PixelData"].is_undefined_length = is_encapsulated(name)
    return dataset


def is_encapsulated(name: str) -> bool:
    """Whether the pixels of format ``name`` are compressed fragments."""
    return SYNTAXES[name] > "1.2.840.10008.1.2.4"


def dicom_bytes(dataset: FileDataset) -> bytes:
    """The file of a data set, right or wrong."""
    stream = io.BytesIO()
    with pydicom.config.disable_value_validation():
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def split_dicom(content: bytes) -> tuple[bytes, bytes]:
    """Preamble with file meta information, and the data set, inflated where it was deflated."""
    # The first element is the group length, (0002,0000) UL: it counts from byte 144 on.
    end = 144 + struct.unpack_from("<I", content, 140)[0]
    head, body = content[:end], content[end:]
    return head, zlib.decompress(body, -zlib.MAX_WBITS) if _is_deflated(head) else body


def join_dicom(head: bytes, body: bytes) -> bytes:
    """The inverse of :func:`split_dicom`."""
    if not _is_deflated(head):
        return head + body
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return head + deflate.compress(body) + deflate.flush()


def with_syntax(content: bytes, uid: str | None) -> bytes:
    """A DICOM file that claims another transfer syntax than the one it is written in; ``None`` removes the claim."""
    at = content.index(b"\x02\x00\x10\x00UI")
    length = struct.unpack_from("<H", content, at + 6)[0]
    new = b""
    if uid is not None:
        value = uid.encode() + b"\0" * (len(uid) % 2)
        new = content[at : at + 6] + struct.pack("<H", len(value)) + value
    group = struct.unpack_from("<I", content, 140)[0] + len(new) - (8 + length)
    return content[:140] + struct.pack("<I", group) + content[144:at] + new + content[at + 8 + length :]


def codestream(dataset: FileDataset) -> bytes:
    """The one compressed frame of an encapsulated data set."""
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def _is_deflated(head: bytes) -> bool:
    return SYNTAXES["DICOM deflated"].encode() in head


def _stored(name: str, pixels: NDArray[np.generic]) -> bytes:
    """The value of (7FE0,0010)."""
    if name == "DICOM RLE":
        return encapsulate([_run_lengths(pixels)])
    if name == "DICOM JPEG":
        return encapsulate([_picture(pixels, "JPEG", quality=90)])
    if name == "DICOM JPEG 2000":
        return encapsulate([_picture(pixels, "JPEG2000", no_jp2=True)])
    if name == "DICOM JPEG lossless":
        return encapsulate([_jpeg_lossless(pixels)])
    return pixels.astype(pixels.dtype.newbyteorder(">" if name == "DICOM big endian" else "<")).tobytes()


def _run_lengths(pixels: NDArray[np.generic]) -> bytes:
    rows, columns = pixels.shape
    bits = pixels.itemsize * 8
    return RLELosslessEncoder.encode(
        pixels,
        rows=rows,
        columns=columns,
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        encoding_plugin="pydicom",
    )


def _picture(pixels: NDArray[np.generic], encoder: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, encoder, **options)
    return stream.getvalue()


def _jpeg_lossless(pixels: NDArray[np.generic]) -> bytes:
    """Only GDCM encodes it; its file has new UIDs and the time in it, so the codestream alone is taken."""
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(Path(folder) / "a.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(pixels))
        return codestream(pydicom.dcmread(Path(folder) / "a.dcm"))
