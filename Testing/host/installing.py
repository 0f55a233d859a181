"""``slicer.packaging`` and the PyTorch extension, with the outcome that a test wants; nothing is ever installed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from Testing.host import dialogs

_version = metadata.version
OUTCOMES = ("installed", "declined", "offline", "restart")


@dataclass
class Installing:
    """What happens when packages are wanted, and what was wanted.

    Attributes
    ----------
    outcome : "installed"; "declined" (RuntimeError); "offline" (pip fails: Slicer shows a dialog of kind "error" where it
        showed progress, then raises subprocess.CalledProcessError); "restart" (installed, with a new version of
        ``in_use``, and the person is asked, with kind "yesNo", whether to start again).
    versions : of packages, instead of what this Python has; None means that it is missing. ``importlib.metadata.version``
        says so too.
    in_use : a package that this process has imported.
    calls : what was asked of pip_ensure and installTorch, with the text of the constraints file.
    in_progress : what isPipInstallInProgress answers.
    """

    outcome: str = "installed"
    versions: dict[str, str | None] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    in_progress: bool = False
    satisfied: set[str] = field(default_factory=set)
    in_use: str = "packaging"

    def version(self, name: str) -> str:
        """As ``importlib.metadata.version``, but for ``versions``."""
        if name not in self.versions:
            return _version(name)
        version = self.versions[name]
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version


class Packaging:
    """The functions of ``slicer.packaging`` that the panel uses, with Slicer's rules."""

    def __init__(self, installing: Installing, person: dialogs.Dialogs) -> None:
        self._installing, self._person = installing, person

    def load_requirements(self, path: str | Path) -> list[Requirement]:
        """A line is a requirement, or empty, or starts with ``#`` or ``-``; an inline comment raises."""
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]

    def pip_check(self, requirements: Any) -> bool:
        return all(self._is_there(one) for one in _requirements(requirements))

    def _is_there(self, requirement: Requirement) -> bool:
        if requirement.marker is not None and not requirement.marker.evaluate():
            return True
        if str(requirement) in self._installing.satisfied:
            return True
        try:
            return self._installing.version(requirement.name) in requirement.specifier
        except metadata.PackageNotFoundError:
            return False

    def isPipInstallInProgress(self) -> bool:  # noqa: N802
        return self._installing.in_progress

    def pip_ensure(
        self,
        requirements: Any,
        constraints: str | Path | None = None,
        skip_packages: list[str] | None = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: str | None = None,
        skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> list[str] | None:
        missing = [one for one in _requirements(requirements) if not self._is_there(one)]
        if not missing or (skip_in_testing and self._person.testing):
            return None
        text = Path(constraints).read_text(encoding="utf-8") if constraints is not None else None
        self._installing.calls.append(
            {"requirements": [str(one) for one in missing], "constraints": text, "requester": requester}
        )
        if self._installing.outcome == "declined" and prompt_install:
            raise RuntimeError("User declined package installation")
        if self._installing.outcome == "offline":
            if show_progress and not self._person.testing:
                self._person.ask("error", "Package installation failed.")
            raise subprocess.CalledProcessError(1, "pip install")
        self._installing.satisfied |= {str(one) for one in missing}
        if self._installing.outcome == "restart":
            self._installing.versions[self._installing.in_use] = "999"
            if prompt_restart and not self._person.testing and self._person.ask("yesNo", "Restart Recommended"):
                self._person.recorded.restarts += 1
        return [] if skip_packages else None


def _requirements(given: Any) -> list[Requirement]:
    if isinstance(given, Requirement):
        return [given]
    many = given.split() if isinstance(given, str) else given
    return [one if isinstance(one, Requirement) else Requirement(one) for one in many]


def pytorch_logic(installing: Installing) -> type:
    """The class ``PyTorchUtilsLogic`` of the PyTorch extension."""

    class PyTorchUtilsLogic:
        def installTorch(  # noqa: N802
            self,
            askConfirmation: bool = False,  # noqa: N803
            forceComputationBackend: str | None = None,  # noqa: N803
            torchVersionRequirement: str | None = None,  # noqa: N803
            torchvisionVersionRequirement: str | None = None,  # noqa: N803
        ) -> Any:
            installing.calls.append({"torch": torchVersionRequirement, "askConfirmation": askConfirmation})
            if installing.outcome == "declined":
                return None
            if installing.outcome == "offline":
                raise subprocess.CalledProcessError(1, "pip install torch")
            wanted = (torchVersionRequirement or ">=2.0").lstrip("><=~!")
            installing.versions["torch"] = wanted.split(",")[0]
            return object()  # Slicer returns the module, and has imported it

    return PyTorchUtilsLogic


def write_python_slicer(folder: Path) -> None:
    """Slicer's launcher of its own Python, which its PATH leads to; here it starts the Python that runs."""
    folder.mkdir()
    launcher = folder / "PythonSlicer"
    # One thread: tests leave the other cores to others.
    launcher.write_text(f'#!/bin/sh\nOMP_NUM_THREADS=1 exec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
