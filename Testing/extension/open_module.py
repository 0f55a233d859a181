"""Open the module as Slicer does where no other code of ours is on the path; run in a process of its own.

``python -I -S open_module.py FOLDER TESTING PACKAGES``: FOLDER holds DenseLandmarks.py, TESTING nothing but the stand-in for
Slicer. Says a line of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path


def main(folder: Path, testing: str, packages: str) -> dict[str, object]:
    """Make the panel, close the scene under it, close it; what was seen from where."""
    sys.path[:0] = [testing, packages]
    from Testing.host import session

    with session() as host:
        panel = host.create_widget(folder, "DenseLandmarks")
        # What any other extension can import from now on. Testing is ours here, for the stand-in's sake.
        seen = [name for name in ("DenseLandmarksLib", "training") if importlib.util.find_spec(name) is not None]
        host.scene.Clear(False)
        host.process()
        ui = panel.resourcePath("UI/DenseLandmarks.ui")
        library = str(sys.modules["DenseLandmarksLib"].__file__)
        path = [entry for entry in sys.path if entry not in (testing, packages)]
    return {"seen": seen, "library": library, "ui": ui, "path": path}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])) + "\n")
