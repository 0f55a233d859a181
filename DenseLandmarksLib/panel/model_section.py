"""The section Model: which one predicts, what is known of it, where it runs, and its versions."""

from __future__ import annotations

from html import escape
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.models.bundle import check_bundle
from DenseLandmarksLib.models.chosen_model import ChosenModel, chosen_model
from DenseLandmarksLib.models.versions import is_demonstration, model_names
from DenseLandmarksLib.panel.badge import WARNING
from DenseLandmarksLib.panel.environment_check import EnvironmentCheck
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.model_summary import model_summary
from DenseLandmarksLib.panel.version_row import VersionRow


class ModelSection:
    """The model's name or folder is kept in the scene; what it stands for is this computer's."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._names: list[str] = []
        self._folders: list[str] = []
        self._summed_up: object = None
        self._environment = EnvironmentCheck(panel)
        self._versions = VersionRow(panel)
        self._ui.modelSelector.connect("activated(int)", panel.telling(self._pick))
        self._instead = ""
        self._ui.fittingModelButton.clicked.connect(panel.telling(self._use_fitting))
        self._ui.modelFolderButton.clicked.connect(panel.telling(self._choose_folder))

    @property
    def model(self) -> ChosenModel:
        """The model that would predict, and why it cannot where it cannot."""
        parameters = self._panel.parameters
        return chosen_model("" if parameters is None else parameters.model)

    def refresh(self) -> None:
        """Show the model and what is known of it."""
        if self._panel.parameters is None:
            return
        model = self.model
        self._list(model)
        self._offer()
        self._sum_up(model)
        self._versions.refresh()
        self._environment.refresh()

    def tick(self) -> None:
        """A check of the environment may be under way."""
        self._environment.tick()

    def enter(self) -> None:
        """Versions may have come since."""
        self._versions.forget()
        self.refresh()

    def leave(self) -> None:
        """A check of the environment goes on."""

    def _list(self, model: ChosenModel) -> None:
        """Models by name, then those that were taken from a folder, then what a scene asked for and is not here."""
        selector, names = self._ui.modelSelector, list(model_names())
        if model.name not in names and model.description is not None and model.name not in self._folders:
            self._folders.append(model.name)
        names += self._folders
        texts = [self._text(name) for name in names]
        if model.name not in names:
            names.append(model.name)
            texts.append(_("{name} (not on this computer)").format(name=_short(model.name)))
        if (names, texts) != (self._names, [selector.itemText(row) for row in range(selector.count)]):
            selector.clear()
            selector.addItems(texts)
            self._names = names
        selector.currentIndex = names.index(model.name)
        selector.toolTip = model.problem or _("The model that predicts.")

    def _text(self, name: str) -> str:
        if name not in self._folders:
            return _("{name} (demonstration)").format(name=name) if is_demonstration(name) else name
        described = chosen_model(name).description
        if described is None:
            return _("{name} (not on this computer)").format(name=_short(name))
        return _("{name} {version} (from a folder)").format(name=described.name, version=described.version)

    def _offer(self) -> None:
        """The model that knows what the image's file states, where another is chosen."""
        ui = self._ui
        self._instead, part = self._panel.bench.fitting_instead(self._panel.parameters.model)
        ui.fittingModelButton.visible = bool(self._instead)
        if self._instead:
            ui.fittingModelButton.text = _("Use {name}").format(name=self._instead)
            ui.fittingModelButton.toolTip = _(
                "The image's file states body part {part}, which this model knows."
            ).format(part=part)

    def _use_fitting(self) -> None:
        self._panel.parameters.model = self._instead

    def _sum_up(self, model: ChosenModel) -> None:
        if self._summed_up == (model.description, model.problem):
            return
        self._summed_up = (model.description, model.problem)
        ui = self._ui
        if model.description is None:
            ui.modelSummary.text = f'<span style="color: {WARNING};">{escape(model.problem)}</span>'
        else:
            ui.modelSummary.text = model_summary(model.description)

    def _pick(self) -> None:
        self._panel.parameters.model = self._names[self._ui.modelSelector.currentIndex]

    def _choose_folder(self) -> None:
        said = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of a model"), "")
        if said:
            check_bundle(Path(said))
            self._panel.parameters.model = said


def _short(name: str) -> str:
    """Of a folder the last part; the whole of it is in the tool tip."""
    return Path(name).name or name
