"""An installed extension, and packages as a person who has just installed it has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.extension.lay_out import ROOT, Layout, lay_out
from Testing.extension.slicer_packages import BROUGHT_BY_SLICER, TORCH, link_packages, read_requirements


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """This tree, laid out as Slicer installs it, in a folder that is named as people name theirs."""
    return lay_out(tmp_path_factory.mktemp("extension") / "Slicer 5.12 ä" / "DenseLandmarks")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Slicer brings, torch, what requirements.txt names, and what pip installs with these; nothing else."""
    required = {one.name for one in read_requirements(ROOT / "Resources" / "requirements.txt")}
    return link_packages(tmp_path_factory.mktemp("packages"), {*BROUGHT_BY_SLICER, TORCH, *required})
