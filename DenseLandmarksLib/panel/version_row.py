"""The versions of the chosen model: which one predicts, and deleting those that nobody wants any more."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.models.manage_versions import delete_version, set_active
from DenseLandmarksLib.models.versions import ModelVersion, active_bundle, list_versions, models_folder
from DenseLandmarksLib.panel.frame import Frame


class VersionRow:
    """Shown where there is more than one."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._versions: tuple[ModelVersion, ...] = ()
        self._read_at: object = None
        self._ui.versionSelector.connect("activated(int)", panel.telling(lambda: None))
        self._ui.activateVersionButton.clicked.connect(panel.telling(self._use))
        self._ui.deleteVersionButton.clicked.connect(panel.telling(self._delete))

    def forget(self) -> None:
        """Somebody may have changed the versions."""
        self._read_at = None

    def refresh(self) -> None:
        """Show the versions, with the one in use marked."""
        ui, name = self._ui, self._panel.parameters.model
        self._update(name)
        several = len(self._versions) > 1
        for widget in (ui.versionLabel, ui.versionSelector, ui.activateVersionButton, ui.deleteVersionButton):
            widget.visible = several
        chosen = self._chosen
        ui.activateVersionButton.enabled = chosen is not None and not chosen.active and not chosen.problem
        ui.deleteVersionButton.enabled = chosen is not None and not chosen.active and not chosen.shipped
        ui.versionSelector.toolTip = (
            chosen.problem
            if chosen is not None and chosen.problem
            else _("The versions of this model on this computer.")
        )

    @property
    def _chosen(self) -> ModelVersion | None:
        row = self._ui.versionSelector.currentIndex
        return self._versions[row] if 0 <= row < len(self._versions) else None

    def _update(self, name: str) -> None:
        """Read them if another model is chosen or one of its versions came, went or became active."""
        try:
            changed_ns = (models_folder() / name).stat().st_mtime_ns
        except (OSError, ValueError):  # there is none of the user's own
            changed_ns = 0
        at = (name, active_bundle(name), changed_ns)
        if at == self._read_at:
            return
        self._read_at = at
        self._versions = list_versions(name)
        selector = self._ui.versionSelector
        selector.clear()
        selector.addItems([_text(version) for version in self._versions])
        active = [row for row, version in enumerate(self._versions) if version.active]
        selector.currentIndex = active[0] if active else -1

    def _use(self) -> None:
        chosen = self._chosen
        if chosen is not None:
            set_active(chosen.name, chosen.version)
            self.forget()

    def _delete(self) -> None:
        chosen = self._chosen
        if chosen is None:
            return
        question = _("Delete {name} {version} from this computer? It cannot be taken back.").format(
            name=chosen.name, version=chosen.version
        )
        if slicer.util.confirmYesNoDisplay(question, _("Delete a version")):
            delete_version(chosen.name, chosen.version)
            self.forget()


def _text(version: ModelVersion) -> str:
    text = version.version or _("unknown")
    if version.shipped:
        text = _("{version} (shipped)").format(version=text)
    if version.active:
        return _("{version} · in use").format(version=text)
    return _("{version} · damaged").format(version=text) if version.problem else text
