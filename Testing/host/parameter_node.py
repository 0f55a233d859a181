"""``slicer.parameterNodeWrapper``: a typed view of a ``vtkMRMLScriptedModuleNode``.

Values really lie in the node, written as Slicer writes them: "True", ``str(number)``, an enum's *name*, a node as a
reference whose role is the field's name. ``Optional[T]`` is stored under ``name.0`` (a value) or ``name.1`` (None), as
Slicer's union is; every value is kept and read again only when the node says that it was modified, as in Slicer, so a
change that comes without that event is not seen. Fields may be bool, int, float, str, an Enum, a node class, or one of
these with ``| None``; anything else raises when the class is made.
"""

from __future__ import annotations

import enum
import types
import typing
import weakref
from collections.abc import Callable
from typing import Annotated, Any

from Testing.host import parameter_gui, python_qt


class WithinRange:
    """``Annotated[float, WithinRange(0, 1)]``."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Choice:
    """``Annotated[str, Choice(["a", "b"])]``."""

    def __init__(self, choices: Any) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


class Default:
    """``Annotated[int, Default(3)]``."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


class _Kind:
    """How values of one plain type lie in the node."""

    def __init__(self, kind: Any) -> None:
        import slicer

        self.kind = kind
        self.is_node = isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)
        self.is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        self.is_none = kind is types.NoneType
        if not (self.is_node or self.is_enum or self.is_none or kind in (bool, int, float, str)):
            raise TypeError(f"the test host stores no {kind}; add it to Testing/host/parameter_node.py")

    def default(self) -> Any:
        if self.is_enum:
            return next(iter(self.kind))
        return None if self.is_node or self.is_none else {bool: False, str: ""}.get(self.kind, 0)

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.is_node or self.is_none
        return isinstance(value, (int, float) if self.kind is float else self.kind)

    def write(self, node: Any, name: str, value: Any) -> None:
        if not self.accepts(value):
            if value is None:
                raise ValueError("Value must not be None")
            raise TypeError(f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'")
        if self.is_node or self.is_none:
            node.SetParameter(name, "")
            if self.is_node:
                node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(name, value.name if self.is_enum else str(value))

    def read(self, node: Any, name: str) -> Any:
        if self.is_none or self.is_node:
            return node.GetNodeReference(name) if self.is_node else None
        text = node.GetParameter(name)
        if self.is_enum:
            if text not in self.kind.__members__:
                raise ValueError(f"Found {text!r} in parameter node but it is not a name in {self.kind!r}")
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        if self.is_node:
            node.RemoveNodeReferenceIDs(name)


class _Field:
    """One field of a wrapper class."""

    def __init__(self, owner: type, name: str, hint: Any) -> None:
        self.name, self.hint = name, hint
        annotated = typing.get_origin(hint) is Annotated
        plain, notes = (typing.get_args(hint)[0], hint.__metadata__) if annotated else (hint, ())
        union = typing.get_origin(plain) in (typing.Union, types.UnionType)
        self.kinds = [_Kind(one) for one in (typing.get_args(plain) if union else (plain,))]
        self.union = union
        if union and (len(self.kinds) != 2 or not self.kinds[1].is_none):
            raise TypeError(f"{owner.__name__}.{name}: the test host knows of unions only T | None")
        self.notes = notes
        defaults = [one for one in notes if isinstance(one, Default)]
        unknown = [one for one in notes if not isinstance(one, (Default, WithinRange, Choice))]
        if unknown or len(defaults) > 1:
            raise TypeError(f"{owner.__name__}.{name}: annotations {unknown or defaults}")
        if hasattr(owner, name):
            self.default = Default(getattr(owner, name))
        else:
            self.default = defaults[0] if defaults else Default(None if union else self.kinds[0].default())

    def _place(self, index: int) -> str:
        return f"{self.name}.{index}" if self.union else self.name

    def is_in(self, node: Any) -> bool:
        return any(node.HasParameter(self._place(n)) for n in range(len(self.kinds)))

    def write(self, node: Any, value: Any) -> None:
        for note in self.notes:
            if isinstance(note, (WithinRange, Choice)):
                note.validate(value)
        fitting = [n for n, kind in enumerate(self.kinds) if kind.accepts(value)]
        at = fitting[-1] if self.union and value is None else (fitting or [0])[0]
        before = node.StartModify()
        try:
            if self.union and fitting:
                for n, kind in enumerate(self.kinds):
                    kind.remove(node, self._place(n))
            self.kinds[at].write(node, self._place(at), value)
        finally:
            node.EndModify(before)

    def read(self, node: Any) -> Any:
        if not self.is_in(node):
            self.write(node, self.default.value)
        at = next(n for n in range(len(self.kinds)) if node.HasParameter(self._place(n)))
        return self.kinds[at].read(node, self._place(at))


class _Kept:
    """A value that is read again when the node was modified."""

    def __init__(self, field: _Field, node: Any) -> None:
        self.field, self.node, self.writing = field, node, False
        if not field.is_in(node):
            field.write(node, field.default.value)
        self.value = field.read(node)
        me = weakref.ref(self)  # the observer must not keep the wrapper alive

        def modified(*_: Any) -> None:
            kept = me()
            if kept is not None and not kept.writing:
                kept.value = kept.field.read(kept.node)

        self.tag = node.AddObserver("ModifiedEvent", python_qt.guarded(modified))

    def __del__(self) -> None:
        if hasattr(self, "tag"):
            self.node.RemoveObserver(self.tag)

    def write(self, value: Any) -> None:
        self.writing = True
        before = self.node.StartModify()
        try:
            self.field.write(self.node, value)
            self.value = self.field.read(self.node)
        finally:
            self.writing = False
            self.node.EndModify(before)


class _Wrapper:
    """What every wrapper class can do; the names are Slicer's."""

    allParameters: typing.ClassVar[dict[str, _Field]]  # noqa: N815

    def __init__(self, parameterNode: Any) -> None:  # noqa: N803
        self.parameterNode = parameterNode
        self._kept = {name: _Kept(field, parameterNode) for name, field in self.allParameters.items()}
        self._guis: dict[int, Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.allParameters and name not in ("parameterNode", "_kept", "_guis"):
            raise AttributeError(f"{type(self).__name__} has no field '{name}'; Slicer would keep it outside the scene")
        super().__setattr__(name, value)

    def _known(self, name: str) -> _Field:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}\n  Found {sorted(self.allParameters)}")
        return self.allParameters[name]

    def default(self, name: str) -> Default:
        return self._known(name).default

    def dataType(self, name: str) -> Any:  # noqa: N802
        return self._known(name).hint

    def getValue(self, name: str) -> Any:  # noqa: N802
        self._known(name)
        return self._kept[name].value

    def setValue(self, name: str, value: Any) -> None:  # noqa: N802
        self._known(name)
        self._kept[name].write(value)

    def connectGui(self, gui: Any) -> int:  # noqa: N802
        """Bind every widget with the dynamic property SlicerParameterName; returns a tag for :meth:`disconnectGui`."""
        return parameter_gui.connect(self, gui)

    def disconnectGui(self, tag: int) -> None:  # noqa: N802
        parameter_gui.disconnect(self, tag)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:  # noqa: N802
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:  # noqa: N802
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:  # noqa: N802
        return self.parameterNode.StartModify()

    def EndModify(self, was: int) -> int:  # noqa: N802
        return self.parameterNode.EndModify(was)

    def Modified(self) -> None:  # noqa: N802
        self.parameterNode.Modified()


def parameterNodeWrapper(wrapped: type | None = None) -> Any:  # noqa: N802
    """The class decorator."""
    if wrapped is None:
        return parameterNodeWrapper
    fields = {}
    for name, hint in typing.get_type_hints(wrapped, include_extras=True).items():
        if hasattr(_Wrapper, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        fields[name] = _Field(wrapped, name, hint)
    body = {name: one for name, one in vars(wrapped).items() if name not in ("__dict__", "__weakref__", *fields)}
    body |= {name: _attribute(name) for name in fields} | {"allParameters": fields}
    return type(wrapped.__name__, (_Wrapper, *(one for one in wrapped.__bases__ if one is not object)), body)


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))
