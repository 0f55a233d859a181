"""Files that end too early."""

from __future__ import annotations

import numpy as np

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_file import FORMATS, good_file


def _in_the_header(rng: np.random.Generator, name: str) -> bytes:
    # DICOM's signature ends at byte 132, a NIfTI header at 348; every other header is shorter.
    content = good_file(name, rng)
    return content[: int(rng.integers(1, 340 if name.startswith(("DICOM", "NIfTI")) else 40))]


def _in_the_middle(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    return content[: int(len(content) * rng.uniform(0.3, 0.9))]


def _at_the_end(rng: np.random.Generator, name: str) -> bytes:
    # More than end marks and check sums (20 bytes in PNG), so that pixels are lost.
    content = good_file(name, rng)
    return content[: -int(rng.integers(40, 80))]


TRUNCATED = (
    Damage("truncated", "ends in its header", FORMATS, _in_the_header),
    Damage("truncated", "ends in the middle", FORMATS, _in_the_middle),
    Damage("truncated", "lost its last bytes", FORMATS, _at_the_end),
)
