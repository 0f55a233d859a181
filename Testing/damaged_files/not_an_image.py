"""Something else under the name of an image."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_file import good_file
from Testing.damaged_files.good_volumes import gzipped

# One of each family: what is inside does not depend on the variant.
_NAMES = ("DICOM explicit", "PNG 8", "JPEG", "TIFF 8", "NIfTI", "NIfTI gz", "NRRD", "MetaImage")


def _empty(rng: np.random.Generator, name: str) -> bytes:
    return b""


def _text(rng: np.random.Generator, name: str) -> bytes:
    words = np.array(["Rows", "NDims", "= 2", "sizes:", "the", "image", "is", "attached", "\n", "µm", "[", "}"])
    return " ".join(rng.choice(words, 200)).encode()


def _zeros(rng: np.random.Generator, name: str) -> bytes:
    return bytes(int(rng.integers(1, 5000)))


def _noise(rng: np.random.Generator, name: str) -> bytes:
    return rng.bytes(int(rng.integers(1, 5000)))


def _zip(rng: np.random.Generator, name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("image"), good_file(name, rng))
    return stream.getvalue()


def _gzipped_text(rng: np.random.Generator, name: str) -> bytes:
    return gzipped(_text(rng, name))


def _signature_alone(rng: np.random.Generator, name: str) -> bytes:
    return good_file(name, rng)[:132] + rng.bytes(int(rng.integers(200, 2000)))


NOT_AN_IMAGE = tuple(
    Damage("not an image", what, _NAMES, make)
    for what, make in (
        ("an empty file", _empty),
        ("a text", _text),
        ("zeros", _zeros),
        ("noise", _noise),
        ("a zip archive", _zip),
        ("a text in gzip", _gzipped_text),
        ("a signature, then noise", _signature_alone),
    )
)
