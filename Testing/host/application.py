"""``slicer.app``, its layout and its slice views (real ones, drawn offscreen), and ``slicer.modules``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.host import dialogs, python_qt
from Testing.host.settings import QSettings
from Testing.host.strict import Strict
from Testing.scene.offscreen import OffscreenSlice

ONE_UP_RED = 6
# The views of the four-up layout, and the orientations that the layout's description gives them.
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class SliceView(Strict):
    """``sliceWidget("Red").sliceView()``."""

    def __init__(self, screen: OffscreenSlice) -> None:
        self._screen = screen

    def interactor(self) -> Any:
        return self._screen.view.interactor()

    def renderWindow(self) -> Any:  # noqa: N802
        return self._screen.view.render_window()

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._screen.view._view_node

    def displayableManagerByClassName(self, name: str) -> Any:  # noqa: N802
        import slicer

        return self._screen.view.get_displayable_manager_by_class(getattr(slicer, name))

    def scheduleRender(self) -> None:  # noqa: N802
        QtCore.QTimer.singleShot(0, self._screen.render)

    def forceRender(self) -> None:  # noqa: N802
        self._screen.render()


class SliceWidget(Strict):
    """``layoutManager().sliceWidget("Red")``."""

    def __init__(self, screen: OffscreenSlice) -> None:
        self._screen = screen

    def sliceLogic(self) -> Any:  # noqa: N802
        return self._screen.view._logic

    def sliceView(self) -> SliceView:  # noqa: N802
        return SliceView(self._screen)

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._screen.view._view_node

    def mrmlSliceCompositeNode(self) -> Any:  # noqa: N802
        return self._screen.view._logic.GetSliceCompositeNode()


class ThreeDView(Strict):
    """Nothing is drawn."""

    def resetFocalPoint(self) -> None:  # noqa: N802
        """Nothing to do."""

    forceRender = scheduleRender = resetFocalPoint  # noqa: N815


class ThreeDWidget(Strict):
    """``layoutManager().threeDWidget(0)``."""

    def threeDView(self) -> ThreeDView:  # noqa: N802
        return ThreeDView()


class LayoutManager(Strict):
    """The red view, and in all layouts but its own the others that the host has; the layout's number is kept."""

    _settable = ("layout",)

    def __init__(self, screen: OffscreenSlice, others: Mapping[str, OffscreenSlice]) -> None:
        self._screen, self._screens = screen, {"Red": screen, **others}
        self._layout = 3  # four-up, as an application begins
        self._logic: Any = None
        for name, one in self._screens.items():
            one.view._view_node.SetDefaultOrientation(ORIENTATIONS[name])

    @property
    def layout(self) -> int:
        return self._layout

    @layout.setter
    def layout(self, number: int) -> None:
        self._layout = int(number)
        if self._logic is not None:
            self._logic.GetLayoutNode().SetViewArrangement(self._layout)

    def layoutLogic(self) -> Any:  # noqa: N802
        """Slicer's own, made when it is first asked for: it adds the nodes of a layout's views to the scene."""
        if self._logic is None:
            import slicer

            self._logic = slicer.vtkMRMLLayoutLogic()
            self._logic.SetMRMLScene(self._screen.scene)
            self._logic.GetLayoutNode().SetViewArrangement(self._layout)
        return self._logic

    def setLayout(self, number: int) -> None:  # noqa: N802
        self.layout = number

    def _close(self) -> None:
        """Before the scene goes."""
        if self._logic is not None:
            self._logic.SetMRMLScene(None)

    def sliceViewNames(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(self._screens)[: 1 if self._layout == ONE_UP_RED else None]

    def sliceWidget(self, name: str) -> SliceWidget:  # noqa: N802
        if name not in self._screens:
            raise AttributeError(f"the test host has the slice views {', '.join(self._screens)}; there is no {name}")
        return SliceWidget(self._screens[name])

    def mrmlSliceLogics(self) -> Any:  # noqa: N802
        return self._screen.app.app_logic.GetSliceLogics()

    @property
    def threeDViewCount(self) -> int:  # noqa: N802
        return 1

    def threeDWidget(self, index: int) -> ThreeDWidget:  # noqa: N802
        if index != 0:
            raise AttributeError("the test host has one 3D widget, number 0")
        return ThreeDWidget()

    def resetSliceViews(self) -> None:  # noqa: N802
        for screen in self._screens.values():
            screen.view.fit_view_to_content()

    def resetThreeDViews(self) -> None:  # noqa: N802
        """Nothing to do."""


class FactoryManager(Strict):
    """``slicer.app.moduleManager().factoryManager()``."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def loadedModuleNames(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(one.name for one in self._modules._known.values())

    registeredModuleNames = loadedModuleNames  # noqa: N815

    def isLoaded(self, name: str) -> bool:  # noqa: N802
        return name in self.loadedModuleNames()

    isRegistered = isLoaded  # noqa: N815


class ModuleManager(Strict):
    """``slicer.app.moduleManager()``; the one signal that modules listen to is sent by the host."""

    def __init__(self, modules: Modules) -> None:
        self._modules, self._unloading = modules, []  # type: ignore[var-annotated]

    def factoryManager(self) -> FactoryManager:  # noqa: N802
        return FactoryManager(self._modules)

    def module(self, name: str) -> Any:
        return self._modules._known.get(name.lower())

    def connect(self, signal: str, function: Callable[[str], None]) -> bool:
        if signal != "moduleAboutToBeUnloaded(QString)":
            raise ValueError(f"the test host's moduleManager has no signal {signal}")
        self._unloading.append(function)
        return True

    def disconnect(self, signal: str, function: Callable[[str], None]) -> bool:
        if function in self._unloading:
            self._unloading.remove(function)
        return True


class Module(Strict):
    """What a module's class gets as ``parent``, and what ``slicer.modules.<name>`` is."""

    _settable = (
        *("title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText", "icon", "hidden"),
        *("associatedNodeTypes", "extensions", "index", "widgetRepresentationCreationEnabled"),
    )

    def __init__(self, name: str, path: str = "", logic: Any = None, scripted: bool = True) -> None:
        self._known_as, self._path, self._logic, self._widget = name, path, logic, None
        if scripted:  # a widget of C++ is not there at all
            self._scripted = True

    @property
    def name(self) -> str:
        return self._known_as

    @property
    def path(self) -> str:
        return self._path

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:  # noqa: N802
        if self._widget is None:
            raise AttributeError(f"the test host has no widget of the module {self._known_as}")
        return python_qt.show(self._widget)

    def _name(self) -> str:
        return f"slicer.modules.{self._known_as.lower()}"


class Modules:
    """``slicer.modules``: modules by their name in small letters, and whatever modules keep there themselves."""

    def __init__(self, app_logic: Any) -> None:
        self._known: dict[str, Module] = {}
        self._app_logic = app_logic

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._known:
            return self._known[name]
        logic = self._app_logic.GetModuleLogic(name.capitalize()) if self._app_logic is not None else None
        if logic is not None:
            return Module(name.capitalize(), logic=logic, scripted=False)
        raise AttributeError(f"slicer.modules has no {name!r} on the test host")


class Application(Strict):
    """``slicer.app``."""

    _where = "Testing/host/application.py"
    _settable = ("temporaryPath",)
    majorVersion, minorVersion, revision, applicationName = 5, 12, "34567", "Slicer"  # noqa: N815

    def __init__(
        self,
        scene: Any,
        screen: OffscreenSlice | None,
        others: Mapping[str, OffscreenSlice],
        modules: Modules,
        person: dialogs.Dialogs,
    ) -> None:
        self._scene, self._screen, self._person = scene, screen, person
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-host-")
        self._module_manager = ModuleManager(modules)
        self._layout_manager = LayoutManager(screen, others) if screen is not None else None
        self._settings = QSettings()
        self.temporaryPath = self._folder.name
        self._on_startup: list[Callable[[], None]] = []

    def connect(self, signal: str, function: Callable[[], None]) -> bool:
        if signal != "startupCompleted()":
            raise ValueError(f"the test host's slicer.app has no signal {signal}")
        self._on_startup.append(function)
        return True

    @property
    def slicerHome(self) -> str:  # noqa: N802
        return self._folder.name

    @property
    def cachePath(self) -> str:  # noqa: N802
        return self._folder.name

    def _name(self) -> str:
        return "slicer.app"

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def applicationLogic(self) -> Any:  # noqa: N802
        if self._screen is None:
            raise AttributeError("the test host has no application logic without a view")
        return self._screen.app.app_logic

    def layoutManager(self) -> LayoutManager | None:  # noqa: N802
        return self._layout_manager

    def moduleManager(self) -> ModuleManager:  # noqa: N802
        return self._module_manager

    def settings(self) -> QSettings:
        return self._settings

    userSettings = settings  # noqa: N815

    def testingEnabled(self) -> bool:  # noqa: N802
        return self._person.testing

    def processEvents(self) -> None:  # noqa: N802
        QtWidgets.QApplication.processEvents()

    def setOverrideCursor(self, cursor: Any) -> None:  # noqa: N802
        QtWidgets.QApplication.setOverrideCursor(QtGui.QCursor(python_qt.hidden(cursor)))

    def restoreOverrideCursor(self) -> None:  # noqa: N802
        QtWidgets.QApplication.restoreOverrideCursor()

    def clipboard(self) -> Any:
        return python_qt.show(QtWidgets.QApplication.clipboard())

    def translate(self, context: str, text: str) -> str:
        return text

    def restart(self) -> None:
        self._person.recorded.restarts += 1
