"""The Python packages that 3D Slicer 5.12 brings, and folders that hold chosen packages and what they need, and no other."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from Testing.test_bare_environment import link

# SuperBuild/External_python-*.cmake of Slicer v5.12.3.
BROUGHT_BY_SLICER = {
    "certifi": "2026.5.20",
    "cffi": "2.0.0",
    "chardet": "7.4.3",
    "charset-normalizer": "3.4.7",
    "couchdb": "1.2",
    "cryptography": "48.0.0",
    "dcmqi": "0.4.0",
    "deprecated": "1.3.1",
    "dicomweb-client": "0.61.0",
    "gitdb": "4.0.12",
    "gitpython": "3.1.50",
    "highdicom": "0.27.0",
    "idna": "3.16",
    "numpy": "2.4.6",
    "packaging": "26.2",
    "pillow": "12.2.0",
    "pip": "26.1.1",
    "pycparser": "3.0",
    "pydicom": "3.0.2",
    "pygithub": "2.9.1",
    "pyjpegls": "1.5.1",
    "pyjwt": "2.13.0",
    "pynacl": "1.6.2",
    "pyparsing": "3.3.2",
    "python-dateutil": "2.9.0.post0",
    "requests": "2.34.2",
    "retrying": "1.4.2",
    "scipy": "1.17.1",
    "setuptools": "82.0.1",
    "simpleitk": "2.5.5",
    "six": "1.17.0",
    "smmap": "5.0.3",
    "typing-extensions": "4.15.0",
    "urllib3": "2.7.0",
    "wheel": "0.47.0",
    "wrapt": "2.2.1",
}
# The PyTorch extension installs it.
TORCH = "torch"


def read_requirements(path: Path) -> list[Requirement]:
    """The lines of a requirements.txt as ``slicer.packaging.load_requirements`` reads them."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def with_what_they_need(names: set[str]) -> set[str]:
    """Names of packages and, as their metadata say, of all that pip installs with them; those not here are left out."""
    known: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        name = waiting.pop()
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        known.add(name)
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting |= {canonicalize_name(need.name)} - known
    return known


def link_packages(folder: Path, names: set[str]) -> Path:
    """Fill ``folder`` with links to the packages ``names`` and what they need, as they are installed here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(with_what_they_need(names)):
        link(folder, name)
    return folder
