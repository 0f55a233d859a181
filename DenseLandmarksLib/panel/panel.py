"""The whole panel: its sections, the timer that keeps them up to date, and the scene's life around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.image_section import ImageSection
from DenseLandmarksLib.panel.landmark_section import LandmarkSection
from DenseLandmarksLib.panel.model_section import ModelSection
from DenseLandmarksLib.panel.notice import Notice
from DenseLandmarksLib.panel.predict_section import PredictSection
from DenseLandmarksLib.panel.save_section import SaveSection
from DenseLandmarksLib.panel.settings import Settings
from DenseLandmarksLib.panel.slicer_worker import slicer_launch
from DenseLandmarksLib.panel.views import show_image
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.worker.client import Worker

# A drag is followed, a prediction taken, at this pace; nothing to do takes microseconds.
TICK_MS = 25
STATUS_LINE_MS = 8000


class Section(Protocol):
    """A part of the panel."""

    def refresh(self) -> None:
        """Show what the workbench says now."""

    def tick(self) -> None:
        """Some hundredths of a second went by while the panel is open."""

    def enter(self) -> None:
        """The panel is opened."""

    def leave(self) -> None:
        """The panel is left for another module, or is about to go."""


class Panel:
    """What is behind the form.

    Attributes
    ----------
    ui : the form's widgets by their names.
    bench : the person's work; every section shows it and forwards to it.
    parameters : what of the panel is kept in the scene; ``None`` while there is no scene to keep it in.
    settings : what is kept on this computer.
    image_section, save_section : what other sections ask for how the model shall look, and to save.
    resources : the folder Resources of this extension.
    is_entered : whether the panel is open.
    """

    def __init__(self, ui: Any, scene: Any, resources: Path) -> None:
        self.ui, self.scene, self.resources = ui, scene, resources
        self.settings = Settings()
        self.parameters: Any = None
        self.is_entered = False
        self.bench = Workbench(scene, self.settings.who, self._tell, lambda: Worker(slicer_launch()))
        self._tag = self._observer = None
        self._version_shown = -1
        self._wants_reopening = True  # the scene may be older than the panel
        self._volume: Node | None = None
        self._volume_in_views: Node | None = None
        self.image_section, self.save_section = ImageSection(self), SaveSection(self)
        self.sections: tuple[Section, ...] = (
            Notice(self),
            self.image_section,
            ModelSection(self),
            PredictSection(self),
            LandmarkSection(self),
            self.save_section,
        )
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)

    # The module's life.

    def enter(self, parameters: Any) -> None:
        """The person opened the module."""
        self.is_entered = True
        self.take(parameters)
        for section in self.sections:
            section.enter()
        self.refresh()
        self._timer.start()
        self._tick()

    def leave(self) -> None:
        """The person went to another module; a prediction and open cases go on."""
        if self.is_entered:
            self.is_entered = False
            for section in self.sections:
                section.leave()
        self.take(None)

    def take(self, parameters: Any) -> None:
        """Keep the panel's state in this parameter node from now on, ``None`` for nowhere."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._tag)
            self.parameters.RemoveObserver(self._observer)
        self.parameters = parameters
        if parameters is not None:
            self._tag = parameters.connectGui(self.ui)
            self._observer = parameters.AddObserver("ModifiedEvent", self._on_parameters)
            self._on_parameters()

    def scene_was_read(self) -> None:
        """A scene was opened or added: it may have brought cases along."""
        self._wants_reopening = True

    def scene_was_closed(self) -> None:
        """The cases closed themselves, saved; what else there is of the scene is forgotten."""
        self._volume = self._volume_in_views = None
        if self.bench.is_predicting:
            self.bench.cancel()
        self._version_shown = -1

    def close(self) -> None:
        """The panel goes: nothing is lost that was not saved."""
        self.leave()
        self._timer.stop()
        self.bench.close()

    # What sections use.

    @property
    def volume(self) -> Node | None:
        """The image that is chosen."""
        return None if self.parameters is None else self.parameters.image

    def choose(self, volume: Node | None) -> None:
        """Have another image in the selector."""
        if self.parameters is not None and self.parameters.image is not volume:
            self.parameters.image = volume

    def telling(self, handler: Callable[..., None]) -> Callable[..., None]:
        """A handler for a signal: what it raises as :class:`InputError` is told in one line; arguments of the signal are left out."""

        @wraps(handler)
        def guarded(*_: Any) -> None:
            try:
                handler()
            except InputError as error:
                self.bench.tell(str(error))
            self.refresh()

        return guarded

    def refresh(self) -> None:
        """Show what the workbench says now."""
        self._version_shown = self.bench.version
        if self.bench.case is not None:
            self._volume = self.bench.case.image.volume
            self.choose(self._volume)
            self._show_in_views(self._volume)
        for section in self.sections:
            section.refresh()

    # Keeping up.

    def _tick(self) -> None:
        self.bench.poll()
        if not self.is_entered:
            if not self.bench.is_busy:
                self._timer.stop()
            return
        if self._wants_reopening and not self.scene.IsBatchProcessing():
            self._wants_reopening = False
            self.bench.reopen()
        if self.bench.version != self._version_shown:
            self.refresh()
        for section in self.sections:
            section.tick()

    def _on_parameters(self, *_: Any) -> None:
        if self.parameters is None or self.scene.IsBatchProcessing():
            return
        if self.parameters.image is not self._volume:
            self._volume = self.parameters.image
            try:
                self.bench.take_volume(self._volume)
            except InputError as error:
                self.bench.tell(str(error))
            self._show_in_views(self._volume)
        self.refresh()

    def _show_in_views(self, volume: Node | None) -> None:
        """Once for each image that comes: how a person looks at it afterwards is theirs."""
        if volume is not self._volume_in_views:
            self._volume_in_views = volume
            if volume is not None:
                show_image(volume)

    def _tell(self, line: str) -> None:
        self.ui.messageLabel.text = line
        slicer.util.showStatusMessage(line, STATUS_LINE_MS)
