"""The cases that the chosen model was trained on: which are replayed, choosing their folder and forgetting it."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.panel.frame import Frame


class OriginalCasesRow:
    """A line about them, *Choose*, *Forget*."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui, self._bench = panel, panel.ui, panel.bench
        self._ui.retrainOriginalButton.clicked.connect(panel.telling(self._choose))
        self._ui.retrainForgetButton.clicked.connect(panel.telling(self._forget))

    def refresh(self) -> None:
        """Show what a retraining of the model would replay."""
        ui = self._ui
        folder, is_there = self._bench.retraining.original_cases(self._panel.parameters.model)
        ui.retrainOriginalLabel.text = _line(folder, is_there)
        ui.retrainOriginalLabel.toolTip = "" if folder is None else str(folder)
        ui.retrainForgetButton.visible = folder is not None

    def _choose(self) -> None:
        model = self._panel.parameters.model
        before, _is_there = self._bench.retraining.original_cases(model)
        title = _("Folder of the cases that the model was trained on")
        start = "" if before is None else str(before)
        said = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start)
        if said:
            self._bench.retraining.choose_original_cases(model, Path(said))

    def _forget(self) -> None:
        self._bench.retraining.forget_original_cases(self._panel.parameters.model)


def _line(folder: Path | None, is_there: bool) -> str:
    if folder is None:
        return _("Original cases: none given; the model is held near its old weights instead.")
    if not is_there:
        return _("Original cases: {folder} is not there any more. Say where they are now, or forget them.").format(
            folder=folder.name
        )
    return _("Original cases: {folder}, replayed so that nothing is forgotten.").format(folder=folder.name)
