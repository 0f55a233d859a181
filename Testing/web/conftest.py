"""A server as a person starts it, and what may come to it from elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from Testing.scene.open_cases import chest_library
from Testing.web.small_page import SmallPage
from Testing.web.speak import Speaker


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    """A library of one chest, chest-0."""
    return chest_library(tmp_path, chest_template)


@pytest.fixture
def bench(tmp_path: Path, library: Library) -> Any:
    """One person's work, in that library."""
    pytest.importorskip(
        "slicer", reason="slicer-core or a library it needs is not installed: there is no scene", exc_type=ImportError
    )
    from DenseLandmarksLib.scene.workbench import Workbench
    from Testing.scene.saved_scene import new_scene

    bench = Workbench(new_scene(), "anna", lambda line: None, data_folder=tmp_path / "user")
    bench.open_library(library.folder)
    yield bench
    bench.close()


@pytest.fixture
def start(bench: Any) -> Iterator[Callable[..., Speaker]]:
    """``start(**how)``: a server with a small page, listening; whoever speaks to it has its link."""
    from DenseLandmarksLib.web.serve import Serving

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started = []

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    def begin(**how: Any) -> Speaker:
        async def build() -> Serving:
            serving = Serving(bench, SmallPage, **how)
            await serving.start()
            return serving

        serving = wait(build())
        started.append(serving)
        return Speaker(serving, lambda: wait(serving.stop()))

    yield begin
    for serving in started:
        wait(serving.stop())
    wait(_end_the_rest())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def speaker(start: Callable[..., Speaker]) -> Speaker:
    """A server as it is started without any option."""
    return start()


async def _end_the_rest() -> None:
    """End what still runs in a loop, as ``asyncio.run`` does."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
