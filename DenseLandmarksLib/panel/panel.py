"""The whole panel: its sections, the timer that keeps them up to date, and the scene's life around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.image_section import ImageSection
from DenseLandmarksLib.panel.landmark_section import LandmarkSection
from DenseLandmarksLib.panel.model_section import ModelSection
from DenseLandmarksLib.panel.notice import Notice
from DenseLandmarksLib.panel.predict_section import PredictSection
from DenseLandmarksLib.panel.retrain_section import RetrainSection
from DenseLandmarksLib.panel.save_section import SaveSection
from DenseLandmarksLib.panel.views import show_image
from DenseLandmarksLib.scene.nodes import Node

# A drag is followed, a prediction taken, at this pace; nothing to do takes microseconds.
TICK_MS = 25


class Panel(Frame):
    """The form with its sections, at work; ``image_section`` says how the model shall look."""

    def __init__(self, ui: Any, scene: Any, resources: Path) -> None:
        """``ui`` has the form's widgets by their names, ``resources`` is the folder Resources of this extension."""
        super().__init__(ui, scene, resources)
        self._tag = self._observer = None
        self._version_shown = -1
        self._wants_reopening = True  # the scene may be older than the panel
        self._volume: Node | None = None
        self._volume_in_views: Node | None = None
        self.image_section = ImageSection(self)
        self.sections = (
            Notice(self),
            self.image_section,
            ModelSection(self),
            PredictSection(self, self.image_section),
            LandmarkSection(self),
            SaveSection(self),
            RetrainSection(self),
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
        if self.bench.predicting.is_under_way:
            self.bench.predicting.cancel()
        self._version_shown = -1

    def close(self) -> None:
        """The panel goes: nothing is lost that was not saved."""
        self.leave()
        self._timer.stop()
        self.bench.close()

    def refresh(self) -> None:
        """Show what the workbench says now."""
        self._version_shown = self.bench.version
        if self.bench.case is not None:
            self._volume = self.bench.case.image.volume
            self.choose(self._volume)
            self._show_in_views(self._volume)
        super().refresh()

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
