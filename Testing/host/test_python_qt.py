"""What PythonQt would refuse is refused, and what it accepts is accepted."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.host import Host

pytestmark = pytest.mark.usefixtures("host")


def test_properties_are_attributes_and_no_functions() -> None:
    import qt

    label = qt.QLabel("a")
    label.text = "b"
    label.setText(label.text + "c")
    assert (label.text, label.enabled, label.isEnabled()) == ("bc", True, True)
    with pytest.raises(TypeError, match="'str' object is not callable"):
        label.text()
    box = qt.QComboBox()
    box.addItems(["x", "y"])
    with pytest.raises(TypeError, match="'int' object is not callable"):
        box.count()
    assert (box.count, box.currentText, box.itemText(1)) == (2, "x", "y")
    assert qt.QTableWidgetItem("z").text() == "z"  # no QObject: no properties


def test_an_attribute_that_does_not_exist_is_neither_read_nor_set() -> None:
    import qt

    button = qt.QPushButton("go")
    with pytest.raises(AttributeError, match="no attribute named 'txet'"):
        button.txet  # noqa: B018
    with pytest.raises(AttributeError, match="not allowed"):
        button.txet = "stop"
    with pytest.raises(AttributeError, match="can not be overwritten"):
        button.setText = "stop"
    button.setProperty("mine", 3)
    assert button.mine == 3
    button.name = "go"
    assert button.objectName == "go"


LISTED = (
    *("QWidget", "QFrame", "QLabel", "QLineEdit", "QPlainTextEdit", "QTextEdit", "QPushButton", "QToolButton"),
    *("QCheckBox", "QComboBox", "QSpinBox", "QDoubleSpinBox", "QSlider", "QProgressBar", "QTableWidget", "QGroupBox"),
    *("QTableWidgetItem", "QFormLayout", "QVBoxLayout", "QHBoxLayout", "QGridLayout", "QSplitter", "QMenu", "QAction"),
    *("QTimer", "QElapsedTimer", "QColor", "QBrush", "QPixmap", "QImage", "QIcon", "QFont", "QSize", "QPoint"),
    *("QObject", "QSettings", "QKeySequence", "QUrl", "QMessageBox", "QScrollArea", "QRadioButton"),
)


@pytest.mark.parametrize("name", LISTED)
def test_what_the_panel_may_use_can_be_made(name: str) -> None:
    import qt

    made = getattr(qt, name)()
    assert type(made) is getattr(qt, name)


@pytest.mark.parametrize("module", ["qt", "ctk"])
def test_an_unknown_class_says_where_to_add_it(module: str) -> None:
    with pytest.raises(AttributeError, match=rf"no {module}.QFoo; add it to Testing/host"):
        getattr(__import__(module), "QFoo")  # noqa: B009


def test_the_application_has_nothing_that_was_not_foreseen() -> None:
    import slicer

    for thing, name in ((slicer.app, "ioManager"), (slicer.modules, "pytorchutils")):
        with pytest.raises(AttributeError, match=name):
            getattr(thing, name)
    with pytest.raises(RuntimeError, match="pip_ensure"):
        slicer.util.pip_install("torch")
    assert not hasattr(slicer.util, "LazyImport")


def test_signals_are_connected_in_both_ways() -> None:
    import qt

    heard: list[Any] = []
    button = qt.QPushButton("go")
    button.checkable = True
    button.clicked.connect(lambda checked: heard.append(("clicked", checked)))
    button.connect("clicked()", lambda *arguments: heard.append(arguments))
    button.connect("toggled(bool)", button, "setDown(bool)")
    button.click()
    assert heard == [("clicked", True), ()]
    with pytest.raises(ValueError, match="no signal 'clickt"):
        button.connect("clickt()", print)


def test_a_slot_gets_as_many_arguments_as_it_takes(host: Host) -> None:
    import qt

    heard: list[Any] = []
    button = qt.QPushButton("go")
    button.clicked.connect(lambda: heard.append("none"))
    button.clicked.connect(lambda row=7: heard.append(row))  # the trap: row is the bool
    button.clicked.connect(partial(heard.append))
    button.click()
    assert heard == ["none", False, False]
    button.clicked.connect(button.hide)  # hide() takes no bool
    button.click()
    with pytest.raises(ValueError, match="wrong arguments"):
        host.process()


def test_a_slot_can_be_disconnected() -> None:
    import qt

    class Panel:
        heard = 0

        def heard_it(self) -> None:
            self.heard += 1

    panel, spin = Panel(), qt.QSpinBox()
    spin.valueChanged.connect(panel.heard_it)
    spin.value = 3
    assert spin.valueChanged.disconnect(panel.heard_it)
    assert not spin.disconnect("valueChanged(int)", panel.heard_it)
    spin.value = 4
    assert panel.heard == 1


def test_qt_takes_no_keywords_and_no_foreign_types() -> None:
    import qt

    with pytest.raises(ValueError, match="keyword"):
        qt.QLabel(text="a")
    label = qt.QLabel()
    with pytest.raises(ValueError, match="keyword"):
        label.setText(text="a")
    for wrong in (Path("a"), np.bool_(True), object()):
        with pytest.raises(ValueError, match="PythonQt takes no"):
            label.setEnabled(wrong)
    with pytest.raises(AttributeError, match="does not accept"):
        label.text = None
    with pytest.raises(AttributeError, match="does not accept"):
        label.text = 5
    with pytest.raises(ValueError, match="wrong arguments"):
        label.setText()
    bar = qt.QProgressBar()
    bar.value = np.int64(3)
    assert bar.value == 3
    bar.value = 4.7
    assert bar.value == 4


def test_what_only_pyside_has_is_refused() -> None:
    import qt

    for name in ("Signal", "Slot", "Property", "QThread"):
        with pytest.raises(AttributeError, match="add it"):
            getattr(qt, name)
    box = qt.QComboBox()
    with pytest.raises(TypeError, match="not subscriptable"):
        box.currentIndexChanged[int]
    with pytest.raises(AttributeError, match="holds no values"):
        qt.Qt.AlignmentFlag.AlignLeft  # noqa: B018


def test_enum_values_are_integers() -> None:
    import qt

    label = qt.QLabel("a")
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    assert label.alignment == int(qt.Qt.AlignRight) | int(qt.Qt.AlignTop)
    label.setAlignment(qt.Qt.AlignLeft | qt.Qt.AlignTop)
    assert label.alignment & qt.Qt.AlignLeft
    states: list[Any] = []
    box = qt.QCheckBox("b")
    box.stateChanged.connect(states.append)
    box.checked = True
    assert states == [qt.Qt.Checked]
    assert isinstance(qt.QMessageBox.Yes, int)


def test_lists_come_back_as_tuples_and_widgets_as_themselves() -> None:
    import qt

    widget = qt.QWidget()
    layout = qt.QVBoxLayout(widget)
    label = qt.QLabel("a")
    label.name = "first"
    layout.addWidget(label)
    assert isinstance(widget.children(), tuple)
    assert widget.findChild(qt.QLabel, "first") is label
    assert widget.findChildren("QLabel") == (label,)
    assert widget.first is label
    assert layout.itemAt(0).widget() is label
    assert isinstance(label, qt.QFrame)
    assert label.parent() is widget
    assert widget.layout().count() == 1
    assert label.className() == "QLabel"


def test_a_destroyed_widget_is_noticed() -> None:
    import qt

    widget = qt.QWidget()
    label = qt.QLabel("a", widget)
    assert label
    widget.delete()
    assert not label
    with pytest.raises(ValueError, match="destroyed QLabel"):
        label.text  # noqa: B018


def test_a_timer_that_nobody_keeps_does_not_tick(host: Host) -> None:
    import qt

    ticks: list[str] = []
    gc.disable()  # PythonQt deletes it with its last reference
    for name in ("kept", "lost"):
        timer = qt.QTimer()
        timer.setInterval(1)
        timer.timeout.connect(lambda name=name: ticks.append(name))
        timer.start()
        if name == "kept":
            kept = timer
    del timer
    host.process(until=lambda: len(ticks) > 3)
    gc.enable()
    assert set(ticks) == {"kept"}
    assert kept.active
    qt.QTimer.singleShot(0, lambda: ticks.append("once"))
    host.process(until=lambda: "once" in ticks)
    qt.QTimer.singleShot(0, lambda: [][0])
    with pytest.raises(IndexError):
        host.process(0.05)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_filter_that_answers_nothing_lets_events_pass(host: Host) -> None:
    import qt

    class Deaf(qt.QObject):
        def eventFilter(self, watched: Any, event: Any) -> None:  # noqa: N802
            pass

    field = qt.QLineEdit()
    deaf = Deaf()
    field.installEventFilter(deaf)
    host.show(field)
    host.type(field, "abc")
    assert field.text == "abc"


def test_settings_come_back_as_a_file_would_give_them() -> None:
    import qt
    import slicer

    qt.QSettings().setValue("Example/Strength", 0.5)
    slicer.app.settings().setValue("Example/Shown", True)
    assert qt.QSettings().value("Example/Strength") == "0.5"
    assert slicer.util.settingsValue("Example/Shown", False, converter=slicer.util.toBool) is True
    assert slicer.util.settingsValue("Example/Other", 3) == 3
    with pytest.raises(ValueError, match="take texts"):
        qt.QSettings().setValue("a", Path("b"))


def test_file_and_input_dialogs_answer_as_pythonqt_does(host: Host) -> None:
    import qt

    host.answer("openFile", "/a/b.png")
    assert qt.QFileDialog.getOpenFileName(None, "Open", "", "*.png") == "/a/b.png"
    host.answer("text", "a name")
    host.answer("text", None)
    ok = qt.BoolResult()
    assert qt.QInputDialog.getText(None, "New", "Name", qt.QLineEdit.Normal, "", ok) == "a name"
    assert ok
    assert qt.QInputDialog.getText(None, "New", "Name", qt.QLineEdit.Normal, "", ok) == ""
    assert not ok
    host.answer("question", qt.QMessageBox.No)
    assert (
        qt.QMessageBox.question(None, "Delete", "Delete it?", qt.QMessageBox.Yes | qt.QMessageBox.No)
        != qt.QMessageBox.Yes
    )
    box = qt.QMessageBox()
    box.text = "Two ways"
    host.answer("messageBox", 1)
    assert box.exec_() == 1
    qt.QDesktopServices.openUrl(qt.QUrl("https://example.org"))
    assert host.recorded.urls == ["https://example.org"]
    with pytest.raises(AttributeError, match=r"no qt\.QFileDialog\.getSaveUrl"):
        qt.QFileDialog.getSaveUrl()


def test_the_log_can_be_copied() -> None:
    import qt
    import slicer

    log = qt.QPlainTextEdit()
    log.appendPlainText("one")
    log.appendPlainText("two")
    slicer.app.clipboard().setText(log.plainText)
    assert qt.QApplication.clipboard().text() == "one\ntwo"


def test_a_context_menu_and_its_actions() -> None:
    import qt

    chosen: list[str] = []
    menu = qt.QMenu()
    action = menu.addAction("Accept")
    action.triggered.connect(lambda: chosen.append("accept"))
    action.trigger()
    assert (chosen, len(menu.actions())) == (["accept"], 1)
    action.shortcut = qt.QKeySequence("Ctrl+Z")
    assert action.shortcut.toString() == "Ctrl+Z"
