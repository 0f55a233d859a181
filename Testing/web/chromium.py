"""``dense-landmarks serve`` in a process of its own, and a real browser that opens its link."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIZE = {"width": 1500, "height": 950}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync")
STARTED_WITHIN_S, DONE_WITHIN_S = 60.0, 90.0


def find_chromium() -> str | None:
    """Where Debian's Chromium is, or any other."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Served:
    """The command, as a person starts it.

    Attributes
    ----------
    link : what it printed.
    data_folder : the person's, where journals and the own library are.
    """

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.data_folder = folder / "data" / "DenseLandmarks"
        command = [sys.executable, "-m", "DenseLandmarksLib", "serve", *map(str, arguments), "--no-browser"]
        self._process = subprocess.Popen(
            [*command, "--who", "an annotator"],
            cwd=ROOT,
            env={**os.environ, "XDG_DATA_HOME": str(folder / "data")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.link = self._wait_for_link()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.said.extend(self._process.stdout)

    def _wait_for_link(self) -> str:
        end = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < end and self._process.poll() is None:
            for line in list(self.said):
                found = re.search(r"https?://\S+", line)
                if found:
                    return found[0]
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"no link was printed: {''.join(self.said)}")

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def stop(self) -> int:
        """As Ctrl+C does; returns the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def until(done: Callable[[], Any], page: Any, what: str, at_most_s: float = DONE_WITHIN_S) -> Any:
    """Wait for something to be the case, with the browser going on; returns it."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        page.wait_for_timeout(50)
    raise AssertionError(f"it never happened: {what}; the page says: {page.inner_text('#message')}")


@contextmanager
def page_of(folder: Path, *arguments: str | Path) -> Iterator[Any]:
    """The page of a server that is started with these ``arguments``, to take a picture of; it writes in ``folder``."""
    from playwright.sync_api import sync_playwright

    served = Served(folder, *arguments)
    try:
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_page(viewport=SIZE)
            page.goto(served.link)
            page.wait_for_selector("#case-name", state="attached")
            yield page
            browser.close()
    finally:
        served.stop()
