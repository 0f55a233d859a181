"""The module's own test in the real application, with pictures of what a person sees after each step::

    Slicer --no-splash --testing --additional-module-paths DenseLandmarks --python-script Testing/slicer_self_test.py

Run it in the root of the source tree, or give ``--additional-module-paths`` the folder of an installed extension's modules.
The packages must be installed: open the module and press Predict once. Pictures and a report go to the folder
``slicer-self-test`` in the current one, the exit status is 0 where all steps hold. The scene that is open is closed.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from importlib import metadata
from pathlib import Path

FOLDER = Path("slicer-self-test")
PACKAGES = ("numpy", "scipy", "SimpleITK", "pydicom", "torch", "monai", "safetensors")


def versions() -> list[str]:
    """What this was run with."""
    import slicer

    lines = [
        f"{slicer.app.applicationName} {slicer.app.majorVersion}.{slicer.app.minorVersion} {slicer.app.revision}",
        f"Python {platform.python_version()} on {platform.platform()}",
    ]
    for name in PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return lines


def run(folder: Path = FOLDER) -> int:
    """Run all steps; writes ``report.txt`` and a numbered PNG for each step into ``folder``. Returns the exit status."""
    import slicer

    from DenseLandmarksLib.panel.self_test import SelfTest

    folder.mkdir(parents=True, exist_ok=True)
    report, status = versions(), 0

    def seen(step: str) -> None:
        number = sum(line.startswith("holds: ") for line in report) + 1
        report.append(f"holds: {step}")
        slicer.app.processEvents()
        slicer.util.mainWindow().grab().save(str(folder / f"{number:02d}-{step.replace(' ', '-')}.png"))

    with tempfile.TemporaryDirectory() as kept:
        try:
            SelfTest(Path(kept), seen).run()
        except Exception:  # whatever went wrong is for the person who reads the report
            report.append(traceback.format_exc())
            status = 1
    text = "\n".join(report) + "\n"
    (folder / "report.txt").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return status


if __name__ == "__main__":
    import slicer

    slicer.util.exit(run())
