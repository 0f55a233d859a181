"""Which packages the worker's Python has, looked up without importing any: it works where they are missing."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path

from DenseLandmarksLib import __version__
from DenseLandmarksLib.models.family import FAMILIES, FIRST_FAMILY

# What only the worker imports; the rest a window needs as well.
NETWORK_PACKAGES = ("torch", "monai", "safetensors")
PACKAGES = (*NETWORK_PACKAGES, "numpy", "scipy", "SimpleITK", "pydicom")
# Ours: what answers, and a predictor, which else would be imported with the first model, and fail there.
OURS = (FAMILIES[FIRST_FAMILY].predictor_module, "DenseLandmarksLib.worker.server_answers")
INSTALL = "Install what is missing; in 3D Slicer, Predict offers to."
INSTALL_AGAIN = "Remove it and install it again; in 3D Slicer, with the module PyTorch Utils."


def version_lines() -> list[str]:
    """Our own version, the system, Python and where it is, and the packages, one line each."""
    lines = [
        f"DenseLandmarks {__version__}",
        platform.platform(),
        f"Python {platform.python_version()} ({_without_home(sys.executable)})",
    ]
    for name in PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            there = importlib.util.find_spec(name) is not None
            lines.append(f"{name}: {'there, of an unknown version' if there else 'missing'}")
    return lines


def missing_or_broken() -> str:
    """Import what runs networks; why that does not work, one line with what to do, or nothing."""
    python = f"the worker's Python {platform.python_version()}"
    missing = [name for name in NETWORK_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return f"expected {_listed(missing)} in {python}, found none. {INSTALL}"
    for name in (*NETWORK_PACKAGES, *OURS):
        what = "torch and monai that fit each other" if name in OURS else name
        try:
            if getattr(import_module(name), "__file__", None) is None:
                # What is left of a package that was removed while it was in use.
                raise ImportError(f"a folder {name} without the package")
        except ModuleNotFoundError as error:
            needed = (error.name or name).split(".")[0]
            return f"expected {needed}, which {what} needs, in {python}, found none. {INSTALL}"
        except Exception as error:  # such as OSError: a library of the system or of CUDA that does not fit
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return f"expected {what} in {python}, got {said}. {INSTALL_AGAIN}"
    return ""


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _without_home(path: str) -> str:
    """A path without the name of the user that its home has."""
    try:
        return str(Path("~") / Path(path).relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return path
