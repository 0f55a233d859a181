"""What all sections of the page share: the workbench, what the person chose in the page, and how both reach the browser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from math import isfinite
from typing import Any, Protocol

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.versions import model_names
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.downloads import Downloads
from DenseLandmarksLib.web.views import Views

logger = logging.getLogger(__name__)

Choice = tuple[str, str]
"""A value, and how people read it."""

DEVICES: tuple[Choice, ...] = (("auto", "Automatic"), ("cpu", "Processor"), ("cuda", "Graphics card"))
ORDERS: tuple[Choice, ...] = (("doubt", "Most doubtful"), ("order", "By name"), ("random", "At random"))
SHOWN: tuple[Choice, ...] = (
    ("all", "All"),
    ("left", "Not decided"),
    ("decided", "Decided"),
    ("absent", "Absent"),
)
SCOPES: tuple[Choice, ...] = (("case", "This case"), ("library", "All saved cases of the library"))
FORMATS: tuple[Choice, ...] = (
    ("mrk.json", "Markups (.mrk.json)"),
    ("csv", "Table (.csv)"),
    ("coco", "COCO keypoints"),
    ("seg.nrrd", "Structures (.seg.nrrd)"),
    ("datalist", "Training data (MONAI datalist)"),
)
# What a person chooses in the page, and what it is at first. The browser says it; see Frame.chosen.
WISHES: dict[str, Any] = {
    "model": "chest-xray",
    "device": "auto",
    "case_order": "doubt",
    "filter": "",
    "shown": "all",
    "go_on": True,
    "close_up": 0.3,
    "ellipses": True,
    "names": False,
    "new_name": "",
    "new_structure": "",
    "why": "",
    "export_scope": "case",
    "export_format": "mrk.json",
    "reviewed_only": False,
}
_ALLOWED: dict[str, tuple[Choice, ...]] = {
    "device": DEVICES,
    "case_order": ORDERS,
    "shown": SHOWN,
    "export_scope": SCOPES,
    "export_format": FORMATS,
}


class Section(Protocol):
    """A part of the page."""

    def shown(self) -> dict[str, Any]:
        """What the browser is to show of the workbench now, flat; cheap."""

    def draw(self) -> None:
        """The page's part, drawn once."""


class Frame:
    """What is behind the page.

    Attributes
    ----------
    bench : the person's work; every section shows it and forwards to it.
    views : where images are looked at.
    sections : from top to bottom.
    downloads : takes files that the browser may fetch.
    """

    def __init__(self, server: Any, bench: Workbench, views: Views, downloads: Downloads) -> None:
        self.server, self.bench, self.views, self.downloads = server, bench, views, downloads
        self.sections: tuple[Section, ...] = ()
        self._sent: dict[str, Any] = {}
        server.state.update(WISHES)
        server.state.change(*WISHES)(lambda **_: self.refresh())

    def command(self, name: str, handler: Callable[..., object]) -> None:
        """Have the page do ``trigger('name', [...])``; what is raised as :class:`InputError` is told in one line."""

        @wraps(handler)
        def guarded(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except InputError as error:
                self.bench.tell(str(error))
            except Exception as error:
                self.bench.tell(f"A mistake of this program: {type(error).__name__}: {error}. Its log says more.")
                logger.exception("%s", name)
            finally:
                self.refresh()

        self.server.controller.trigger(name)(guarded)

    def chosen(self, name: str) -> Any:
        """What the person chose; what no page of ours could have sent is what it is at first."""
        said, at_first = self.server.state[name], WISHES[name]
        if name == "model":
            return said if said in model_names() else at_first
        if name in _ALLOWED:
            return said if said in [value for value, _ in _ALLOWED[name]] else at_first
        if isinstance(at_first, float):
            return float(said) if isinstance(said, (int, float)) and isfinite(said) else at_first
        return said if isinstance(said, type(at_first)) else at_first

    def choose(self, **wishes: Any) -> None:
        """Have something else chosen in the page."""
        self._send(wishes)

    def refresh(self) -> None:
        """Have the browser show what the workbench says now; what it shows already is not sent again."""
        now: dict[str, Any] = {}
        for section in self.sections:
            now |= section.shown()
        self._send({name: value for name, value in now.items() if self._is_news(name, value)})
        self._sent.update(now)

    def _is_news(self, name: str, value: Any) -> bool:
        return name not in self._sent or self._sent[name] != value

    def _send(self, values: Mapping[str, Any]) -> None:
        if values:
            with self.server.state as state:
                state.update(values)


def items(choices: tuple[Choice, ...]) -> list[dict[str, str]]:
    """Choices as the page's lists take them."""
    return [{"value": value, "title": title} for value, title in choices]
