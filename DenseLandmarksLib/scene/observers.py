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
        method = WeakMethod(callback)

        def hear(caller: Any, name: Any) -> None:
            listening = method()
            if listening is not None:
                listening(caller, name)

        self._tags.append((thing, thing.AddObserver(event, hear)))

    def knows(self, thing: Any) -> bool:
        """Whether an object is listened to."""
        return any(other is thing for other, _ in self._tags)

    def forget(self, *things: Any) -> None:
        """Listen no more to these, or to anything when none is named."""
        kept = []
        for thing, tag in self._tags:
            if things and not any(thing is other for other in things):
                kept.append((thing, tag))
            else:
                thing.RemoveObserver(tag)
        self._tags = kept
