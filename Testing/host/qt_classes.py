"""The modules ``qt`` and ``ctk``: the classes that the panel may use, and a line for every other."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.host import dialogs, python_qt
from Testing.host.mrml_widgets import COLLAPSIBLE_METHODS, ctkCollapsibleButton
from Testing.host.settings import QSettings

# Ancestors first; a class that is not here is shown as its nearest ancestor.
CORE = ("Qt", "QObject", "QEvent", "QTimer", "QElapsedTimer", "QSize", "QPoint", "QRect", "QUrl")
GUI = (
    *(
        "QColor",
        "QBrush",
        "QPixmap",
        "QImage",
        "QIcon",
        "QFont",
        "QFontDatabase",
        "QKeySequence",
        "QInputEvent",
        "QKeyEvent",
    ),
    *("QMouseEvent", "QTextCursor", "QAction", "QShortcut", "QClipboard", "QCursor"),
)
WIDGETS = (
    *(
        "QWidget",
        "QFrame",
        "QLabel",
        "QLineEdit",
        "QAbstractScrollArea",
        "QPlainTextEdit",
        "QTextEdit",
        "QAbstractButton",
    ),
    *("QPushButton", "QToolButton", "QCheckBox", "QRadioButton", "QComboBox", "QAbstractSpinBox", "QSpinBox"),
    *("QDoubleSpinBox", "QAbstractSlider", "QSlider", "QProgressBar", "QAbstractItemView", "QHeaderView", "QTableView"),
    *(
        "QTableWidget",
        "QTableWidgetItem",
        "QGroupBox",
        "QScrollArea",
        "QSplitter",
        "QMenu",
        "QMainWindow",
        "QSizePolicy",
    ),
    *(
        "QLayoutItem",
        "QSpacerItem",
        "QLayout",
        "QFormLayout",
        "QBoxLayout",
        "QVBoxLayout",
        "QHBoxLayout",
        "QGridLayout",
    ),
    *("QDialog", "QMessageBox", "QStatusBar"),
)
_NOT_PUBLIC = ("QInputEvent", "QAbstractScrollArea", "QAbstractSpinBox", "QAbstractSlider", "QTableView", "QDialog")


def _message_box() -> Any:
    made = python_qt.shown_class(QtWidgets.QMessageBox)
    for kind in ("information", "warning", "critical", "question", "about"):
        setattr(made, kind, staticmethod(dialogs.message_box(kind)))
    made.exec_ = made.exec = dialogs.run_message_box
    made.show = made.open = dialogs.refuse_to_run
    return made


def _application() -> Any:
    """``qt.QApplication``: static functions only; nobody makes a second one."""
    made = types.SimpleNamespace()

    def static(name: str) -> Any:
        return lambda *arguments: python_qt.call(name, getattr(QtWidgets.QApplication, name), arguments, {})

    for name in ("clipboard", "focusWidget", "activeWindow", "processEvents", "keyboardModifiers", "style", "font"):
        setattr(made, name, static(name))
    made.setOverrideCursor = lambda cursor: QtWidgets.QApplication.setOverrideCursor(QtGui.QCursor(cursor.member))
    made.restoreOverrideCursor = QtWidgets.QApplication.restoreOverrideCursor
    made.instance = lambda: python_qt.show(QtWidgets.QApplication.instance())
    return made


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            raise AttributeError(f"the test host has no {self.__name__}.{name}; add it to Testing/host/qt_classes.py")
        raise AttributeError(name)


def qt_module() -> types.ModuleType:
    """The module ``qt``."""
    qt = _Module("qt", __doc__)
    for home, names in ((QtCore, CORE), (QtGui, GUI), (QtWidgets, WIDGETS)):
        for name in names:
            made = python_qt.shown_class(getattr(home, name))
            if name not in _NOT_PUBLIC:
                setattr(qt, name, made)
    qt.QMessageBox = _message_box()
    qt.QApplication = _application()
    qt.QTimer.singleShot = staticmethod(_single_shot)
    qt.QSettings = QSettings
    for one in (dialogs.QFileDialog, dialogs.QInputDialog, dialogs.QDesktopServices, dialogs.BoolResult):
        setattr(qt, one.__name__, one)
    return qt


def _single_shot(milliseconds: int, function: Any) -> None:
    QtCore.QTimer.singleShot(int(milliseconds), python_qt.guarded(function))


def ctk_module() -> types.ModuleType:
    """The module ``ctk``."""
    ctk = _Module("ctk", __doc__)
    ctk.ctkCollapsibleButton = python_qt.shown_class(ctkCollapsibleButton, COLLAPSIBLE_METHODS)
    ctk.ctkMessageBox = _message_box()
    return ctk
