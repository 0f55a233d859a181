"""Everything that would stop and wait for a person: it takes the next answer that the test gave, and is written down.

A dialog without an answer raises, and the host raises it again at the next step, in case somebody swallowed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Testing.host import python_qt


class UnexpectedDialogError(RuntimeError):
    """A dialog that the test did not foresee."""


@dataclass
class Recorded:
    """What a person was told and asked, and where they were led.

    Attributes
    ----------
    messages : (kind, text) of every dialog: info, warning, error, okCancel, yesNo, question, openFile, ...
    status : lines of the status bar.
    modules : names of the modules that were selected.
    urls : pages and folders opened outside the application.
    restarts : how often the application was asked to restart.
    qt_warnings : what Qt itself complained about.
    """

    messages: list[tuple[str, str]] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    restarts: int = 0
    qt_warnings: list[str] = field(default_factory=list)


class Dialogs:
    """The person in front of the screen."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.answers: deque[tuple[str, Any]] = deque()
        self.testing = False

    def ask(self, kind: str, text: str, when_testing: Any = None) -> Any:
        """The next answer for a dialog of this kind."""
        self.recorded.messages.append((kind, text))
        if self.testing and when_testing is not None:
            return when_testing
        if not self.answers or self.answers[0][0] != kind:
            expected = f"'{self.answers[0][0]}'" if self.answers else "no dialog"
            error = UnexpectedDialogError(f"expected {expected}, got a dialog '{kind}' that says: {text}")
            python_qt.errors.append(error)
            raise error
        answer = self.answers.popleft()[1]
        return answer(text) if callable(answer) else answer


_current: Dialogs | None = None


def use(dialogs: Dialogs | None) -> None:
    """Who answers from now on."""
    global _current
    _current = dialogs


def ask(kind: str, text: str, when_testing: Any = None) -> Any:
    """Ask the person of the host that is installed."""
    if _current is None:
        raise RuntimeError(f"no test host is installed, nobody answers: {text}")
    return _current.ask(kind, text, when_testing)


class BoolResult:
    """PythonQt's ``bool*``: ``ok = qt.BoolResult()``, pass it, then ``if ok``."""

    def __init__(self) -> None:
        self._value = False

    def __bool__(self) -> bool:
        return self._value


class _Strict(type):
    def __getattr__(cls, name: str) -> Any:
        raise AttributeError(f"the test host has no qt.{cls.__name__}.{name}; add it to Testing/host/dialogs.py")


class QFileDialog(metaclass=_Strict):
    """Static functions only. PythonQt returns the path alone, and "" when it was cancelled."""

    @staticmethod
    def getOpenFileName(parent: Any = None, caption: str = "", directory: str = "", filters: str = "") -> str:  # noqa: N802
        return ask("openFile", caption)

    @staticmethod
    def getOpenFileNames(parent: Any = None, caption: str = "", directory: str = "", filters: str = "") -> Any:  # noqa: N802
        return tuple(ask("openFiles", caption))

    @staticmethod
    def getSaveFileName(parent: Any = None, caption: str = "", directory: str = "", filters: str = "") -> str:  # noqa: N802
        return ask("saveFile", caption)

    @staticmethod
    def getExistingDirectory(parent: Any = None, caption: str = "", directory: str = "") -> str:  # noqa: N802
        return ask("folder", caption)


def _input(kind: str, cancelled: Any) -> Callable[..., Any]:
    def get(parent: Any, title: str, label: str, *rest: Any) -> Any:
        ok = [one for one in rest if isinstance(one, BoolResult)]
        answer = ask(kind, label)  # None: the person cancelled
        for one in ok:
            one._value = answer is not None
        return cancelled if answer is None else answer

    return get


class QInputDialog(metaclass=_Strict):
    """Static functions only; a ``qt.BoolResult`` as the last argument says whether OK was pressed."""

    getText = staticmethod(_input("text", ""))  # noqa: N815
    getItem = staticmethod(_input("item", ""))  # noqa: N815
    getInt = staticmethod(_input("int", 0))  # noqa: N815
    getDouble = staticmethod(_input("double", 0.0))  # noqa: N815


class QDesktopServices(metaclass=_Strict):
    """Nothing is opened; the address is written down."""

    @staticmethod
    def openUrl(url: Any) -> bool:  # noqa: N802
        assert _current is not None
        _current.recorded.urls.append(url.toString())
        return True


def message_box(kind: str) -> Callable[..., Any]:
    """``qt.QMessageBox.question(parent, title, text, buttons, default)`` and its sisters."""

    def box(parent: Any, title: str, text: str, *buttons: Any) -> Any:
        return ask(kind, text)

    return box


def run_message_box(self: Any) -> Any:
    """``exec_`` of a message box that a module put together; the answer is a button's value, or of what was clicked."""
    return ask("messageBox", self.text)


def refuse_to_run(self: Any) -> None:
    """``show`` and ``open`` of a message box."""
    raise AttributeError("the test host runs a QMessageBox by exec_() only; extend Testing/host/dialogs.py")
