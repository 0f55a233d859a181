"""Slicer's and CTK's own widgets that the panel uses: a collapsible part, a selector of nodes, a widget with a scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal
from vtkmodules.util.vtkConstants import VTK_OBJECT

from Testing.host.python_qt import guarded

TITLE_HEIGHT = 22


class ctkCollapsibleButton(QtWidgets.QAbstractButton):  # noqa: N801
    """A title that folds what lies below it.

    A child that is shown while it is folded appears at once; CTK keeps it hidden until it is unfolded.
    """

    contentsCollapsed = Signal(bool)  # noqa: N815

    def __init__(self, *arguments: Any) -> None:
        texts = [one for one in arguments if isinstance(one, str)]
        super().__init__(*(one for one in arguments if not isinstance(one, str)))
        self._collapsed = False
        self._folded: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, TITLE_HEIGHT, 0, 0)
        self.setText(texts[0] if texts else "")
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))

    def isCollapsed(self) -> bool:  # noqa: N802
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:  # noqa: N802
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            self._fold()
        else:
            for one in self._folded:
                one.show()
            self._folded = []
        self.setMaximumHeight(TITLE_HEIGHT if collapsed else 16777215)
        self.setChecked(not collapsed)
        self.contentsCollapsed.emit(collapsed)

    def _fold(self) -> None:
        there = [one for one in self.children() if isinstance(one, QtWidgets.QWidget) and not one.isHidden()]
        for one in there:
            one.hide()
        self._folded += there

    def showEvent(self, event: QtGui.QShowEvent) -> None:  # noqa: N802
        if self._collapsed:  # a form folds it before it has children
            self._fold()

    collapsed = Property(bool, isCollapsed, setCollapsed, notify=contentsCollapsed)

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: N802
        inner = self.layout().totalMinimumSize() if self.layout() and not self._collapsed else QtCore.QSize()
        return QtCore.QSize(max(inner.width(), 80), max(inner.height(), TITLE_HEIGHT))

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802
        inner = self.layout().totalSizeHint() if self.layout() and not self._collapsed else QtCore.QSize()
        return QtCore.QSize(max(inner.width(), 80), max(inner.height(), TITLE_HEIGHT))

    def hitButton(self, position: QtCore.QPoint) -> bool:  # noqa: N802
        return position.y() < TITLE_HEIGHT

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width(), TITLE_HEIGHT)
        painter.fillRect(title, self.palette().midlight())
        painter.drawText(
            title.adjusted(6, 0, 0, 0), QtCore.Qt.AlignVCenter, f"{'▸' if self._collapsed else '▾'} {self.text()}"
        )
        painter.end()


class qMRMLWidget(QtWidgets.QWidget):  # noqa: N801
    """A widget that knows a scene and passes it on to what the ``.ui`` connects to ``mRMLSceneChanged``."""

    mRMLSceneChanged = Signal(object)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        if scene is not self._scene:
            self._scene = scene
            self.mRMLSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):  # noqa: N801
    """A selector of a scene's nodes of some classes; it follows the scene, but not in the middle of a batch."""

    currentNodeChanged = Signal((object,), (bool,))  # noqa: N815
    currentNodeIDChanged = Signal(str)  # noqa: N815
    nodeActivated = Signal(object)  # noqa: N815
    nodeAddedByUser = Signal(object)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._nodes: list[Any] = []
        self._current: Any = None
        self._wanted_id = ""
        self._types: list[str] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._flags = dict.fromkeys(
            ("addEnabled", "removeEnabled", "showChildNodeTypes", "selectNodeUponCreation"), True
        )
        self._flags |= dict.fromkeys(("noneEnabled", "showHidden", "editEnabled", "renameEnabled"), False)
        self._none_text = "None"
        self._base_name = ""
        self._box = QtWidgets.QComboBox(self)
        self._box.currentIndexChanged.connect(self._picked)
        self._box.activated.connect(lambda _: self.nodeActivated.emit(self._current))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        observed = self._observed  # when it is destroyed there is no self any more
        self.destroyed.connect(lambda *_: _stop_observing(observed))

    # ---- what a module calls ----

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        if scene is self._scene:
            return
        self._let_go()
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.EndBatchProcessEvent, scene.EndImportEvent, scene.EndCloseEvent)
            for event in events:
                self._observe(scene, event, lambda *_: self._refresh())
            self._observe(scene, scene.NodeAboutToBeRemovedEvent, self._removing)
        self._refresh()

    def currentNode(self) -> Any:  # noqa: N802
        return self._current

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        if isinstance(node, str):
            self._wanted_id = node
            node = self._scene.GetNodeByID(node) if self._scene is not None and node else None
        else:
            self._wanted_id = node.GetID() if node is not None else ""
        self._take(node if node in self._nodes else None)

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        self.setCurrentNode(node_id or "")

    def nodeCount(self) -> int:  # noqa: N802
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:  # noqa: N802
        return self._nodes[index]

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:  # noqa: N802
        self._attributes.append((node_type, name, None if value is None else str(value)))
        self._refresh()

    def addNode(self, node_type: str = "") -> Any:  # noqa: N802
        """What "Create new ..." in the list does."""
        kind = node_type or self._types[0]
        name = self._base_name or self._scene.GetTypeDisplayNameByClassName(kind) or "Node"
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        if self._flags["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:  # noqa: N802
        if self._current is not None:
            self._scene.RemoveNode(self._current)

    def setNodeTypes(self, types: Any) -> None:  # noqa: N802
        self._types = list(types)
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self._types, setNodeTypes)  # noqa: N815
    currentNodeID = Property(str, lambda self: self._current.GetID() if self._current else "", setCurrentNodeID)  # noqa: N815

    def _flag(name: str) -> Any:  # type: ignore[misc] # noqa: N805
        def write(self: Any, value: bool) -> None:
            self._flags[name] = value
            self._refresh()

        return Property(bool, lambda self: self._flags[name], write), write

    noneEnabled, setNoneEnabled = _flag("noneEnabled")  # noqa: N815
    addEnabled, setAddEnabled = _flag("addEnabled")  # noqa: N815
    removeEnabled, setRemoveEnabled = _flag("removeEnabled")  # noqa: N815
    editEnabled, setEditEnabled = _flag("editEnabled")  # noqa: N815
    renameEnabled, setRenameEnabled = _flag("renameEnabled")  # noqa: N815
    showHidden, setShowHidden = _flag("showHidden")  # noqa: N815
    showChildNodeTypes, setShowChildNodeTypes = _flag("showChildNodeTypes")  # noqa: N815
    selectNodeUponCreation, setSelectNodeUponCreation = _flag("selectNodeUponCreation")  # noqa: N815

    def setNoneDisplay(self, text: str) -> None:  # noqa: N802
        self._none_text = text
        self._fill()

    def setBaseName(self, name: str) -> None:  # noqa: N802
        self._base_name = name

    noneDisplay = Property(str, lambda self: self._none_text, setNoneDisplay)  # noqa: N815
    baseName = Property(str, lambda self: self._base_name, setBaseName)  # noqa: N815

    # ---- following the scene ----

    def _observe(self, what: Any, event: Any, function: Any) -> None:
        safe = guarded(function)
        if hasattr(function, "CallDataType"):
            safe.CallDataType = function.CallDataType  # type: ignore[attr-defined]
        self._observed.append((what, what.AddObserver(event, safe)))

    def _let_go(self) -> None:
        _stop_observing(self._observed)
        self._nodes = []

    def _fits(self, node: Any) -> bool:
        exact = not self._flags["showChildNodeTypes"]
        if not any(node.GetClassName() == one if exact else node.IsA(one) for one in self._types):
            return False
        if node.GetHideFromEditors() and not self._flags["showHidden"]:
            return False
        wanted = [(name, value) for kind, name, value in self._attributes if node.IsA(kind)]
        return all(node.GetAttribute(n) is not None and value in (None, node.GetAttribute(n)) for n, value in wanted)

    def _refresh(self) -> None:
        if self._scene is None:
            self._nodes = []
        elif self._scene.IsBatchProcessing():
            return
        else:
            every = [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]
            of_type = [one for one in every if any(one.IsA(kind) for kind in self._types)]
            watched = {id(what) for what, _ in self._observed}
            for node in of_type:
                if id(node) not in watched:
                    self._observe(node, "ModifiedEvent", lambda *_: self._refresh())
            self._nodes = [one for one in of_type if self._fits(one)]
        self._choose()

    def _choose(self) -> None:
        wanted = next((one for one in self._nodes if self._wanted_id and one.GetID() == self._wanted_id), None)
        current = self._current if self._current in self._nodes else wanted
        if current is None and not self._flags["noneEnabled"] and self._nodes:
            current = self._nodes[0]
        self._take(current)

    def _removing(self, scene: Any, event: str, node: Any) -> None:
        for watched in [one for one in self._observed if one[0] is node]:
            node.RemoveObserver(watched[1])
            self._observed.remove(watched)
        if node in self._nodes:  # the scene is not walked: it may be in the middle of being cleared
            self._nodes.remove(node)
            self._choose()

    _removing.CallDataType = VTK_OBJECT  # type: ignore[attr-defined]

    def _fill(self) -> None:
        names = ([self._none_text] if self._flags["noneEnabled"] else []) + [one.GetName() for one in self._nodes]
        self._box.blockSignals(True)
        if [self._box.itemText(n) for n in range(self._box.count())] != names:
            self._box.clear()
            self._box.addItems(names)
        first = int(self._flags["noneEnabled"])
        at = self._nodes.index(self._current) + first if self._current in self._nodes else first - 1
        self._box.setCurrentIndex(at)
        self._box.blockSignals(False)

    def _take(self, node: Any) -> None:
        changed, self._current = node is not self._current, node
        if node is not None:
            self._wanted_id = node.GetID()
        self._fill()
        if changed:
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _picked(self, index: int) -> None:
        at = index - int(self._flags["noneEnabled"])
        node = self._nodes[at] if at >= 0 else None
        self._wanted_id = node.GetID() if node is not None else ""
        self._take(node)


def _stop_observing(observed: list[tuple[Any, int]]) -> None:
    for what, tag in observed:
        what.RemoveObserver(tag)
    observed.clear()


# What a module may call on them, beside what Qt's own classes have and their properties.
COMBO_METHODS = (
    *("mrmlScene", "setMRMLScene", "currentNode", "setCurrentNode", "setCurrentNodeID", "nodeCount", "nodeFromIndex"),
    *("addAttribute", "addNode", "removeCurrentNode", "setNodeTypes", "setNoneEnabled", "setAddEnabled"),
    *("setRemoveEnabled", "setEditEnabled", "setRenameEnabled", "setShowHidden", "setShowChildNodeTypes"),
    *("setSelectNodeUponCreation", "setNoneDisplay", "setBaseName"),
)
WIDGET_METHODS = ("mrmlScene", "setMRMLScene")
COLLAPSIBLE_METHODS = ("setCollapsed",)
