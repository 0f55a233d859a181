"""Reading the library's JSON files: an object comes back, or one line says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError


def read_json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file; ``what`` it should be and the ``remedy`` stand in the :class:`InputError`."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"expected {what} in {path}, found nothing there. {remedy}") from None
    except OSError as error:
        raise InputError(f"expected to read {path}, got '{error.strerror}'. Check its permissions.") from error
    except (ValueError, RecursionError):
        raise InputError(f"expected {what} in {path}, got a file that is cut off or damaged. {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"expected {what} in {path}, got JSON of another kind. {remedy}")
    return content


def to_bytes(content: dict[str, Any], indent: int | None = 1) -> bytes:
    """A JSON object as the bytes of a file, indented for people unless that is ``None``; raises ``ValueError`` for NaN."""
    # Bytes of a path that are no text come as lone surrogates, and what replaces them is how JSON writes these.
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")
