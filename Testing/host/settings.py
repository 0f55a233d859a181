"""``QSettings`` in memory."""

from __future__ import annotations

from typing import Any

_stored: dict[str, Any] = {}


def forget() -> None:
    """As on a new computer."""
    _stored.clear()


class QSettings:
    """The application's settings.

    Values come back as the next session reads them from Slicer's INI file, as strings ("true", "3", "0.5") or tuples of
    strings, whatever type was stored; a module that relies on the type breaks only after a restart, and here at once.
    """

    def __init__(self) -> None:
        self._group = ""

    def _key(self, key: str) -> str:
        return f"{self._group}{key}"

    def value(self, key: str, default: Any = None) -> Any:
        return _stored.get(self._key(key), default)

    def setValue(self, key: str, value: Any) -> None:  # noqa: N802
        if not isinstance(value, (str, bool, int, float, list, tuple)):
            raise ValueError(f"settings take texts, numbers and lists, got {value!r} for {key}")
        many = isinstance(value, (list, tuple))
        _stored[self._key(key)] = tuple(_text(one) for one in value) if many else _text(value)

    def contains(self, key: str) -> bool:
        return self._key(key) in _stored

    def remove(self, key: str) -> None:
        full = self._key(key)
        for one in [one for one in _stored if one == full or one.startswith(f"{full}/")]:
            del _stored[one]

    def allKeys(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(one.removeprefix(self._group) for one in _stored if one.startswith(self._group))

    def beginGroup(self, name: str) -> None:  # noqa: N802
        self._group += f"{name}/"

    def endGroup(self) -> None:  # noqa: N802
        self._group = self._group[: self._group.rstrip("/").rfind("/") + 1]

    def sync(self) -> None:
        """Nothing to do."""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
