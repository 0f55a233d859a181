"""Keys that press the panel's buttons, while the panel is open and nobody types text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import qt
import slicer

# Slicer has Ctrl+S for the scene.
KEYS = {
    "A": "acceptButton",
    "X": "absentButton",
    "U": "unsureButton",
    "Backspace": "resetButton",
    "N": "nextButton",
    "P": "placeButton",
    "Ctrl+Z": "undoButton",
    "Ctrl+Y": "redoButton",
    "Ctrl+Shift+Z": "redoButton",
    "Ctrl+Return": "saveButton",
}
_ESCAPE = "Esc"
# A text field keeps what it understands to itself; the rest, such as Ctrl+Y, must not reach the case from there.
_ALSO_FROM_TEXT = ("Ctrl+Return", _ESCAPE)


class Shortcuts:
    """Shortcuts of the main window that exist between :meth:`enter` and :meth:`leave`."""

    def __init__(self, ui: Any, give_up: Callable[[], None]) -> None:
        """``give_up`` is what Esc does while it is switched on; see :meth:`listen_to_escape`."""
        self._ui, self._give_up = ui, give_up
        self._made: dict[str, Any] = {}

    def enter(self) -> None:
        """Make them."""
        self.leave()
        window = slicer.util.mainWindow()
        if window is None:
            return
        handlers: Mapping[str, Callable[[], None]] = {key: partial(self._press, key) for key in KEYS}
        for key, handler in {**handlers, _ESCAPE: self._give_up}.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.autoRepeat = key in ("Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z")
            # Where another extension has the same key Qt tells the two in turn that it cannot decide.
            shortcut.connect("activated()", handler)
            shortcut.connect("activatedAmbiguously()", handler)
            self._made[key] = shortcut
        self._made[_ESCAPE].enabled = False

    def leave(self) -> None:
        """Take them away; one of them may be what led here."""
        for shortcut in self._made.values():
            shortcut.enabled = False
            shortcut.deleteLater()
        self._made = {}

    def listen_to_escape(self, wanted: bool) -> None:
        """Have Esc give up what waits for a click; else the key is everybody's."""
        if _ESCAPE in self._made and self._made[_ESCAPE].enabled != wanted:
            self._made[_ESCAPE].enabled = wanted

    def _press(self, key: str) -> None:
        if key in _ALSO_FROM_TEXT or not _is_typing():
            getattr(self._ui, KEYS[key]).click()  # nothing happens where the button is greyed out


def _is_typing() -> bool:
    """Whether the keyboard's focus is in something that takes text."""
    focus = qt.QApplication.focusWidget()
    if isinstance(focus, qt.QComboBox):
        return bool(focus.editable)
    fields = (qt.QLineEdit, qt.QTextEdit, qt.QPlainTextEdit, qt.QSpinBox, qt.QDoubleSpinBox)
    return isinstance(focus, fields) and not focus.readOnly
