"""What all sections of the panel share: the form, the workbench, and what is kept in the scene and on this computer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.settings import Settings
from DenseLandmarksLib.panel.slicer_worker import slicer_launch
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.launch import TRAINING

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


class Frame:
    """What is behind the form.

    Attributes
    ----------
    ui : the form's widgets by their names.
    scene : the application's.
    bench : the person's work; every section shows it and forwards to it.
    parameters : what of the panel is kept in the scene; ``None`` while there is no scene to keep it in.
    settings : what is kept on this computer.
    resources : the folder Resources of this extension.
    sections : from top to bottom.
    is_entered : whether the panel is open.
    """

    def __init__(self, ui: Any, scene: Any, resources: Path) -> None:
        self.ui, self.scene, self.resources = ui, scene, resources
        self.settings = Settings()
        self.parameters: Any = None
        self.sections: tuple[Section, ...] = ()
        self.is_entered = False
        self.bench = Workbench(
            scene,
            self.settings.who,
            self._tell,
            lambda: Worker(slicer_launch()),
            launch_training=lambda: slicer_launch(TRAINING),
        )

    @property
    def volume(self) -> Node | None:
        """The image that is chosen."""
        return None if self.parameters is None else self.parameters.image

    def choose(self, volume: Node | None) -> None:
        """Have another image in the selector."""
        if self.parameters is not None and self.parameters.image is not volume:
            self.parameters.image = volume

    def telling(self, handler: Callable[..., object]) -> Callable[..., None]:
        """A handler for a signal: what it raises as :class:`InputError` is told in one line; arguments of the signal are left out."""

        @wraps(handler)
        def guarded(*_arguments: Any) -> None:
            try:
                handler()
            except InputError as error:
                self.bench.tell(str(error))
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                self.bench.tell(_("A mistake of this program: {what}. Its log says more.").format(what=what))
                raise  # to the application's log, for whoever mends it
            finally:
                self.refresh()

        return guarded

    def refresh(self) -> None:
        """Show what the workbench says now."""
        for section in self.sections:
            section.refresh()

    def _tell(self, line: str) -> None:
        self.ui.messageLabel.text = line
        slicer.util.showStatusMessage(line, STATUS_LINE_MS)
