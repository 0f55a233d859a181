"""PySide6 objects as PythonQt shows them to a scripted module.

PythonQt and PySide6 wrap the same C++ classes differently. Here every object that the panel gets is a :class:`Shown`: a
property is an attribute (``w.text``, so ``w.text()`` fails), an attribute that does not exist cannot be set, enum values are
integers, lists come back as tuples, Qt takes no keyword arguments, and of a signal's arguments a Python function gets as
many as it takes. An error in a slot or a callback does not stop the caller, as in the application; it is kept in
:data:`errors`, and the host raises it at the next step.

Stricter than PythonQt: a string must be a ``str`` (PythonQt calls ``str()``), and connecting to a signal that does not
exist raises (PythonQt answers False).
"""

from __future__ import annotations

import enum
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import shiboken6
from PySide6 import QtCore

errors: list[BaseException] = []
_shown_classes: dict[type, ShownType] = {}
_connections: dict[tuple[int, str], list[tuple[Callable[..., Any], Callable[..., Any]]]] = {}


def forget() -> None:
    """Let go of what earlier windows left behind."""
    errors.clear()
    _connections.clear()


def keep_error(error: BaseException) -> None:
    """Keep an error that the application would only print, and print it."""
    traceback.print_exception(error)
    errors.append(error)


class EnumValue(int):
    """A value of one of Qt's enums; an ``int``, as in PythonQt."""

    member: Any

    def __new__(cls, member: Any) -> EnumValue:
        number = int.__new__(cls, member.value)
        number.member = member
        return number

    def __or__(self, other: int) -> int:
        return self._joined(other, lambda a, b: a | b)

    def __and__(self, other: int) -> int:
        return self._joined(other, lambda a, b: a & b)

    def __invert__(self) -> int:
        return EnumValue(~self.member) if isinstance(self.member, enum.Flag) else ~int(self)

    __ror__, __rand__ = __or__, __and__

    def _joined(self, other: int, join: Callable[[Any, Any], Any]) -> int:
        if (
            isinstance(other, EnumValue)
            and isinstance(self.member, enum.Flag)
            and type(other.member) is type(self.member)
        ):
            return EnumValue(join(self.member, other.member))
        return join(int(self), int(other))

    def __repr__(self) -> str:
        return f"{self.member!r}"


def show(value: Any) -> Any:
    """What PythonQt would hand to Python for what PySide6 hands out."""
    if isinstance(value, enum.Enum):
        return EnumValue(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)) or hasattr(value, "GetClassName"):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(show(one) for one in value)
    if isinstance(value, dict):
        return {key: show(one) for key, one in value.items()}
    if isinstance(value, QtCore.QByteArray):
        return bytes(value.data())
    if isinstance(value, shiboken6.Shiboken.Object):
        return _shown(value)
    return value  # a Python object kept in a QVariant


def _shown(value: Any) -> Shown:
    kept = getattr(value, "_host_shown", None)
    kept = kept() if isinstance(kept, weakref.ref) else kept
    if kept is not None:
        return kept
    for qt_class in type(value).__mro__:
        if qt_class in _shown_classes:
            shown = object.__new__(_shown_classes[qt_class])
            shown._adopt(value)
            return shown
    raise TypeError(f"the test host has no qt.{type(value).__name__}; add it to Testing/host/qt_classes.py")


def hidden(value: Any) -> Any:
    """What PySide6 takes for what a module passes; raises ValueError on what PythonQt would not take."""
    if isinstance(value, Shown):
        return value._alive()
    if isinstance(value, EnumValue):
        return value.member
    if value is None or isinstance(value, (bool, str, bytes)) or hasattr(value, "GetClassName"):
        return value
    if isinstance(value, float):
        return float(value)
    if hasattr(value, "__index__"):
        return value.__index__()
    if isinstance(value, (list, tuple)):
        return [hidden(one) for one in value]
    if isinstance(value, dict):
        return {key: hidden(one) for key, one in value.items()}
    raise ValueError(f"PythonQt takes no {type(value).__name__} here: {value!r}")


def call(name: str, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call into Qt as PythonQt does."""
    if keywords:
        raise ValueError(f"Called {name} with keyword arguments {sorted(keywords)}: PythonQt takes none")
    taken = [hidden(one) for one in arguments]
    try:
        return show(function(*taken))
    except (TypeError, NotImplementedError) as error:
        raise ValueError(f"Called {name}{arguments!r} with wrong arguments: {error}") from error


class ShownType(type):
    """A class of ``qt``: its enum values and static methods."""

    _qt_class: Any

    def __getattr__(cls, name: str) -> Any:
        found = None if name.startswith("_") else getattr(cls._qt_class, name, None)
        if isinstance(found, enum.Enum):
            return EnumValue(found)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            raise AttributeError(f"{cls.__name__}.{name} holds no values in PythonQt: {cls.__name__}.<value>")
        if isinstance(found, types.BuiltinFunctionType):
            return lambda *arguments, **keywords: call(f"{cls.__name__}.{name}", found, arguments, keywords)
        raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}' on the test host")


class Shown(metaclass=ShownType):
    """One object of Qt's as PythonQt shows it."""

    _qt_class: Any = None
    _qt: Any
    _adds: tuple[str, ...] = ()  # methods of a class of ours that a module may call

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if keywords:
            raise ValueError(f"Called {type(self).__name__} with keyword arguments {sorted(keywords)}")
        taken = [hidden(one) for one in arguments]
        try:
            self._adopt(_class_to_make(type(self))(*taken))
        except (TypeError, NotImplementedError) as error:
            raise ValueError(f"Could not find matching overload for given arguments: {arguments!r}: {error}") from error

    def _adopt(self, value: Any) -> None:
        object.__setattr__(self, "_qt", value)
        if isinstance(value, QtCore.QObject) or type(value).__name__.endswith("Item"):
            # A subclass of the module's has attributes of its own: it lives as long as Qt's object.
            value._host_shown = weakref.ref(self) if "_qt_class" in vars(type(self)) else self

    def _alive(self) -> Any:
        value = self.__dict__.get("_qt")
        if value is None:
            raise ValueError(f"{type(self).__name__}.__init__ was not called")
        if not shiboken6.isValid(value):
            raise ValueError(f"Trying to use a destroyed {type(self).__name__} object")
        return value

    def _property(self, name: str) -> Any:
        value = self._alive()
        if not isinstance(value, QtCore.QObject):
            return None
        meta = value.metaObject()
        index = meta.indexOfProperty("objectName" if name == "name" else name)
        return meta.property(index) if index >= 0 else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self._alive()
        known = self._property(name)
        if known is not None:
            return show(_read(value, known.name()))
        if isinstance(value, QtCore.QObject):
            signature = _first_signature(value, name)
            if signature is not None:
                return BoundSignal(self, signature)
        method = _method(self, value, name)
        if method is not None:
            return method
        if isinstance(value, QtCore.QObject):
            dynamic = value.property(name) if name in _dynamic_names(value) else None
            if dynamic is not None:
                return show(dynamic)
            for child in value.children():
                if child.objectName() == name:
                    return show(child)
        raise AttributeError(f"{type(self).__name__} has no attribute named '{name}' on the test host")

    def __setattr__(self, name: str, new: Any) -> None:
        value = self._alive() if "_qt" in self.__dict__ else None
        known = self._property(name) if value is not None else None
        if known is not None:
            _write(value, known, new)
        elif value is not None and isinstance(value, QtCore.QObject) and name in _dynamic_names(value):
            value.setProperty(name, hidden(new))
        elif value is not None and callable(getattr(value, name, None)):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {type(self).__name__} object")
        elif "_qt_class" not in vars(type(self)):  # a subclass of the module's
            object.__setattr__(self, name, new)
        else:
            raise AttributeError(
                f"'{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects is not allowed"
            )

    def __bool__(self) -> bool:
        return shiboken6.isValid(self.__dict__.get("_qt"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shown):
            return False
        return self._qt is other._qt or (not isinstance(self._qt, QtCore.QObject) and bool(self._qt == other._qt))

    def __hash__(self) -> int:
        return id(self._qt) if isinstance(self._qt, QtCore.QObject) else hash(self._qt)

    def __repr__(self) -> str:
        return f"{type(self).__name__} ({type(self).__name__} at: {id(self._qt):#x})"


def _read(value: Any, name: str) -> Any:
    kind, capital = type(value), name[0].upper() + name[1:]
    if isinstance(getattr(kind, name, None), QtCore.Property):
        return getattr(value, name)
    for getter in (f"is{capital}", f"has{capital}", name):
        if isinstance(getattr(kind, getter, None), types.MethodDescriptorType):
            return getattr(value, getter)()
    return value.property(name)


def _write(value: Any, known: Any, new: Any) -> None:
    name, wanted = known.name(), known.typeName()
    refused = AttributeError(
        f"Property '{name}' of type '{wanted}' does not accept an object of type {type(new).__name__} ({new!r})"
    )
    if not known.isWritable():
        raise AttributeError(f"Property '{name}' of {type(value).__name__} object is not writable")
    try:
        taken = hidden(new)
    except ValueError as error:
        raise refused from error
    number = isinstance(taken, (bool, int, float))
    if isinstance(taken, enum.Enum) and not known.isEnumType():
        taken, number = int(taken.value), True
    if known.isEnumType() and type(taken) is int:
        taken = type(_read(value, name))(taken)
    elif (
        (wanted in ("bool", "int", "double") and not number)
        or (wanted == "QString" and not isinstance(taken, str))
        or taken is None
    ):
        raise refused
    setter = f"set{name[0].upper()}{name[1:]}"
    try:
        if isinstance(getattr(type(value), setter, None), types.MethodDescriptorType):
            getattr(value, setter)(taken)
        elif not value.setProperty(name, taken):
            raise refused
    except TypeError as error:
        raise refused from error


def _dynamic_names(value: Any) -> list[str]:
    return [bytes(name.data()).decode() for name in value.dynamicPropertyNames()]


def _first_signature(value: Any, name: str) -> str | None:
    meta = value.metaObject()
    for n in range(meta.methodCount()):
        method = meta.method(n)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal and method.name() == name.encode():
            return bytes(method.methodSignature().data()).decode()
    return None


_NOT_IN_PYTHON_QT = {"metaObject", "staticMetaObject", "receivers", "sender", "isSignalConnected"}


def _method(shown: Shown, value: Any, name: str) -> Callable[..., Any] | None:
    """A method of Qt's, or of a class of ours; ``exec_`` and ``raise_`` mean ``exec`` and ``raise``."""
    if name in _NOT_IN_PYTHON_QT:
        return None
    ours = _shown_classes.get(type(value))
    if ours is not None and not type(value).__module__.startswith("PySide6") and name not in ours._adds:
        own = any(name in vars(one) for one in type(value).__mro__ if not one.__module__.startswith("PySide6"))
        if own:
            return None  # how the stand-in is made, nothing of Slicer's
    names = [name, name.removesuffix("_")] if name.endswith("_") else [name, f"{name}_"]
    for one in names:
        function = getattr(value, one, None)
        if isinstance(function, (types.BuiltinFunctionType, types.MethodType)):
            return _Method(f"{type(shown).__name__}.{name}", function)
        if isinstance(function, enum.Enum):
            return EnumValue(function)  # type: ignore[return-value]
    return None


class _Method:
    """A slot of Qt's; no Python function, so that it gets all arguments of a signal, as in PythonQt."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name, self._function = name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return call(self._name, self._function, arguments, keywords)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Method) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)


class BoundSignal:
    """A signal of one object."""

    def __init__(self, shown: Shown, signature: str) -> None:
        self._shown, self._signature = shown, signature

    def connect(self, *receiver: Any) -> bool:
        return connect(self._shown, self._signature, *receiver)

    def disconnect(self, *receiver: Any) -> bool:
        return disconnect(self._shown, self._signature, *receiver)

    def emit(self, *arguments: Any) -> None:
        getattr(self._shown._alive(), self._signature.split("(")[0]).emit(*(hidden(one) for one in arguments))

    __call__ = emit


def _known_signature(value: Any, signature: str) -> str:
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    ours = normal.replace("vtkMRMLNode*", "PyObject").replace("vtkMRMLScene*", "PyObject")
    for one in (normal, ours):
        if value.metaObject().indexOfSignal(one) >= 0:
            return one
    raise ValueError(f"{value.metaObject().className()} has no signal '{signature}'")


def connect(shown: Shown, signature: str, receiver: Any, slot: str | None = None) -> bool:
    """``connect("clicked(bool)", function)`` or ``connect("toggled(bool)", widget, "setVisible(bool)")``."""
    value = shown._alive()
    known = _known_signature(value, signature)
    function = getattr(receiver, slot.split("(")[0]) if slot is not None else receiver
    if not callable(function):
        raise ValueError(f"cannot connect '{signature}' to {function!r}")

    def called(*arguments: Any) -> None:
        try:
            function(*(show(one) for one in arguments[: _taken_by(function)]))
        except Exception as error:
            keep_error(error)

    QtCore.QObject.connect(value, QtCore.SIGNAL(known), called)
    _connections.setdefault((shiboken6.getCppPointer(value)[0], known), []).append((function, called))
    return True


def disconnect(shown: Shown, signature: str, receiver: Any = None, slot: str | None = None) -> bool:
    """Undo one :func:`connect`, or all of a signal."""
    value = shown._alive()
    known = _known_signature(value, signature)
    function = getattr(receiver, slot.split("(")[0]) if slot is not None else receiver
    there = _connections.get((shiboken6.getCppPointer(value)[0], known), [])
    gone = [one for one in there if receiver is None or one[0] == function][: None if receiver is None else 1]
    for one in gone:
        there.remove(one)
        QtCore.QObject.disconnect(value, QtCore.SIGNAL(known), one[1])
    return bool(gone)


def _taken_by(function: Any) -> int | None:
    """How many of a signal's arguments PythonQt passes on; defaults count, ``functools.partial`` takes all."""
    inner = getattr(function, "__func__", function)
    if not isinstance(inner, types.FunctionType):
        return None
    if inner.__code__.co_flags & 0x04:  # *args
        return None
    return inner.__code__.co_argcount - (function is not inner)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A callback whose error is kept."""

    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            keep_error(error)
            return None

    return called


# ---- what every QObject has --------------------------------------------------------------------------------------------


class _OfEveryObject:
    """Methods that PythonQt gives a QObject, or gives differently than PySide6."""

    def connect(self: Any, signature: str, *receiver: Any) -> bool:
        return connect(self, signature, *receiver)

    def disconnect(self: Any, signature: str, *receiver: Any) -> bool:
        return disconnect(self, signature, *receiver)

    def className(self: Any) -> str:  # noqa: N802
        return self._alive().metaObject().className()

    def delete(self: Any) -> None:
        shiboken6.delete(self._alive())

    def findChild(self: Any, kind: Any, name: str = "") -> Any:  # noqa: N802
        return next(iter(_OfEveryObject.findChildren(self, kind, name)), None)

    def findChildren(self: Any, kind: Any, name: str = "") -> tuple[Any, ...]:  # noqa: N802
        wanted = kind if isinstance(kind, str) else kind._qt_class
        return tuple(show(one) for one in _descendants(self._alive()) if _fits(one, wanted, name))


def _descendants(value: Any) -> Iterator[Any]:
    for child in value.children():
        yield child
        yield from _descendants(child)


def _fits(value: Any, wanted: Any, name: str) -> bool:
    fits = value.inherits(wanted) if isinstance(wanted, str) else isinstance(value, wanted)
    return fits and (not name or value.objectName() == name)


def shown_class(qt_class: type, adds: tuple[str, ...] = ()) -> ShownType:
    """The class of ``qt``, ``ctk`` or ``slicer`` for a class of PySide6's, or one of ours with the methods it ``adds``."""
    if qt_class in _shown_classes:
        return _shown_classes[qt_class]
    bases = tuple(_shown_classes[one] for one in qt_class.__mro__[1:] if one in _shown_classes)[:1] or (Shown,)
    inherited = bases[0]._adds
    namespace: dict[str, Any] = {"_qt_class": qt_class, "_adds": inherited + adds, "__module__": "qt"}
    if qt_class is QtCore.QObject:
        namespace |= {name: one for name, one in vars(_OfEveryObject).items() if not name.startswith("_")}
    for name in dir(qt_class):  # what a subclass of the module's overrides, it may call on super()
        if name.endswith("Event") or name in ("event", "eventFilter"):
            namespace[name] = _base_method(qt_class, name)
    made = ShownType(qt_class.__name__, bases, namespace)
    _shown_classes[qt_class] = made
    return made


def _base_method(qt_class: type, name: str) -> Callable[..., Any]:
    def method(self: Shown, *arguments: Any, **keywords: Any) -> Any:
        return call(name, lambda *taken: getattr(qt_class, name)(self._alive(), *taken), arguments, keywords)

    method.__name__ = name
    method._of_qt = True  # type: ignore[attr-defined]
    return method


_made_classes: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _class_to_make(shown: ShownType) -> type:
    """The PySide6 class, or for a Python subclass one whose virtual methods call the module's."""
    if "_qt_class" in vars(shown):
        return shown._qt_class
    if shown not in _made_classes:
        namespace: dict[str, Any] = {}
        for kind in reversed(shown.__mro__):
            for name, function in vars(kind).items():
                ours = isinstance(function, types.FunctionType) and not getattr(function, "_of_qt", False)
                if ours and not name.startswith("_") and isinstance(kind, ShownType) and "_qt_class" not in vars(kind):
                    namespace[name] = _virtual(name)
        namespace = {name: one for name, one in namespace.items() if hasattr(shown._qt_class, name)}
        _made_classes[shown] = type(shown.__name__, (shown._qt_class,), namespace)
    return _made_classes[shown]


def _virtual(name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        kept = getattr(self, "_host_shown", None)
        if kept is None:  # while it is being made
            return getattr(super(type(self), self), name)(*arguments)
        answer = hidden(guarded(getattr(kept, name))(*(show(one) for one in arguments)))
        return bool(answer) if name.startswith("event") else answer

    return method
