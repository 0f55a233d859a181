"""The smallest page that there is: one button, and what came of it."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.downloads import Downloads


class SmallPage:
    """Built with trame's own HTML, so that nothing but the server is under test."""

    def __init__(self, server: Any, bench: Workbench, downloads: Downloads) -> None:
        from trame.ui.html import DivLayout
        from trame.widgets import html

        self.clicks = 0
        self.downloads = downloads
        server.state.told = "nothing yet"
        server.trigger("click")(self._click)
        with DivLayout(server):
            html.Button("Click", click="trigger('click')", id="button")
            html.P("{{ told }}", id="told")
        self._server = server

    def _click(self) -> int:
        self.clicks += 1
        self._server.state.told = f"clicked {self.clicks} times"
        return self.clicks

    def close(self) -> None:
        """Nothing runs beside."""
