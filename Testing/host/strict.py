"""Objects that have what is written down and nothing else."""

from __future__ import annotations

from typing import Any


class Strict:
    """Attributes may be read and set only where the class or its constructor made them."""

    _where = "Testing/host"
    _settable: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"the test host has no {self._name()}.{name}; add it to {self._where}")

    def _name(self) -> str:
        return type(self).__name__

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self._settable:
            raise AttributeError(f"'{name}' of {self._name()} cannot be set")
        object.__setattr__(self, name, value)
