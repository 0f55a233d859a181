"""Slicer's classes that are no nodes, without importing Slicer."""

from __future__ import annotations

import sys
from typing import Any


def class_beside(thing: Any, name: str) -> Any:
    """The class ``name`` of the module that the class of ``thing`` comes from.

    Nodes are made by name through their scene; a label map or a measurement is no node. Slicer and slicer-core call the
    modules of their classes differently, but group them alike.
    """
    return getattr(sys.modules[type(thing).__module__], name)
