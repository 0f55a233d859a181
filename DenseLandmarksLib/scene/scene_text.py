"""Texts that come back out of a saved scene.

A scene is written as XML without a check, and nodes as files that are called by their names: one character that does not
fit, and Slicer saves without a word what it cannot open again (measured on 5.11, and read in its source).
"""

from __future__ import annotations

import json
import re

# What XML cannot hold, "&" which Slicer writes bare into the names of files, and what Windows has in no name of a file.
# Slicer itself replaces the rest, such as a slash, and shortens long names. A lone surrogate ends the process.
_UNFIT = re.compile("[\x00-\x1f&<>\\\\\ud800-\udfff\ufffe\uffff]")


def node_name(text: str) -> str:
    """``text`` as a node can be called."""
    return _UNFIT.sub("_", text)


def to_attribute(text: str) -> str:
    """``text`` as a node's attribute can hold it; plain text stays as it is."""
    return json.dumps(text)[1:-1]


def from_attribute(attribute: str) -> str:
    """The text of :func:`to_attribute`; raises ``ValueError`` for anything else."""
    text = json.loads(f'"{attribute}"')
    assert isinstance(text, str)
    return text
