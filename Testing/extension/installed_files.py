"""What CMake would install, read out of the CMakeLists.txt files: an interpreter of the few commands that they use.

It follows Slicer 5.12's ``slicerMacroBuildScriptedModule`` and CTK's ``ctkMacroCompilePythonScript``: a script or resource
keeps the path that it is given relative to the calling CMakeLists.txt, below ``qt-scripted-modules``. Whatever it does not
know raises, so nothing in those files goes unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from DenseLandmarksLib.errors import InputError
from Testing.extension.cmake_language import Argument, Command, read_commands

# As the packages of Slicer are laid out on all platforms; on macOS all of it lies in a folder of the application.
SCRIPTED_MODULES = PurePosixPath("lib/Slicer-5.12/qt-scripted-modules")
SHARE = PurePosixPath("share/Slicer-5.12/qt-scripted-modules")
# What find_package(Slicer) sets, as far as we use it.
SLICER = {
    "Slicer_USE_FILE": "UseSlicer",
    "Slicer_EXTENSION_GENERATE_CONFIG": "SlicerExtensionGenerateConfig",
    "Slicer_EXTENSION_CPACK": "SlicerExtensionCPack",
    "Slicer_INSTALL_QTSCRIPTEDMODULES_SHARE_DIR": str(SHARE),
    "BUILD_TESTING": "ON",
}


class Installed:
    """The outcome of reading a source tree.

    Attributes
    ----------
    files : where each file goes, relative to the extension's folder, and where it comes from.
    tests : the scripts that ``slicer_add_python_unittest`` runs.
    modules : the names given to ``slicerMacroBuildScriptedModule``, and whether Slicer's generic tests are made for each.
    """

    def __init__(self, root: Path) -> None:
        self.files: dict[PurePosixPath, Path] = {}
        self.tests: list[Path] = []
        self.modules: dict[str, bool] = {}
        self._variables: dict[str, str] = {}
        self._commands: dict[str, Callable[[list[str], Path], None]] = {
            "cmake_minimum_required": self._ignore,
            "project": self._project,
            "set": self._set,
            "find_package": self._find_package,
            "include": self._include,
            "file": self._glob,
            "list": self._filter,
            "slicermacrobuildscriptedmodule": self._scripted_module,
            "slicer_add_python_unittest": self._unittest,
            "add_subdirectory": self._subdirectory,
            "install": self._install,
        }
        self._read(Path(root).resolve())

    def _read(self, folder: Path) -> None:
        self._variables["CMAKE_CURRENT_SOURCE_DIR"] = folder.as_posix()
        for command in read_commands(folder / "CMakeLists.txt"):
            if command.name in ("if", "endif"):
                # All that we ask is whether tests are built, and here they are.
                condition = [argument.text for argument in command.arguments]
                if condition != (["BUILD_TESTING"] if command.name == "if" else []):
                    raise _unknown(folder, command, " ".join(condition))
            elif command.name in self._commands:
                values = [value for argument in command.arguments for value in self._expand(argument)]
                try:
                    self._commands[command.name](values, folder)
                except (_NotKnownError, ValueError) as error:  # ValueError: more or fewer arguments than we use
                    raise _unknown(folder, command, " ".join(values)) from error
            else:
                raise _unknown(folder, command, "")

    def _expand(self, argument: Argument) -> list[str]:
        return argument.expand(self._variables)

    # ---- commands ----

    def _ignore(self, values: list[str], folder: Path) -> None:
        """Decides nothing about where files go."""

    def _project(self, values: list[str], folder: Path) -> None:
        (self._variables["PROJECT_NAME"],) = values

    def _set(self, values: list[str], folder: Path) -> None:
        name, *rest = values
        self._variables[name] = ";".join(rest)

    def _find_package(self, values: list[str], folder: Path) -> None:
        _expect(values == ["Slicer", "REQUIRED"])
        self._variables.update(SLICER)

    def _include(self, values: list[str], folder: Path) -> None:
        _expect(len(values) == 1 and values[0] in SLICER.values())

    def _glob(self, values: list[str], folder: Path) -> None:
        kind, name, relative, base, configure, *patterns = values
        _expect((kind, relative, configure) == ("GLOB_RECURSE", "RELATIVE", "CONFIGURE_DEPENDS"))
        _expect(Path(base) == folder)
        found: set[str] = set()
        for pattern in patterns:
            below, last = str(PurePosixPath(pattern).parent), PurePosixPath(pattern).name
            _expect("*" not in below)
            paths = (path for path in (folder / below).rglob("*") if path.is_file() and fnmatchcase(path.name, last))
            found |= {path.relative_to(folder).as_posix() for path in paths}
        self._variables[name] = ";".join(sorted(found))

    def _filter(self, values: list[str], folder: Path) -> None:
        what, name, mode, regex, pattern = values
        _expect(what == "FILTER" and mode in ("INCLUDE", "EXCLUDE") and regex == "REGEX")
        wanted = re.compile(pattern)
        kept = [one for one in self._variables[name].split(";") if bool(wanted.search(one)) == (mode == "INCLUDE")]
        self._variables[name] = ";".join(kept)

    def _scripted_module(self, values: list[str], folder: Path) -> None:
        given = _keywords(values, many=("NAME", "SCRIPTS", "RESOURCES"), alone=("WITH_GENERIC_TESTS",))
        _expect(not given[""] and len(given["NAME"]) == 1 and bool(given["SCRIPTS"]))
        self.modules[given["NAME"][0]] = "WITH_GENERIC_TESTS" in given
        for file in (*given["SCRIPTS"], *given["RESOURCES"]):
            self._add(SCRIPTED_MODULES / file, folder / file)

    def _unittest(self, values: list[str], folder: Path) -> None:
        script, name = values
        _expect(script == "SCRIPT" and (folder / name).is_file())
        self.tests.append(folder / name)

    def _subdirectory(self, values: list[str], folder: Path) -> None:
        before = dict(self._variables)
        (name,) = values
        self._read(folder / name)
        self._variables = before

    def _install(self, values: list[str], folder: Path) -> None:
        given = _keywords(values, many=("DIRECTORY", "FILES", "DESTINATION", "COMPONENT", "PATTERN"), alone=())
        excluded = []
        for pattern, exclude in zip(given["PATTERN"][::2], given["PATTERN"][1::2], strict=True):
            _expect(exclude == "EXCLUDE")
            excluded.append(pattern)
        (destination,) = given["DESTINATION"]
        _expect(not given[""] and given["COMPONENT"] == ["RuntimeLibraries"])
        for name in given["FILES"]:
            self._add(PurePosixPath(destination) / PurePosixPath(name).name, folder / name)
        for name in given["DIRECTORY"]:
            _expect((folder / name).is_dir() and not name.endswith("/"))
            for path in sorted(path for path in (folder / name).rglob("*") if path.is_file()):
                parts = path.relative_to(folder).parts
                if not any(fnmatchcase(part, pattern) for part in parts for pattern in excluded):
                    self._add(PurePosixPath(destination, *parts), path)

    def _add(self, where: PurePosixPath, source: Path) -> None:
        if not source.is_file():
            raise InputError(
                f"expected the file {source}, which CMakeLists.txt names, got none. Correct its name there."
            )
        if where in self.files:
            raise InputError(f"expected each file once, got {where} again. Name it in one CMakeLists.txt only.")
        self.files[where] = source


class _NotKnownError(Exception):
    """Arguments that the interpreter does not know."""


def _expect(fits: bool) -> None:
    if not fits:
        raise _NotKnownError


def _keywords(values: list[str], many: tuple[str, ...], alone: tuple[str, ...]) -> dict[str, list[str]]:
    """Arguments by the keyword before them, as ``cmake_parse_arguments`` sorts them; those before any under ``""``."""
    given: dict[str, list[str]] = {"": [], **{name: [] for name in many}}
    current = ""
    for value in values:
        if value in many:
            current = value
        elif value in alone:
            given[value] = []
            current = ""
        else:
            given[current].append(value)
    return given


def _unknown(folder: Path, command: Command, what: str) -> InputError:
    return InputError(
        f"expected commands that installed_files.py knows in {folder.name}/CMakeLists.txt, "
        f"got {command.name}({what}) in line {command.line}. Teach it to the interpreter, as Slicer does it."
    )
