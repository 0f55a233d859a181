"""The module opens from both places that Slicer may find it in: installed, and dragged in from a source tree."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from Testing.extension.lay_out import ROOT, Layout
from Testing.host.conftest import MISSING

CHILD = Path(__file__).with_name("open_module.py")


@pytest.mark.parametrize("kind", ["installed", "source tree"])
def test_the_module_finds_its_library_and_its_form(kind: str, layout: Layout, tmp_path: Path) -> None:
    if MISSING:
        pytest.skip(f"the stand-in for Slicer's Qt side cannot run: {MISSING}")
    folder, root = (
        (layout.scripted_modules, layout.scripted_modules) if kind == "installed" else (ROOT / "DenseLandmarks", ROOT)
    )
    testing = tmp_path / "testing"
    testing.mkdir()
    (testing / "Testing").symlink_to(ROOT / "Testing", target_is_directory=True)
    command = [sys.executable, "-I", "-S", str(CHILD), str(folder), str(testing), sysconfig.get_path("purelib")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert Path(told["library"]) == root / "DenseLandmarksLib" / "__init__.py"
    assert Path(told["ui"]) == root / "Resources" / "UI" / "DenseLandmarks.ui"
    assert told["seen"] == ["DenseLandmarksLib"]
    assert str(ROOT) not in told["path"]
