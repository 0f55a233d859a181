"""The host: puts the stand-ins into ``sys.modules``, opens a module as Slicer does, and drives it as a person does."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes.util import find_library
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtTest, QtWidgets

from Testing.host import (
    dialogs,
    installing,
    module_base,
    mrml_widgets,
    parameter_node,
    python_qt,
    qt_classes,
    sample_data,
    settings,
    slicer_util,
)
from Testing.host.application import Application, Module, Modules
from Testing.host.keep_none import keep_none
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.saved_scene import new_scene, read_scene, save_scene

keep_none()
# What Qt says about a platform without a screen.
_OF_THE_PLATFORM = ("This plugin does not support", "QFontDatabase", "Could not find the Qt platform plugin")


class ModulePanel(mrml_widgets.qMRMLWidget):
    """The widget that a module's panel gets as its ``parent`` (qSlicerScriptedLoadableModuleWidget)."""

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host, self._module_name, self._entered, self._panel = host, name, False, None  # type: ignore[var-annotated]
        self.setObjectName(f"{name}ModuleWidget")
        QtWidgets.QVBoxLayout(self)

    isEntered = QtCore.Property(bool, lambda self: self._entered)  # noqa: N815

    def self(self) -> Any:
        return self._panel


class Host:
    """One session of the application.

    Attributes
    ----------
    scene : the MRML scene, of the screen where there is one.
    screen : the offscreen red view, or None.
    screens : all slice views by name, the red one first.
    recorded : messages, status lines, selected modules, opened addresses, restarts (:class:`dialogs.Recorded`).
    pip : what installing packages leads to (:class:`installing.Installing`).
    app, modules : ``slicer.app`` and ``slicer.modules``.
    window : the main window (PySide6).
    selected : the name of the module that is open.
    """

    def __init__(self, screen: OffscreenSlice | None = None, others: Mapping[str, OffscreenSlice] = {}) -> None:
        import slicer

        self._qt_app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        self.screen = screen
        self.screens = {} if screen is None else {"Red": screen, **others}
        self.scene = screen.scene if screen is not None else new_scene()
        if screen is None:  # as the Segmentations module does
            self.scene.RegisterNodeClass(slicer.vtkMRMLSegmentEditorNode())
        self.recorded = dialogs.Recorded()
        self._person = dialogs.Dialogs(self.recorded)
        self.pip = installing.Installing()
        self.modules = Modules(screen.app.app_logic if screen is not None else None)
        self.app = Application(self.scene, screen, others, self.modules, self._person)
        self.window = QtWidgets.QMainWindow()
        self.window.setObjectName("qSlicerMainWindow")
        self.window.resize(520, 900)
        self.selected = ""
        self._panels: dict[str, ModulePanel] = {}
        self._before_path = list(sys.path)
        self._before_hook = sys.excepthook
        self._before_program_path = os.environ.get("PATH", os.defpath)
        self._put: list[tuple[Any, str, Any]] = []
        self._before_modules: dict[str, types.ModuleType | None] = {}
        self._slicer = slicer
        python_qt.forget()
        settings.forget()
        dialogs.use(self._person)
        self._install()

    @property
    def testing(self) -> bool:
        """Whether the application runs in testing mode: message boxes answer themselves, pip_ensure does nothing."""
        return self._person.testing

    @testing.setter
    def testing(self, value: bool) -> None:
        self._person.testing = value

    # ---- in and out ----

    def _install(self) -> None:
        slicer = self._slicer
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr, i18n.translate = slicer_util.tr, slicer_util.translate  # type: ignore[attr-defined]
        base = types.ModuleType("slicer.ScriptedLoadableModule")
        base.__all__ = [name for name in vars(module_base) if name.startswith("Scripted")]  # type: ignore[attr-defined]
        vars(base).update({name: getattr(module_base, name) for name in base.__all__})  # type: ignore[attr-defined]
        wrapper = types.ModuleType("slicer.parameterNodeWrapper")
        for one in ("parameterNodeWrapper", "WithinRange", "Choice", "Default"):
            setattr(wrapper, one, getattr(parameter_node, one))
        wrapper.__all__ = [name for name in vars(wrapper) if not name.startswith("_")]  # type: ignore[attr-defined]
        packaging = types.ModuleType("slicer.packaging")
        functions = installing.Packaging(self.pip, self._person)
        vars(packaging).update({n: getattr(functions, n) for n in dir(functions) if not n.startswith("_")})
        packaging.Requirement = installing.Requirement  # type: ignore[attr-defined]
        for module in (i18n, base, wrapper, packaging):
            self._put_module(module)
            self._put_into(slicer, module.__name__.split(".")[1], module)
        self._put_module(qt_classes.qt_module())
        self._put_module(qt_classes.ctk_module())
        self._put_module(sample_data.sample_data_module(self.modules, Path(self.app.temporaryPath)))
        slicer_names = {
            "app": self.app,
            "mrmlScene": self.scene,
            "modules": self.modules,
            "selfTests": {},
            "qMRMLWidget": python_qt.shown_class(mrml_widgets.qMRMLWidget, mrml_widgets.WIDGET_METHODS),
            "qMRMLNodeComboBox": python_qt.shown_class(mrml_widgets.qMRMLNodeComboBox, mrml_widgets.COMBO_METHODS),
            "qSlicerScriptedLoadableModuleWidget": python_qt.shown_class(ModulePanel, ("self",)),
        }
        for name, value in slicer_names.items():
            self._put_into(slicer, name, value)
        for name, value in slicer_util.functions(self, self._person).items():
            self._put_into(slicer.util, name, value)
        self._put_into(metadata, "version", self.pip.version)
        installing.write_python_slicer(Path(self.app.temporaryPath) / "bin")
        os.environ["PATH"] = os.pathsep.join((str(Path(self.app.temporaryPath) / "bin"), self._before_program_path))
        QtCore.qInstallMessageHandler(self._qt_says)
        sys.excepthook = self._uncaught

    def _put_module(self, module: types.ModuleType) -> None:
        self._before_modules[module.__name__] = sys.modules.get(module.__name__)
        sys.modules[module.__name__] = module

    def _put_into(self, where: Any, name: str, value: Any) -> None:
        self._put.append((where, name, vars(where).get(name, self)))  # self: there was none
        setattr(where, name, value)

    def _qt_says(self, kind: Any, context: Any, text: str) -> None:
        if kind != QtCore.QtMsgType.QtDebugMsg and not text.startswith(_OF_THE_PLATFORM):
            self.recorded.qt_warnings.append(text)

    def _uncaught(self, kind: type, error: BaseException, trace: Any) -> None:
        python_qt.keep_error(error.with_traceback(trace))  # in an observer of VTK's, which only prints it

    def remove(self) -> None:
        """End the session: panels are left and cleaned up as when Slicer closes, then everything is as it was before."""
        try:
            self._leave()
            for name in list(self._panels):
                self._unload(name)
        except Exception as error:
            python_qt.errors.append(error)
        if self.app._layout_manager is not None:
            self.app._layout_manager._close()
        for one in [one for one in QtWidgets.QApplication.topLevelWidgets() if one.parent() is None]:
            one.close()
            one.deleteLater()
        QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
        QtWidgets.QApplication.processEvents()
        self.app._folder.cleanup()
        errors = list(python_qt.errors)
        QtCore.qInstallMessageHandler(None)
        sys.excepthook, sys.path[:] = self._before_hook, self._before_path
        os.environ["PATH"] = self._before_program_path
        for where, name, before in reversed(self._put):
            if before is self:
                delattr(where, name)
            else:
                setattr(where, name, before)
        for name, before in self._before_modules.items():
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before
        if self.screen is None:
            self.scene.Clear(True)
        dialogs.use(None)
        python_qt.forget()
        if errors:
            raise errors[0]
        assert not self._person.answers, f"nobody asked for {list(self._person.answers)}"

    def check(self) -> None:
        """Raise what went wrong in a slot, a timer or an observer since the last step."""
        if python_qt.errors:
            error = python_qt.errors[0]
            python_qt.errors.clear()
            raise error
        if self.recorded.qt_warnings:
            raise AssertionError(f"Qt says: {self.recorded.qt_warnings.pop(0)}")

    # ---- modules ----

    def create_widget(self, folder: Path, name: str) -> Any:
        """Load ``folder/name.py`` as Slicer does at its start, make its widget, run setup() and enter(); returns it."""
        path = Path(folder) / f"{name}.py"
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # Slicer does so, and leaves it there
        self._put_module(self._execute(path, name))
        module = Module(name, str(path))
        self.modules._known[name.lower()] = module
        setattr(self.modules, f"{name}Instance", getattr(sys.modules[name], name)(module))
        for function in self.app._on_startup:  # modules are made first, and told when all of them are
            python_qt.guarded(function)()
        self.app._on_startup.clear()
        panel = module._widget = ModulePanel(self, name)
        self._make_panel(name, panel)
        self._panels[name] = panel
        panel.setMRMLScene(self.scene)  # after setup(), as in Slicer
        area = QtWidgets.QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(panel)
        self.window.setCentralWidget(area)
        self.window.show()
        self.window.activateWindow()
        self.select(name)
        self.process()
        return panel._panel

    def _execute(self, path: Path, name: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        before = sys.modules.get(name)
        sys.modules[name] = made
        try:
            spec.loader.exec_module(made)
        finally:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
        return made

    def _make_panel(self, name: str, panel: ModulePanel) -> None:
        panel._panel = getattr(sys.modules[name], f"{name}Widget")(python_qt.show(panel))
        setattr(self.modules, f"{name}Widget", panel._panel)
        panel._panel.setup()

    def _reload(self, name: str) -> types.ModuleType:
        """As Slicer's reloadScriptedModule: new source, old children hidden, cleanup(), a new panel, setup(); no enter()."""
        panel = self._panels[name]
        sys.modules[name] = self._execute(Path(self.modules._known[name.lower()].path), name)
        for child in panel.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            child.hide()
        self._unload(name, gone=False)
        layout = panel.layout()
        while layout.count():
            layout.takeAt(0)
        self._make_panel(name, panel)
        return sys.modules[name]

    def _unload(self, name: str, gone: bool = True) -> None:
        panel = self._panels[name]
        manager = self.app.moduleManager()
        panel._panel.cleanup()
        manager.disconnect("moduleAboutToBeUnloaded(QString)", panel._panel._onModuleAboutToBeUnloaded)
        if gone:
            del self._panels[name]

    def select(self, name: str) -> None:
        """Open another module, as the module selector does; exit() of the old one, enter() of the new one."""
        self.recorded.modules.append(name)
        self._leave()
        self.selected = name
        panel = self._panels.get(name)
        if panel is not None:
            panel.show()
            panel._entered = True
            _call(panel._panel, "enter")

    def _leave(self) -> None:
        panel = self._panels.get(self.selected)
        if panel is not None and panel._entered:
            panel._entered = False
            _call(panel._panel, "exit")
            panel.hide()

    def install_pytorch(self) -> None:
        """The PyTorch extension is installed from now on."""
        made = types.ModuleType("PyTorchUtils")
        made.PyTorchUtilsLogic = installing.pytorch_logic(self.pip)  # type: ignore[attr-defined]
        self._put_module(made)
        self.modules._known["pytorchutils"] = Module("PyTorchUtils")

    # ---- the person ----

    def answer(self, kind: str, answer: Any = None) -> None:
        """What the person will answer to the next dialog of this kind: okCancel, yesNo, openFile, text, error, ..."""
        self._person.answers.append((kind, answer))

    def process(self, seconds: float = 0.0, until: Callable[[], Any] | None = None) -> None:
        """Let the application run: at most ``seconds``, or until something is the case; raises where it never is."""
        end = time.perf_counter() + (seconds if seconds or until is None else 10.0)
        while True:
            QtWidgets.QApplication.processEvents()
            QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            self.check()
            if until is not None and until():
                return
            if time.perf_counter() >= end:
                break
            time.sleep(0.002)
        if until is not None:
            raise AssertionError("what was waited for did not happen")

    def click(self, widget: Any, holding: str = "") -> None:
        """Click a button, or a cell of a table, also ``holding`` Ctrl or Shift; it must be there for a person to click."""
        value = self._reachable(widget)
        if isinstance(value, QtWidgets.QTableWidgetItem):
            table = value.tableWidget()
            self._reachable(python_qt.show(table))
            table.scrollToItem(value)
            at = table.visualItemRect(value).center()
            keys = QtGui.QKeySequence(f"{holding}+A")[0].keyboardModifiers() if holding else QtCore.Qt.NoModifier
            QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.MouseButton.LeftButton, keys, at)
        elif isinstance(value, mrml_widgets.ctkCollapsibleButton):
            QtTest.QTest.mouseClick(value, QtCore.Qt.MouseButton.LeftButton, pos=QtCore.QPoint(8, 8))
        elif isinstance(value, (QtWidgets.QCheckBox, QtWidgets.QRadioButton)):
            QtTest.QTest.mouseClick(value, QtCore.Qt.MouseButton.LeftButton, pos=QtCore.QPoint(8, value.height() // 2))
        else:
            QtTest.QTest.mouseClick(value, QtCore.Qt.MouseButton.LeftButton)
        self.process()

    def type(self, widget: Any, text: str) -> None:
        """Put a text into a field instead of what is there, key by key, and leave it with Enter where it has one line."""
        value = self._reachable(widget)
        value.setFocus()
        if hasattr(value, "selectAll"):
            value.selectAll()
        QtTest.QTest.keyClicks(value, text)
        if isinstance(value, (QtWidgets.QLineEdit, QtWidgets.QAbstractSpinBox)):
            QtTest.QTest.keyClick(value, QtCore.Qt.Key.Key_Return)
        self.process()

    def pick(self, widget: Any, choice: Any) -> None:
        """Choose an entry of a list by its text, or a node (None is the empty entry) of a node selector."""
        value = self._reachable(widget)
        box, text = value, choice
        if isinstance(value, mrml_widgets.qMRMLNodeComboBox):
            box = value._box
            text = value._none_text if choice is None else choice.GetName()
        index = [box.itemText(n) for n in range(box.count())].index(text)
        if not box.model().flags(box.model().index(index, box.modelColumn())) & QtCore.Qt.ItemFlag.ItemIsEnabled:
            raise AssertionError(f"the entry {text!r} of {value.objectName()} is greyed out")
        box.setCurrentIndex(index)
        box.activated.emit(index)
        self.process()

    def key(self, sequence: str) -> None:
        """Press keys ("Ctrl+Z", "N") wherever the focus is; shortcuts fire as a person's do."""
        keys = QtGui.QKeySequence(sequence)[0]
        target = QtWidgets.QApplication.focusWidget() or self.window
        QtTest.QTest.keyClick(target, keys.key(), keys.keyboardModifiers())
        self.process()

    def show(self, widget: Any) -> None:
        """Show a widget, give it the focus, and let it be laid out."""
        value = python_qt.hidden(widget)
        value.show()
        value.window().activateWindow()
        value.setFocus()
        self.process()

    def picture(self, widget: Any, path: Path) -> Path:
        """Write what a person sees of a widget as a PNG; ``widget`` may be ``host.window``."""
        for _ in range(4):  # widgets in widgets are laid out one after the other
            self.process()
        value = widget if isinstance(widget, QtWidgets.QWidget) else python_qt.hidden(widget)
        assert value.grab().save(str(path), "PNG"), path
        return path

    def _reachable(self, widget: Any) -> Any:
        value = python_qt.hidden(widget)
        if isinstance(value, QtWidgets.QWidget):
            if not value.isVisible():
                raise AssertionError(f"a person does not see {value.objectName() or value}")
            if not value.isEnabled():
                raise AssertionError(f"{value.objectName() or value} is greyed out")
        return value

    # ---- the scene ----

    def save_scene(self, path: Path) -> Path:
        """Save the scene as a bundle (.mrb)."""
        return save_scene(self.scene, path)

    def open_scene(self, path: Path) -> None:
        """Close the scene and open a bundle, as "Open" does."""
        self.close_scene()
        read_scene(path, self.scene)
        self.process()

    def close_scene(self) -> None:
        """File, Close Scene."""
        self.scene.Clear(False)
        self.process()


def _call(panel: Any, name: str) -> None:
    """Slicer calls enter() and exit() only where a module has them; an error is printed, the module is open anyway."""
    method = getattr(panel, name, None)
    if method is not None:
        python_qt.guarded(method)()


@contextmanager
def session(with_view: bool = False, four_up: bool = False) -> Iterator[Host]:
    """One session for one test, with a red view of 256 x 256 pixels or without any; skips where it cannot be drawn.

    ``four_up`` adds the yellow and the green one.
    """
    import pytest

    screen, others = None, {}
    if with_view or four_up:
        pytest.importorskip(
            "trame_slicer", reason="trame-slicer is not installed: there is no view", exc_type=ImportError
        )
        if find_library("EGL") is None:
            pytest.skip("libEGL is not installed: no view can be drawn without a screen")
        screen = OffscreenSlice((256, 256))
        if four_up:
            others = {name: OffscreenSlice((256, 256), name, screen) for name in ("Yellow", "Green")}
    host = install(screen, others)
    try:
        yield host
    finally:
        try:
            host.remove()
        finally:
            for one in (*others.values(), *([] if screen is None else [screen])):
                one.close()


def install(screen: OffscreenSlice | None = None, others: Mapping[str, OffscreenSlice] = {}) -> Host:
    """Put the stand-ins in place; ``host.remove()`` takes them away. Without a screen there is a scene but no view."""
    return Host(screen, others)
