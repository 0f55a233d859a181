"""One person's work in their browser: a page that shows the workbench and forwards to it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from trame_slicer.core import SlicerApp

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.downloads import Downloads
from DenseLandmarksLib.web.image_section import ImageSection
from DenseLandmarksLib.web.landmark_section import LandmarkSection
from DenseLandmarksLib.web.model_section import ModelSection
from DenseLandmarksLib.web.notice import Notice
from DenseLandmarksLib.web.page import draw_page
from DenseLandmarksLib.web.predict_section import PredictSection
from DenseLandmarksLib.web.retrain_section import RetrainSection
from DenseLandmarksLib.web.save_section import SaveSection
from DenseLandmarksLib.web.state import Frame
from DenseLandmarksLib.web.views import Views

logger = logging.getLogger(__name__)

# A prediction is taken at this pace; a drag is followed with each picture as well.
TICK_S = 0.025
# Clocks on the page go at this pace.
_CLOCK_TICKS = 8


class BrowserApp:
    """The page of one server. All that there is stays here when a browser goes: any browser that comes sees it again."""

    def __init__(self, server: Any, app: SlicerApp, bench: Workbench, downloads: Downloads) -> None:
        """``app`` has the scene that ``bench`` works in; it draws and ticks from when ``server`` is ready."""
        self.bench, self.views = bench, Views(server, app, self._catch_up)
        self.frame = frame = Frame(server, bench, self.views, downloads)
        self.notice, self.image = Notice(frame), ImageSection(frame, app.scene)
        self.model, self.predict = ModelSection(frame), PredictSection(frame, self.image.side)
        self.landmarks, self.save = LandmarkSection(frame), SaveSection(frame)
        before = (self.image, self.model, self.predict, self.landmarks, self.save)
        sections = (*before, RetrainSection(frame, len(before)))
        frame.sections = (*sections, self.notice)
        self._shown: object = None
        self._ticking: asyncio.Task[None] | None = None
        draw_page(server, self.notice, sections, self.views)
        self.show()
        server.controller.on_server_ready.add(self._start)

    def tick(self) -> None:
        """Do what came up since the last time."""
        self.bench.poll()
        for section in (self.model, self.save):
            try:
                section.tick()
            except InputError as error:
                self.bench.tell(str(error))
        if self._now() != self._shown:
            self.show()

    def show(self) -> None:
        """Have the browser show what the workbench says now."""
        case = self.bench.case
        self.views.show(None if case is None else case.image.volume)
        self.frame.refresh()
        self._shown = self._now()

    def close(self) -> None:
        """End what runs beside the server; the workbench stays as it is."""
        if self._ticking is not None:
            self._ticking.cancel()
        self.image.ruler.remove()
        self.views.close()

    def _now(self) -> object:
        case = self.bench.case
        return self.bench.version, case, None if case is None else (case.chosen, case.placing), self.image.ruler.now()

    def _catch_up(self) -> None:
        """Before a picture: what the mouse did is done to the case, and what comes along with a drag is seen."""
        self.bench.desk.poll()

    def _start(self, **_: Any) -> None:
        self.views.start()
        self._ticking = asyncio.get_running_loop().create_task(self._tick_for_ever())

    async def _tick_for_ever(self) -> None:
        ticks = 0
        while True:
            try:
                self.tick()
                ticks += 1
                if ticks % _CLOCK_TICKS == 0 and (self.bench.predicting.is_under_way or self.model.is_checking):
                    self.frame.refresh()
            except Exception:  # the next tick may go well; without any nothing would be saved or shown
                logger.exception("a tick failed")
            await asyncio.sleep(TICK_S)
