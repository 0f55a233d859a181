"""Widgets bound to fields by their dynamic property ``SlicerParameterName``, as Slicer's GUI connectors bind them."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

PROPERTY = "SlicerParameterName"


class _Bound:
    """One widget and one field."""

    def __init__(self, signal: str, widget: Any, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.signal, self.widget, self.read, self.write = signal, widget, read, write
        self.changed: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        if self.signal:
            self.widget.connect(self.signal, changed)

    def stop(self) -> None:
        if self.signal and self.widget:
            self.widget.disconnect(self.signal, self.changed)


def _attribute_of(widget: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(widget, name), lambda value: setattr(widget, name, value)


def _bind(widget: Any, hint: Any) -> _Bound:
    """Raises RuntimeError where Slicer has no connector for the pair; the widget's class must be exactly one it knows."""
    import qt
    import slicer

    plain = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    notes = getattr(hint, "__metadata__", ())
    bounds = next((one for one in notes if type(one).__name__ == "WithinRange"), None)
    kind = type(widget)
    if kind is qt.QCheckBox and plain is bool:
        return _Bound("stateChanged(int)", widget, *_attribute_of(widget, "checked"))
    if kind is qt.QPushButton and plain is bool:
        widget.checkable = True
        return _Bound("toggled(bool)", widget, *_attribute_of(widget, "checked"))
    if kind in (qt.QSlider, qt.QSpinBox) and plain is int:
        if bounds is None and kind is qt.QSlider:
            raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
        widget.minimum, widget.maximum = (bounds.minimum, bounds.maximum) if bounds else (-(2**31), 2**31 - 1)
        return _Bound("valueChanged(int)", widget, *_attribute_of(widget, "value"))
    if kind is qt.QDoubleSpinBox and plain in (int, float):
        return _double(widget, plain, bounds)
    if kind is qt.QComboBox and plain in (int, float, str, bool):
        choice = next((one for one in notes if type(one).__name__ == "Choice"), None)
        if choice is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        return _choices(widget, [(str(one), one) for one in choice.choices])
    if kind is qt.QComboBox and isinstance(plain, type) and issubclass(plain, enum.Enum):
        label = getattr(plain, "label", lambda one: one.name)
        return _choices(widget, [(label(one), one) for one in plain])
    if kind is qt.QLineEdit and plain is str:

        def write(value: str) -> None:
            if value != widget.text:  # or the cursor would move
                widget.text = value

        return _Bound("textChanged(QString)", widget, lambda: widget.text, write)
    if kind is qt.QLabel and plain is str:
        return _Bound("", widget, *_attribute_of(widget, "text"))
    if kind is slicer.qMRMLNodeComboBox:
        union = typing.get_origin(plain) in (typing.Union, types.UnionType)
        classes = [one for one in (typing.get_args(plain) if union else (plain,)) if one is not types.NoneType]
        if all(isinstance(one, type) and issubclass(one, slicer.vtkMRMLNode) for one in classes):
            widget.nodeTypes = [one().GetClassName() for one in classes]
            return _Bound("currentNodeChanged(vtkMRMLNode*)", widget, widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{hint}' to widget type '{kind}'.")


def _double(widget: Any, plain: type, bounds: Any) -> _Bound:
    if plain is int:
        widget.decimals = 0
    infinity = float("inf")
    widget.minimum, widget.maximum = (bounds.minimum, bounds.maximum) if bounds else (-infinity, infinity)
    return _Bound(
        "valueChanged(double)", widget, lambda: plain(widget.value), lambda value: setattr(widget, "value", value)
    )


def _choices(widget: Any, choices: list[tuple[str, Any]]) -> _Bound:
    widget.clear()
    for text, _ in choices:
        widget.addItem(text)

    def write(value: Any) -> None:
        widget.currentIndex = next(n for n, one in enumerate(choices) if one[1] == value)

    return _Bound("currentIndexChanged(int)", widget, lambda: choices[widget.currentIndex][1], write)


def connect(wrapper: Any, gui: Any) -> int:
    """Bind all widgets of a form, or of what ``childWidgetVariables`` returns."""
    import qt

    widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "isWidgetType") else list(vars(gui).values())
    named = [(one.property(PROPERTY), one) for one in widgets if one.property(PROPERTY)]
    twice = {name for name, _ in named if [other for other, _ in named].count(name) > 1}
    if twice:
        raise RuntimeError(f"two widgets are bound to {sorted(twice)}; Slicer would silently bind the last")
    bound = {name: _bind(one, wrapper.dataType(name)) for name, one in named}
    updating = [False]

    def from_node(*_: Any) -> None:
        if updating[0]:
            return
        updating[0] = True
        before = wrapper.StartModify()
        try:
            for name, one in bound.items():
                one.write(wrapper.getValue(name))
        finally:
            wrapper.EndModify(before)
            updating[0] = False

    def from_widget(name: str) -> Callable[[], None]:
        def changed() -> None:
            before = wrapper.StartModify()
            try:
                if not updating[0]:
                    wrapper.setValue(name, bound[name].read())
            finally:
                wrapper.EndModify(before)

        return changed

    for name, one in bound.items():
        one.write(wrapper.getValue(name))
        one.start(from_widget(name))
    tag = max(wrapper._guis, default=-1) + 1
    wrapper._guis[tag] = (bound, wrapper.AddObserver("ModifiedEvent", from_node))
    return tag


def disconnect(wrapper: Any, tag: int) -> None:
    """Let the widgets be; a tag that is not known is ignored, as in Slicer."""
    bound, observer = wrapper._guis.pop(tag, ({}, None))
    for one in bound.values():
        one.stop()
    if observer is not None:
        wrapper.RemoveObserver(observer)
