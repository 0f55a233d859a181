"""A window opens and works with what Slicer already has: numpy, scipy, SimpleITK and pydicom, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from Testing.bare_environment import ABSENT, PRESENT, STEPS

ROOT = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("bare_environment.py")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to the four packages as they are installed, their libraries and metadata, and no other."""
    folder = tmp_path_factory.mktemp("packages")
    for name in PRESENT:
        installed = distribution(name)
        top = {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}
        assert name in top
        for entry in sorted(top):
            (folder / entry).symlink_to(Path(str(installed.locate_file(entry))))
    return folder


def run_step(packages: Path, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Isolated and without site: no packages but those of the folder, no user's paths, no environment variables.
    command = [sys.executable, "-I", "-S", str(CHILD), str(ROOT), str(packages), name, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", STEPS)
def test_without_other_packages(name: str, packages: Path, tmp_path: Path) -> None:
    run = run_step(packages, name, tmp_path)
    assert run.returncode == 0, run.stderr


def test_the_packages_that_must_not_be_needed_are_known_here() -> None:
    """Or the child would not find them for the wrong reason: a name that is spelt otherwise."""
    import importlib.util

    known = {name for name in ABSENT if importlib.util.find_spec(name) is not None}
    assert {"torch", "PIL", "contourpy", "safetensors", "matplotlib", "pytest"} <= known


def test_a_step_that_needs_more_would_fail(packages: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(packages)!r}]; import numpy, SimpleITK; import PIL"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'PIL'" in run.stderr
