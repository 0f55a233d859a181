"""The installed extension works by itself: no source tree, and no package but those that a person is asked to install."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from Testing.extension.child import STEPS
from Testing.extension.lay_out import ROOT, Layout
from Testing.extension.slicer_packages import BROUGHT_BY_SLICER, TORCH, read_requirements, with_what_they_need
from Testing.test_architecture import files_of, imports_of

CHILD = Path(__file__).with_name("child.py")
REQUIREMENTS = ROOT / "Resources" / "requirements.txt"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
# The pictures of the command line.
COMMAND_LINE_ONLY = {"matplotlib"}


def run_step(name: str, layout: Layout, packages: Path, folder: Path) -> dict[str, Any]:
    assert name in STEPS
    modules = layout.scripted_modules
    image = modules / "Resources" / "SampleData" / "chest-phantom.nrrd"
    # Isolated and without site, so that the editable installation of this tree is not there.
    command = [sys.executable, "-I", "-S", str(CHILD), name, str(modules), str(packages), str(image)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_it_predicts_with_what_slicer_brings_torch_and_the_requirements(
    layout: Layout, packages: Path, tmp_path: Path
) -> None:
    told = run_step("predict", layout, packages, tmp_path)
    assert (told["landmarks"], told["doubts"]) == (166, [])
    assert told["library_files"] > 50
    assert told["from_elsewhere"] == []


def test_it_retrains_with_the_same_packages(layout: Layout, packages: Path, tmp_path: Path) -> None:
    told = run_step("retrain", layout, packages, tmp_path)
    assert told["phase"] == "done", told["log"]
    assert told["from_elsewhere"] == []


def test_the_command_line_of_an_installed_extension_knows_the_shipped_models(layout: Layout, tmp_path: Path) -> None:
    told = run_step("command_line", layout, SITE_PACKAGES, tmp_path)
    assert told["status"] == 0
    assert "chest-xray" in told["models"]
    assert told["from_elsewhere"] == []


def test_the_packages_of_the_test_are_not_simply_all(packages: Path) -> None:
    there = {path.name for path in packages.iterdir()}
    assert {"torch", "monai", "safetensors", "contourpy", "numpy"} <= there
    assert not there & {"matplotlib", "tensorboard", "skimage", "pytest", "vtkmodules", "DenseLandmarksLib"}


@pytest.mark.parametrize("with_share", [True, False])
def test_only_a_child_that_gets_the_share_folder_can_train(with_share: bool, layout: Layout, tmp_path: Path) -> None:
    path = [str(layout.scripted_modules), str(SITE_PACKAGES)]
    code = f"import sys; sys.path[:0] = {[*([str(layout.share)] if with_share else []), *path]!r}; import training.recipe; print(training.__file__)"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    if with_share:
        assert Path(run.stdout.strip()).parent == layout.share / "training", run.stderr
    else:
        assert "No module named 'training'" in run.stderr


# ---- what people are asked to install -------------------------------------------------------------------------------------


def dependencies() -> dict[str, Requirement]:
    """What the library needs, by name, as pyproject.toml says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {canonicalize_name(one.name): one for one in map(Requirement, project["dependencies"])}


def test_each_dependency_comes_with_slicer_or_is_asked_for() -> None:
    asked: dict[str, Requirement] = {canonicalize_name(one.name): one for one in read_requirements(REQUIREMENTS)}
    for name, dependency in dependencies().items():
        if name in BROUGHT_BY_SLICER:
            assert dependency.specifier.contains(BROUGHT_BY_SLICER[name]), f"Slicer 5.12's {name} is too old for us"
            assert name not in asked, f"Slicer brings {name}: a person would be asked for nothing"
        elif name != TORCH and name not in COMMAND_LINE_ONLY:
            assert asked.pop(name).specifier == dependency.specifier
    assert not asked, "pyproject.toml does not know these"


@pytest.mark.parametrize("requirement", read_requirements(REQUIREMENTS), ids=str)
def test_nothing_is_asked_for_that_is_not_imported(requirement: Requirement) -> None:
    importing = [
        path
        for room in ("DenseLandmarksLib", "training")
        for path in files_of(room)
        if any(m.split(".")[0] == requirement.name for m in imports_of(path))
    ]
    assert [path for path in importing if not path.name.startswith("cli")]


def test_the_requirements_are_as_slicer_wants_them() -> None:
    """A lower bound each, a reason in the line before, no torch, and nothing that Slicer would drop or refuse."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("#"):
            continue
        assert before.startswith("#")
        (bound,) = Requirement(line).specifier
        assert bound.operator == ">="
        assert line == f"{Requirement(line).name}>={bound.version}"
        assert Requirement(line).name != TORCH


def test_installing_them_takes_nothing_along_that_slicer_has_in_another_way() -> None:
    """Only what is small and new to Slicer comes with the requirements, besides torch and what torch needs."""
    asked = {one.name for one in read_requirements(REQUIREMENTS)}
    assert with_what_they_need(asked) - with_what_they_need({TORCH}) - set(BROUGHT_BY_SLICER) == asked
