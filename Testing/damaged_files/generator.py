"""Damaged files: each seed is one, the same bytes every time, and consecutive seeds go through all there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Testing.damaged_files.bit_flips import BIT_FLIPS
from Testing.damaged_files.bombs import BOMBS
from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_file import suffix
from Testing.damaged_files.not_an_image import NOT_AN_IMAGE
from Testing.damaged_files.truncated import TRUNCATED
from Testing.damaged_files.unusable_pixels import UNUSABLE_PIXELS
from Testing.damaged_files.wrong_dicom import WRONG_DICOM
from Testing.damaged_files.wrong_pictures import WRONG_PICTURES
from Testing.damaged_files.wrong_volumes import WRONG_VOLUMES

DAMAGES: tuple[Damage, ...] = (
    *TRUNCATED,
    *BIT_FLIPS,
    *WRONG_DICOM,
    *WRONG_PICTURES,
    *WRONG_VOLUMES,
    *UNUSABLE_PIXELS,
    *NOT_AN_IMAGE,
    *BOMBS,
)
# Seed i is combination i modulo their number.
COMBINATIONS: tuple[tuple[Damage, str], ...] = tuple((damage, name) for damage in DAMAGES for name in damage.formats)


@dataclass(frozen=True)
class DamagedFile:
    """A file that was written, and what is wrong with it.

    ``must_fail`` is whether no reader may take it for an image.
    """

    seed: int
    path: Path
    format: str
    damage: str
    description: str
    must_fail: bool


def damaged_file(seed: int, folder: Path) -> DamagedFile:
    """Write the damaged file of ``seed`` into ``folder``."""
    damage, name = COMBINATIONS[seed % len(COMBINATIONS)]
    path = folder / f"{seed:05d}{suffix(name)}"
    path.write_bytes(damage.make(np.random.default_rng(seed), name))
    return DamagedFile(seed, path, name, damage.kind, damage.name, damage.must_fail)
