"""Callbacks on VTK objects that can be taken back all at once.

VTK keeps a callback for as long as the object lives. These do not keep who listens: in an application that ends, nodes
still send events while Python takes its objects apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod


class Observers:
    """What is being listened to."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def add(self, thing: Any, event: int | str, callback: Callable[[Any, Any], None]) -> None:
        """Have the bound method ``callback(thing, event)`` called on an event, as long as its object lives."""
        self._tags.append((thing, thing.AddObserver(event, _Ear(callback))))

    def knows(self, thing: Any) -> bool:
        """Whether an object is listened to."""
        return any(other is thing for other, _ in self._tags)

    def forget(self) -> None:
        """Listen no more."""
        for thing, tag in self._tags:
            thing.RemoveObserver(tag)
        self._tags.clear()


class _Ear:
    """What VTK calls. An object and no closure: calling a closure that was taken apart already ends the process."""

    def __init__(self, callback: Callable[[Any, Any], None]) -> None:
        self._method = WeakMethod(callback)

    def __call__(self, thing: Any, event: Any) -> None:
        method = getattr(self, "_method", None)
        listening = None if method is None else method()
        if listening is not None:
            listening(thing, event)
