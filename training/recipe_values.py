"""Checked dataclasses from the plain values of a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from DenseLandmarksLib.errors import InputError


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a TOML recipe; raises :class:`InputError` for a missing file, or one that is none."""
    if not path.is_file():
        raise InputError(
            f"expected a recipe (a TOML file), {path} is not there. See training/recipes for those that exist."
        )
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected a recipe in TOML, {path} is not: {error}. Correct the file.") from error


def build_from(cls: Any, values: dict[str, Any], where: str) -> Any:
    """A dataclass from plain values, tables within it too; raises :class:`InputError` for what it has not, or is no such type.

    ``where`` is what the values are called in the message.
    """
    hints = get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise InputError(
            f"unknown key {', '.join(unknown)} in {where}; known are {', '.join(hints)}. Correct the recipe."
        )
    return cls(**{key: _convert(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"expected a table [{where}] in the recipe, got {value!r}. Write it as a TOML table.")
        return build_from(hint, value, where)
    origin = get_origin(hint)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"expected a table [{where}] in the recipe, got {value!r}. Write it as a TOML table.")
        return dict(value)
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(
                f"expected {where} to be one of {', '.join(get_args(hint))}, got {value!r}. Change the recipe."
            )
        return value
    if origin is tuple:
        inner, length = get_args(hint)[0], None if get_args(hint)[-1] is Ellipsis else len(get_args(hint))
        if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
            raise InputError(
                f"expected {where} to be a list of {length or 'some'} values, got {value!r}. Change the recipe."
            )
        return tuple(_convert(v, inner, where) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"expected {where} to be {hint.__name__}, got {value!r}. Change the recipe.")
    return value
