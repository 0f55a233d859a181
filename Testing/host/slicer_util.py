"""The functions of ``slicer.util`` that need the application's windows; all others are slicer-core's own."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6 import QtWidgets

from Testing.host import python_qt
from Testing.host.designer import load_ui
from Testing.host.dialogs import Dialogs
from Testing.scene.saved_scene import read_scene


def functions(host: Any, person: Dialogs) -> dict[str, Callable[..., Any]]:
    """Functions by their names, to be put into ``slicer.util``."""

    def display(kind: str, level: int, when_testing: Any) -> Callable[..., Any]:
        # The names are the parameters of Slicer's functions and the properties of its message box.
        def shown(
            text: str,
            windowTitle: str | None = None,  # noqa: N803
            parent: Any = None,
            standardButtons: Any = None,  # noqa: N803
            detailedText: str | None = None,  # noqa: N803
            dontShowAgainSettingsKey: str | None = None,  # noqa: N803
        ) -> Any:
            logging.getLogger("slicer").log(level, text)
            return person.ask(kind, text, when_testing)

        return shown

    def delay_display(message: str, autoCloseMsec: int = 1000, parent: Any = None) -> None:  # noqa: N803
        person.recorded.messages.append(("delay", message))
        QtWidgets.QApplication.processEvents()

    def show_status(message: str, duration: int = 0) -> bool:
        person.recorded.status.append(message)
        return True

    def save_scene(filename: str, properties: Any = None) -> bool:
        host.save_scene(Path(filename))
        return True

    def load_scene(filename: str, properties: Any = None) -> bool:
        read_scene(Path(filename), host.scene)
        return True

    def reload_module(name: str) -> Any:
        return host._reload(name)

    def forbidden(name: str, instead: str) -> Callable[..., Any]:
        def called(*arguments: Any, **keywords: Any) -> None:
            raise RuntimeError(f"the test host has no slicer.util.{name}: {instead}")

        return called

    @contextmanager
    def try_with_error_display(
        message: str | None = None,
        show: bool = True,
        waitCursor: bool = False,  # noqa: N803
    ) -> Iterator[None]:
        import slicer

        try:
            yield
        except Exception as error:
            if show and not person.testing:
                said = f"{message}\n\n{error}" if message is not None else str(error)
                slicer.util.errorDisplay(said, detailedText=traceback.format_exc())
            raise

    return {
        "infoDisplay": display("info", logging.INFO, True),
        "warningDisplay": display("warning", logging.WARNING, True),
        "errorDisplay": display("error", logging.ERROR, True),
        "messageBox": display("messageBox", logging.INFO, True),
        "confirmOkCancelDisplay": display("okCancel", logging.INFO, True),
        "confirmYesNoDisplay": display("yesNo", logging.INFO, True),
        "confirmRetryCloseDisplay": display("retryClose", logging.ERROR, False),
        "delayDisplay": delay_display,
        "showStatusMessage": show_status,
        "tryWithErrorDisplay": try_with_error_display,
        "loadUI": load_ui,
        "mainWindow": lambda: python_qt.show(host.window),
        "selectModule": lambda module: host.select(module if isinstance(module, str) else module.name),
        "selectedModule": lambda: host.selected,
        "reloadScriptedModule": reload_module,
        "saveScene": save_scene,
        "loadScene": load_scene,
        "modulePath": lambda name: host.modules._known[name.lower()].path,
        "restart": lambda: host.app.restart(),
        "pip_install": forbidden("pip_install", "slicer.packaging.pip_ensure"),
        "pip_uninstall": forbidden("pip_uninstall", "packages are the person's"),
        "launchConsoleProcess": forbidden("launchConsoleProcess", "the worker starts its own process"),
    }


def translate(context: str, text: str) -> str:
    """``slicer.i18n.translate``."""
    if not isinstance(text, str):
        raise TypeError(f"expected a text to translate, got {text!r}")
    return text


def tr(text: str) -> str:
    """``slicer.i18n.tr``."""
    name = os.path.basename(sys._getframe(1).f_code.co_filename)
    return translate(name, text)
