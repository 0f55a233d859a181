"""How processes are started from 3D Slicer: by PythonSlicer, the interpreter that brings Slicer's packages along."""

from __future__ import annotations

import shutil

from slicer.i18n import tr as _

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.worker.launch import SERVER, Launch


def slicer_launch(module: str = SERVER) -> Launch:
    """The command and environment of the worker, or of another module; raises :class:`InputError` without PythonSlicer.

    Slicer puts PythonSlicer on its own PATH, and runs it with its own environment (``executePythonModule`` in Slicer's
    ``slicer/util.py``): PythonSlicer sets what it needs anyway, and an environment without Slicer's values
    (``startupEnvironment``) would lack what the user set under a name that Slicer sets, too, such as a proxy's
    certificates.
    """
    python = shutil.which("PythonSlicer")
    if python is None:
        raise InputError(
            _(
                "expected PythonSlicer, which comes with 3D Slicer, on the PATH of the application, found none. "
                "Install 3D Slicer again from its own package, and start it by its own icon."
            )
        )
    return Launch.with_interpreter(python, module=module)
