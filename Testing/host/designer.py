"""``slicer.util.loadUI``: a form made in Qt Designer, of the classes that the stand-in has.

Links that carry a scene (``mRMLSceneChanged(vtkMRMLScene*)`` to ``setMRMLScene(vtkMRMLScene*)``) are made as the form says;
a selector that the form does not link stays empty, as in Slicer. A property that its widget does not have is refused: Qt
would keep it as a dynamic one and show nothing.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.host import mrml_widgets, python_qt

_OURS = {
    one.__name__: one
    for one in (mrml_widgets.ctkCollapsibleButton, mrml_widgets.qMRMLWidget, mrml_widgets.qMRMLNodeComboBox)
}


class _Loader(QtUiTools.QUiLoader):
    def __init__(self) -> None:
        super().__init__()
        self.lacking: list[str] = []

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        if class_name == "Line":
            return super().createWidget(class_name, parent, name)
        kind = _OURS.get(class_name) or getattr(QtWidgets, class_name, None)
        if kind not in python_qt._shown_classes:
            self.lacking.append(class_name)
            kind = QtWidgets.QWidget
        made = kind(parent)
        made.setObjectName(name)
        return made


def load_ui(path: Any) -> Any:
    """The widget of a ``.ui`` file; raises RuntimeError as Slicer does, and on what the stand-in has not."""
    if not isinstance(path, str):
        raise ValueError(f"qt.QFile takes a text, got {path!r}")
    if not Path(path).is_file():
        raise RuntimeError(f"Could not load UI file: file not found {path}\n\n")
    root = ET.fromstring(Path(path).read_text(encoding="utf-8"))
    connections = root.find("connections")
    links = (
        [] if connections is None else [one for one in connections if "vtkMRMLScene*" in (one.findtext("signal") or "")]
    )
    for one in links:
        connections.remove(one)  # type: ignore[union-attr]
    loader = _Loader()
    buffer = QtCore.QBuffer()
    buffer.setData(ET.tostring(root))
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    widget = loader.load(buffer)
    if loader.lacking:
        raise RuntimeError(
            f"{path}: the test host has no {sorted(set(loader.lacking))}; add them to Testing/host/qt_classes.py"
        )
    if widget is None:
        raise RuntimeError(f"Could not load UI file: {path}: {loader.errorString()}\n\n")
    named = {one.objectName(): one for one in (widget, *widget.findChildren(QtWidgets.QWidget)) if one.objectName()}
    _check_properties(root, named, path)
    for one in links:
        _link(named, one, path)
    return python_qt.show(widget)


def _check_properties(root: ET.Element, named: dict[str, Any], path: str) -> None:
    seen: set[str] = set()
    for element in root.iter("widget"):
        name = element.get("name", "")
        if name in seen:
            raise RuntimeError(f"{path}: two widgets are called {name}")
        seen.add(name)
        if element.get("class") == "Line" or name not in named:
            continue
        meta = named[name].metaObject()
        for one in element.findall("property"):
            if one.get("stdset") != "0" and meta.indexOfProperty(one.get("name", "")) < 0:
                raise RuntimeError(f"{path}: {element.get('class')} {name} has no property '{one.get('name')}'")


def _link(named: dict[str, Any], link: ET.Element, path: str) -> None:
    said = tuple(link.findtext(one) or "" for one in ("sender", "signal", "receiver", "slot"))
    sender, receiver = named.get(said[0]), named.get(said[2])
    known = isinstance(sender, mrml_widgets.qMRMLWidget) and hasattr(receiver, "setMRMLScene")
    if not known or said[1] != "mRMLSceneChanged(vtkMRMLScene*)" or said[3] != "setMRMLScene(vtkMRMLScene*)":
        raise RuntimeError(f"{path}: Qt cannot connect {' '.join(said)}")
    sender.mRMLSceneChanged.connect(receiver.setMRMLScene)  # type: ignore[union-attr]
