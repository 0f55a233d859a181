"""What a kind of damage is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Damage:
    """A way to spoil a file.

    Attributes
    ----------
    kind : row of the table, such as ``"truncated"``.
    name : what exactly is wrong.
    formats : which formats it can happen to.
    make : bytes of the damaged file, from a generator and the name of the format.
    must_fail : whether no reader may take it for an image. Where damage can be harmless by chance, a normal reading is
        accepted as well.
    slow : whether even a good reader works for seconds, since the file unpacks to hundreds of megabytes.
    """

    kind: str
    name: str
    formats: tuple[str, ...]
    make: Callable[[np.random.Generator, str], bytes]
    must_fail: bool = True
    slow: bool = False
