"""Pictures of a view on their way to the browser, one at a time, and the mouse on its way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from trame_rca.encoders import RcaImageEncoder
from trame_rca.utils import RcaViewAdapter

logger = logging.getLogger(__name__)

# JPEG quality while something moves, and once it is still for so long.
_MOVING, _STILL, _STILL_AFTER_S = 60, 92, 0.25
_SHORTEST_S = 1 / 30
_MOST_PIXELS, _LONGEST_SIDE = 2_500_000, 8192
# A browser that never says that it showed a picture, as it was closed meanwhile, holds up nothing for longer than this.
_GIVEN_UP_S = 0.5


class OnePicture:
    """Draws a view when something changed, never while the browser has not shown the picture before.

    It stands where trame-rca has its schedulers.

    Attributes
    ----------
    rca : the window that is drawn.
    is_in_sight : a view that nobody sees is not drawn.
    drawn : how many pictures were made.
    """

    def __init__(self, window: Any, catch_up: Callable[[], None]) -> None:
        """``catch_up`` is called before each picture: it does what came in meanwhile."""
        self.rca, self.target_fps, self.is_in_sight, self.drawn = window, 30.0, True, 0
        self._catch_up = catch_up
        self._is_wanted = False
        self._pixels = np.zeros((0, 0, 3), np.uint8)  # of the last picture
        self._woken, self._seen = asyncio.Event(), asyncio.Event()
        self._encoder = RcaImageEncoder.TURBO_JPEG
        self._push: Callable[[bytes, dict[str, Any]], None] | None = None

    def set_push_callback(self, push: Callable[[bytes, dict[str, Any]], None]) -> None:
        """Where pictures go."""
        self._push = push

    def schedule_render(self) -> None:
        """Something changed: a picture is wanted."""
        self._is_wanted = True
        self._woken.set()

    def wake(self) -> None:
        """Something came in that may change what is seen."""
        self._woken.set()

    def seen(self) -> None:
        """The browser shows the last picture."""
        self._seen.set()

    def reset(self) -> None:
        """A browser came: it has no picture yet."""
        self.schedule_render()

    async def close(self) -> None:
        """Nothing is kept."""

    async def run(self) -> None:
        """Draw for as long as the program runs."""
        is_sharp = True
        while True:
            quality = _MOVING
            try:
                await asyncio.wait_for(self._woken.wait(), None if is_sharp else _STILL_AFTER_S)
            except TimeoutError:
                quality = _STILL
            try:
                self._woken.clear()
                self._catch_up()
                if not self.is_in_sight:
                    is_sharp = True  # when it is seen again somebody wants a picture of it
                    continue
                if not (self._is_wanted or quality == _STILL):
                    continue
                await self._send(quality)
                is_sharp = quality == _STILL
            except Exception:  # the next picture may be drawn again; without this loop none would
                logger.exception("a picture could not be drawn")
                is_sharp = True

    async def _send(self, quality: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._is_wanted:  # else it is the same, to be sent sharp
            self._is_wanted = False
            self._pixels, *_ = self.rca.img_cols_rows
        pixels = self._pixels
        height, width = pixels.shape[:2]
        picture, about, _ = await loop.run_in_executor(None, self._encoder.encode, pixels, width, height, quality)
        self.drawn += 1
        self._seen.clear()
        if self._push is not None:
            self._push(picture, about)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._seen.wait(), _GIVEN_UP_S)
        await asyncio.sleep(max(0.0, _SHORTEST_S - (loop.time() - began)))


class Area(RcaViewAdapter):
    """The part of the page that shows a view: of many moves of the mouse the newest counts."""

    def __init__(self, window: Any, name: str, scheduler: OnePicture) -> None:
        super().__init__(window, name, scheduler=scheduler, do_schedule_render_on_interaction=False)
        # A view on a screen of many small pixels is drawn coarser: a drag goes before sharpness.
        self.max_pixel_count = _MOST_PIXELS
        self.wheel_zooms = False
        self.before_resize: Callable[[], bool] = lambda: False
        self.after_resize: Callable[[], None] = lambda: None
        self.after_release: Callable[[], None] = lambda: None
        self._move: dict[str, Any] | None = None

    def update_size(self, origin: Any, size: dict[str, Any]) -> None:
        """The browser gave the view another size; an image that filled the view fills it again."""
        was_fitted = self.before_resize()
        width, height = (min(_LONGEST_SIDE, int(size[key])) for key in ("w", "h"))
        super().update_size(origin, {"w": width, "h": height, "p": min(4, max(1, size.get("p", 1)))})
        if was_fitted:
            self.after_resize()

    def on_interaction(self, origin: Any, event: dict[str, Any]) -> None:
        """The mouse did something in the view."""
        kind = str(event.get("type", ""))
        if kind.lower().startswith("key"):
            return  # the page's own shortcuts are all; a key that is typed into a field is heard here too
        if kind == "MouseMove":
            self._move = event
            self._scheduler.wake()
            return
        self.catch_up()
        if "MouseWheel" in kind and self.wheel_zooms:
            event = {**event, "ctrlKey": 1}  # with it Slicer's wheel zooms; there is no other slice to go to
        super().on_interaction(origin, event)
        if "Release" in kind:
            self.after_release()  # else a drag that follows at once would be one with this
        self._scheduler.wake()

    def catch_up(self) -> None:
        """Have the view know where the mouse is."""
        move, self._move = self._move, None
        if move is not None:
            super().on_interaction("", move)
