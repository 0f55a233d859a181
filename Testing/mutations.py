"""``python -m Testing.mutations``: plants named one-line faults, one at a time; each must turn a test red.

A fault that no test notices is a hole in the tests. The faults are planted in a copy, never in the tree itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Testing.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    *("DenseLandmarks", "DenseLandmarksLib", "Testing", "training", "Resources"),
    *("CMakeLists.txt", "CITATION.cff", "pyproject.toml", "Makefile", "README.md", "LICENSE"),
)
LIMIT_S = 600


def plant(fault: Fault, root: Path) -> None:
    """Put the fault into a copy of the tree; raises ``ValueError`` where its line is not there exactly once."""
    path = root / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has the line {text.count(fault.right)} times, not once")
    path.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")


def copy_tree(folder: Path) -> Path:
    """A copy of all that the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run_tests(root: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Status of pytest over ``tests``, stopped at the first failure, and its last line."""
    environment = {
        **os.environ,
        "DENSELANDMARKS_DATA": os.environ.get("DENSELANDMARKS_DATA", str(ROOT.parent / "shared" / "data")),
    }
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=LIMIT_S
    )
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return run.returncode, (failed or run.stdout.splitlines() or [run.stderr])[-1]


def try_fault(fault: Fault) -> tuple[bool, str]:
    """Whether the tests notice the fault, and which one did."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        root = copy_tree(Path(folder))
        plant(fault, root)
        status, said = run_tests(root, fault.tests)
    # Status 1 is a failed test; anything else that is not 0 is a mistake of this command.
    if status not in (0, 1):
        raise RuntimeError(f"{fault.name}: pytest ended with {status}: {said}")
    return status == 1, said


def main() -> int:
    """Plant all faults, or those named; returns 1 if any goes unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m Testing.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant; all when none is named")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"expected names of faults, got {', '.join(sorted(unknown))}")
    faults = [fault for fault in FAULTS if not arguments.names or fault.name in arguments.names]
    # The same tests must be green without a fault, or red says nothing.
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        status, said = run_tests(copy_tree(Path(folder)), tuple(dict.fromkeys(t for f in faults for t in f.tests)))
    if status:
        print(f"expected green tests before any fault, got: {said}", file=sys.stderr)
        return 2
    unnoticed = 0
    started = time.perf_counter()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for fault, (noticed, said) in zip(faults, pool.map(try_fault, faults), strict=True):
            unnoticed += not noticed
            print(f"{'noticed  ' if noticed else 'UNNOTICED'}  {fault.name:<32}  {said}", flush=True)
    print(f"{len(faults) - unnoticed} of {len(faults)} faults noticed in {time.perf_counter() - started:.0f} s")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
