"""The versions of the chosen model: which one predicts, and deleting those that nobody wants any more."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.manage_versions import delete_version, set_active
from DenseLandmarksLib.models.versions import ModelVersion, list_versions, models_folder
from DenseLandmarksLib.web.state import Frame


class VersionRow:
    """Shown where there is more than one."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._versions: tuple[ModelVersion, ...] = ()
        self._read_at: object = None
        frame.server.state.update({"version": None})
        frame.server.state.change("version")(lambda **_: frame.refresh())
        frame.command("use_version", self._use)
        frame.command("delete_version", self._delete)

    def shown(self) -> dict[str, Any]:
        """The versions, with the one in use marked."""
        self._read(self._frame.chosen("model"))
        chosen = self._chosen
        return {
            "versions": [{"value": row, "title": _text(one)} for row, one in enumerate(self._versions)],
            "can_use_version": chosen is not None and not chosen.active and not chosen.problem,
            "can_delete_version": chosen is not None and not chosen.active and not chosen.shipped,
            "version_problem": "" if chosen is None else chosen.problem,
            "version_name": "" if chosen is None else f"{chosen.name} {chosen.version}",
        }

    @property
    def _chosen(self) -> ModelVersion | None:
        row = self._frame.server.state["version"]
        return self._versions[row] if isinstance(row, int) and 0 <= row < len(self._versions) else None

    def _read(self, name: str) -> None:
        """Read them if another model is chosen or one of its versions came, went or became active."""
        try:
            at = name, (models_folder() / name).stat().st_mtime_ns
        except (OSError, InputError):  # there is none of the user's own
            at = name, 0
        if at == self._read_at:
            return
        self._read_at, self._versions = at, list_versions(name)
        self._frame.choose(version=next((row for row, one in enumerate(self._versions) if one.active), None))

    def _use(self) -> None:
        chosen = self._chosen
        if chosen is not None:
            set_active(chosen.name, chosen.version)
            self._read_at = None

    def _delete(self) -> None:
        chosen = self._chosen
        if chosen is not None:
            delete_version(chosen.name, chosen.version)
            self._read_at = None

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row", v_if=("versions.length > 1",)):
            html.Label("Version")
            v.VSelect(
                v_model=("version",),
                items=("versions",),
                id="version",
                classes="grow",
                title=("version_problem || 'The versions of this model on this computer.'",),
            )
        with html.Div(classes="row", v_if=("versions.length > 1",)):
            html.Label()
            v.VBtn(
                "Use",
                id="use-version",
                disabled=("!can_use_version",),
                title="Predict with this version from now on.",
                click="trigger('use_version')",
            )
            v.VBtn(
                "Delete…",
                id="delete-version",
                disabled=("!can_delete_version",),
                title="Remove this version from the disk. The one in use and those that came with the program stay.",
                click="window.confirm('Delete ' + version_name + ' from this computer? It cannot be taken back.')"
                " && trigger('delete_version')",
            )


def _text(version: ModelVersion) -> str:
    text = version.version or "unknown"
    if version.shipped:
        text = f"{text} (shipped)"
    if version.active:
        return f"{text} · in use"
    return f"{text} · damaged" if version.problem else text
