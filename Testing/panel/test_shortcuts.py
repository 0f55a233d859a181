"""Keys decide while the panel is open, wherever the mouse was last, and never while text is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review

if TYPE_CHECKING:
    from Testing.host import Host

LETTERS = ("A", "X", "U", "Backspace", "N", "P")


@pytest.fixture
def panel(host: Host, widget: Any, open_chest: Callable[[Any], Any]) -> Any:
    """A predicted chest, the first landmark current, the focus in the table."""
    panel = open_chest(widget)
    host.process(0.1)
    host.click(panel.ui.landmarkTable.item(0, 0))
    host.show(panel.ui.landmarkTable)
    return panel


def decided(panel: Any) -> dict[str, tuple[Presence, Review]]:
    landmarks = panel.bench.state.landmarks
    rows = zip(landmarks.names, landmarks.presence, landmarks.review, strict=True)
    return {name: (presence, review) for name, presence, review in rows if review is not Review.PREDICTED}


def keys_of(window: Any) -> list[str]:
    """The keys that are switched on in a window."""
    from PySide6 import QtGui

    return sorted(one.key().toString() for one in window.findChildren(QtGui.QShortcut) if one.isEnabled())


def in_the_window(host: Host, class_name: str, *arguments: Any) -> Any:
    """Another widget of the application, beside the panel, with the focus."""
    import qt

    dock = qt.QWidget()
    dock.setLayout(qt.QVBoxLayout())
    widget = getattr(qt, class_name)(*arguments)
    dock.layout().addWidget(widget)
    from PySide6 import QtCore, QtWidgets

    from Testing.host.python_qt import hidden

    frame = QtWidgets.QDockWidget(host.window)
    frame.setWidget(hidden(dock))
    host.window.addDockWidget(QtCore.Qt.DockWidgetArea.LeftDockWidgetArea, frame)
    hidden(widget).setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
    host.show(widget)
    assert QtWidgets.QApplication.focusWidget() is hidden(widget)
    return widget


def test_every_key_does_what_its_button_says(host: Host, panel: Any) -> None:
    names = panel.bench.worklist.names
    host.key("A")
    host.key("X")
    host.key("U")
    assert decided(panel) == {
        names[0]: (Presence.PRESENT, Review.VERIFIED),
        names[1]: (Presence.ABSENT, Review.CORRECTED),
        names[2]: (Presence.PRESENT, Review.UNSURE),
    }
    host.key("N")
    assert panel.bench.case.chosen == names[4]
    host.key("P")
    assert panel.bench.case.placing == names[4]
    host.key("Esc")
    assert panel.bench.case.placing == ""
    host.key("Ctrl+Z")
    assert names[2] not in decided(panel)
    host.key("Ctrl+Z")
    assert list(decided(panel)) == [names[0]]
    host.key("Ctrl+Y")
    host.key("Ctrl+Shift+Z")
    assert len(decided(panel)) == 3
    host.click(panel.ui.landmarkTable.item(0, 0))
    host.key("Backspace")
    assert len(decided(panel)) == 2
    assert panel.bench.session.unsaved
    host.key("Ctrl+Return")
    assert not panel.bench.session.unsaved


def test_keys_work_while_the_focus_is_in_a_view(host: Host, panel: Any) -> None:
    in_the_window(host, "QFrame")
    host.key("A")
    assert list(decided(panel)) == [panel.bench.worklist.names[0]]


@pytest.mark.parametrize(
    ("class_name", "arguments"),
    [("QLineEdit", ()), ("QTextEdit", ()), ("QPlainTextEdit", ())],
    ids=lambda one: str(one),
)
def test_letters_reach_the_field_they_are_typed_into(
    host: Host, panel: Any, class_name: str, arguments: tuple[Any, ...]
) -> None:
    state, chosen = panel.bench.state, panel.bench.case.chosen
    field = in_the_window(host, class_name, *arguments)
    for key in ("A", "X", "U", "N", "P"):
        host.key(key)
    text = field.text if class_name == "QLineEdit" else field.toPlainText()
    assert text.upper() == "AXUNP"
    host.key("Backspace")
    host.key("Ctrl+Z")
    host.key("Ctrl+Y")
    assert (panel.bench.state, panel.bench.case.chosen, panel.bench.case.placing) == (state, chosen, "")


@pytest.mark.parametrize("name", ["filterEdit", "newNameEdit", "whyEdit", "closeUpBox"])
def test_letters_reach_the_panels_own_fields(host: Host, panel: Any, name: str) -> None:
    state, chosen = panel.bench.state, panel.bench.case.chosen
    host.click(panel.ui.saveSection) if panel.ui.saveSection.collapsed else None
    host.show(getattr(panel.ui, name))
    for key in (*LETTERS, "Ctrl+Y"):
        host.key(key)
    assert (panel.bench.state, panel.bench.case.chosen, panel.bench.case.placing) == (state, chosen, "")


def test_letters_reach_a_cell_that_is_edited(host: Host, panel: Any) -> None:
    state = panel.bench.state
    table = in_the_window(host, "QTableWidget", 1, 1)
    import qt

    table.setItem(0, 0, qt.QTableWidgetItem(""))
    table.editItem(table.item(0, 0))
    host.process()
    for key in ("A", "X", "N"):
        host.key(key)
    host.key("Return")
    assert table.item(0, 0).text().upper() == "AXN"
    assert panel.bench.state is state


def test_after_leaving_no_key_is_ours(host: Host, panel: Any) -> None:
    state = panel.bench.state
    ours = keys_of(host.window)
    assert {"A", "Ctrl+Z", "Ctrl+Return"} <= set(ours)
    assert "Esc" not in ours  # only while a click is waited for
    host.select("Welcome")
    in_the_window(host, "QFrame")
    for key in (*LETTERS, "Ctrl+Z", "Ctrl+Y"):
        host.key(key)
    assert panel.bench.state is state
    assert keys_of(host.window) == []
    host.select("DenseLandmarks")
    assert keys_of(host.window) == ours


def test_no_key_is_there_twice(host: Host, widget: Any, panel: Any) -> None:
    widget.enter()
    host.process()
    keys = keys_of(host.window)
    assert len(keys) == len(set(keys))
    host.key("A")
    assert len(decided(panel)) == 1


def test_after_a_reload_every_key_is_there_once(host: Host, widget: Any, panel: Any) -> None:
    before = keys_of(host.window)
    widget.onReload()
    host.process()
    assert keys_of(host.window) == before


def test_escape_is_ours_only_while_a_click_is_waited_for(host: Host, panel: Any) -> None:
    host.key("P")
    assert "Esc" in keys_of(host.window)
    host.key("Esc")
    assert "Esc" not in keys_of(host.window)


def test_a_key_that_another_extension_has_too_still_works(host: Host, panel: Any) -> None:
    import qt
    import slicer

    other = qt.QShortcut(qt.QKeySequence("N"), slicer.util.mainWindow())
    names, before = panel.bench.worklist.names, panel.bench.case.chosen
    host.key("N")
    host.key("N")  # Qt tells the two in turn
    assert panel.bench.case.chosen == names[names.index(before) + 1]
    other.delete()


def test_a_held_key_decides_once(host: Host, panel: Any) -> None:
    from PySide6 import QtCore, QtGui, QtWidgets

    names = panel.bench.worklist.names
    host.key("A")
    target = QtWidgets.QApplication.focusWidget()
    for _ in range(3):
        event = QtGui.QKeyEvent(
            QtCore.QEvent.Type.KeyPress, QtCore.Qt.Key.Key_A, QtCore.Qt.KeyboardModifier.NoModifier, "a", True
        )
        QtWidgets.QApplication.sendEvent(target, event)
    host.process()
    assert list(decided(panel)) == [names[0]]


def test_keys_that_a_field_does_not_know_do_not_reach_the_case_from_there(host: Host, panel: Any) -> None:
    """Which keys a field knows differs from system to system."""
    panel.bench.do(Session.mark_absent, panel.bench.worklist.names[0])
    panel.bench.undo()
    host.process(0.05)
    before = panel.bench.state
    host.show(panel.ui.filterEdit)
    for key in ("Ctrl+Y", "Ctrl+Shift+Z"):
        host.key(key)
        assert panel.bench.state is before, "a person who types did something to the case"
    host.show(panel.ui.landmarkTable)
    host.key("Ctrl+Y")
    assert panel.bench.state is not before
