"""What a child process of ours is started with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from DenseLandmarksLib.worker.launch import ROOT, SERVER, TRAINING, Launch
from Testing.extension.installed_files import SCRIPTED_MODULES, SHARE


def test_the_module_is_an_argument_and_the_worker_is_the_default() -> None:
    assert Launch.with_interpreter("python").command == ("python", "-P", "-m", SERVER)
    launch = Launch.with_interpreter("python", {"PYTHONPATH": "of Slicer"}, module=TRAINING)
    assert launch.command == ("python", "-P", "-m", TRAINING)
    assert launch.environment == {"PYTHONPATH": os.pathsep.join((str(ROOT), "of Slicer"))}


def test_the_training_half_of_an_installed_extension_is_found_where_only_children_see_it(tmp_path: Path) -> None:
    modules, share = tmp_path / SCRIPTED_MODULES, tmp_path / SHARE / "DenseLandmarks"
    (modules / "DenseLandmarksLib" / "worker").mkdir(parents=True)
    (share / "training").mkdir(parents=True)
    for name in ("__init__.py", "worker/__init__.py", "worker/launch.py"):
        shutil.copyfile(ROOT / "DenseLandmarksLib" / name, modules / "DenseLandmarksLib" / name)
    (share / "training" / "__init__.py").touch()
    (share / "training" / "__main__.py").write_text("import sys; print(__file__, *sys.argv[1:])")
    code = (
        "import subprocess; from DenseLandmarksLib.worker.launch import *; one = Launch.with_interpreter(module=TRAINING); "
        "print(subprocess.run([*one.command, 'finetune'], env=one.environment, capture_output=True, text=True).stdout)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=modules, env={"PYTHONPATH": str(modules)}, capture_output=True, text=True
    )
    assert run.stdout.split() == [str(share / "training" / "__main__.py"), "finetune"], run.stderr
