"""From an empty scene to a page: the parts of the browser front end, put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trame_slicer.core import SlicerApp
from vtkmodules.vtkCommonCore import vtkObject

from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.app import BrowserApp
from DenseLandmarksLib.web.downloads import Downloads
from DenseLandmarksLib.web.serve import MakePage

logger = logging.getLogger(__name__)


def new_bench(who: str) -> tuple[SlicerApp, Workbench]:
    """Slicer's scene and logic without its window, and a workbench in that scene."""
    with _without_warnings():
        app = SlicerApp()
        return app, Workbench(app.scene, who, logger.info)


def page_on(app: SlicerApp) -> MakePage:
    """What makes the page of a workbench in the scene of ``app``."""

    def make(server: Any, bench: Workbench, downloads: Downloads) -> BrowserApp:
        with _without_warnings():
            return BrowserApp(server, app, bench, downloads)

    return make


@contextmanager
def _without_warnings() -> Iterator[None]:
    """VTK tells the terminal about windows that a server does not have."""
    shown = vtkObject.GetGlobalWarningDisplay()
    vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtkObject.SetGlobalWarningDisplay(shown)
