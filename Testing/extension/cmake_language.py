"""Reading CMake: a file as a list of commands with their arguments, unquoted, with variables still in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.errors import InputError

# A comment, white space, a quoted argument, a parenthesis, or an unquoted argument.
_TOKENS = re.compile(r'#[^\n]*|\s+|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bracket>[()])|(?P<plain>[^\s"()#]+)', re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_./+-]+)\}")


@dataclass(frozen=True)
class Argument:
    """One argument: a quoted one stays one, an unquoted one becomes as many as its list has."""

    text: str
    quoted: bool

    def expand(self, variables: dict[str, str]) -> list[str]:
        """The values with variables replaced; raises :class:`InputError` for a variable that was never set."""

        def value(match: re.Match[str]) -> str:
            if match[1] not in variables:
                raise InputError(
                    f"expected a variable that is set, got ${{{match[1]}}}. Set it, or tell lay_out.py that Slicer does."
                )
            return variables[match[1]]

        text = _VARIABLE.sub(value, self.text)
        return [text] if self.quoted else [part for part in text.split(";") if part]


@dataclass(frozen=True)
class Command:
    """``name(arguments)`` in line ``line`` of a file; CMake does not mind the name's case, and it is lower here."""

    name: str
    arguments: tuple[Argument, ...]
    line: int


def read_commands(path: Path) -> list[Command]:
    """The commands of a CMakeLists.txt; raises :class:`InputError` for what is not CMake, or more of it than we use."""
    text = path.read_text(encoding="utf-8")
    commands: list[Command] = []
    arguments: list[Argument] = []
    name, is_open, at = "", False, 0
    while at < len(text):
        found = _TOKENS.match(text, at)
        line = text.count("\n", 0, at) + 1
        if found is None:
            raise _not_understood(path, line, text[at : at + 20])
        at = found.end()
        if found["plain"] and not is_open and not name:
            name = found["plain"].lower()
        elif found["bracket"] == "(" and name and not is_open:
            arguments, is_open, begins = [], True, line
        elif found["bracket"] == ")" and is_open:
            commands.append(Command(name, tuple(arguments), begins))
            name, is_open = "", False
        elif is_open and found["plain"]:
            arguments.append(Argument(found["plain"], quoted=False))
        elif is_open and found["quoted"] is not None:
            arguments.append(Argument(re.sub(r"\\(.)", r"\1", found["quoted"]), quoted=True))
        elif found[0].strip() and not found[0].startswith("#"):
            raise _not_understood(path, line, found[0])
    if name:
        raise _not_understood(path, text.count("\n") + 1, f"{name}, never closed")
    return commands


def _not_understood(path: Path, line: int, what: str) -> InputError:
    return InputError(
        f"expected commands as name(arguments) in {path.name}, got {what!r} in line {line}. Correct the file."
    )
