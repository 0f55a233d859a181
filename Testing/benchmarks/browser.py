"""``python -m Testing.benchmarks.browser``: four people who drag landmarks in their browsers, two of them predicting.

One process is one person, so there are four servers. The browsers are WebSocket clients that send what the page sends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.edits import Move, TakePrediction
from DenseLandmarksLib.annotation.journal import read_journal
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import JOURNALS, Session
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import find_bundle, open_predictor
from Testing.benchmarks.chest import chest_phantom
from Testing.web.page_client import CallError, PageClient
from training.phantoms import phantom_image

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, PREDICTING, SIDE, VIEW = 4, 2, 2048, 1024
MOVES_PER_S, MOVES_PER_DRAG, RADIUS_PX = 5, 8, 15
GROWTH_AT_MOST = 1.1
FRAME_MS = 200
MODEL, AREA = "chest-xray", "Red"
# The first picture may take this long.
_SETTLES_S = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Person:
    """What one person did, and what came of it.

    Attributes
    ----------
    folder : in which the library and the user's data are.
    index_ij : where the landmark is that this person drags, a continuous pixel index (2,).
    dropped : where it was dropped each time.
    """

    folder: Path
    name: str = ""
    case_id: str = ""
    index_ij: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    dropped: list[NDArray[np.float64]] = field(default_factory=list)
    predictions: int = 0
    errors: list[str] = field(default_factory=list)
    picture_ms: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def prepare(self, predictor: Predictor) -> None:
        """Make a library of one radiograph that the model has seen."""
        library = Library.create(self.folder / "library", "chests")
        case = library.add_pixels(phantom_image(chest_phantom(predictor.template, (SIDE, SIDE))))
        session = Session(case, "anna", data_folder=self.folder / "data")
        image, _ = case.read_image()
        described = read_description(find_bundle(MODEL))
        session.take(ModelAnswer(predictor.predict(image), described.template, described.styles), image.geometry)
        session.save()
        self.case_id, self.name = case.id, session.state.landmarks.names[10]
        self.index_ij = session.state.index_ijk[10, :2]
        session.close()

    def edits_on_disk(self) -> list[object]:
        """All edits in this person's journal."""
        journals = list((self.folder / "share").rglob(f"{JOURNALS}/{self.case_id}/[!.]*"))
        return [edit for path in journals for edit in read_journal(path).history.edits]

    def lost(self) -> int:
        """How many drops are not on the disk, in their order, within a pixel of the image."""
        moves = [dict(edit.positions) for edit in self.edits_on_disk() if isinstance(edit, Move)]
        found = iter(np.array(move[self.name][:2]) for move in moves if self.name in move)
        return sum(not any(np.abs(at - drop).max() <= 1 for at in found) for drop in self.dropped)


class Mouse:
    """The mouse in one view of a page, and how long pictures take to follow it. It waits for nobody, as a hand does."""

    def __init__(self, page: PageClient, person: Person, tasks: asyncio.TaskGroup) -> None:
        self._page, self._person, self._tasks = page, person, tasks
        self._loop = asyncio.get_running_loop()
        self._owed: list[tuple[float, int]] = []
        self._pictures, self._is_held = 0, False
        page.on_picture = self._take

    def do(self, what: str, x: int, y: int) -> asyncio.Task[object]:
        """Do something at a pixel of the view, from its bottom left."""
        if what == "LeftButtonPress":
            self._is_held, self._owed = True, []
        elif what == "LeftButtonRelease":
            self._is_held = False
        elif what == "MouseMove" and self._is_held:  # a mouse that comes to rest where it was changes no picture
            # While another picture is on its way it is the one after it that shows this move.
            self._owed.append((self._loop.time(), self._pictures + 1 + bool(self._owed)))
        keys = {"altKey": 0, "ctrlKey": 0, "shiftKey": 0}
        event = {"type": what, "x": x, "y": y, "w": VIEW, "h": VIEW, "p": 1, **keys}
        return self._tasks.create_task(self._page.call("trame.rca.event", AREA, "region", event))

    def _take(self, view: str, _about: object, _picture: bytes) -> None:
        self._pictures += view == AREA
        now = self._loop.time()
        shown = [sent for sent, number in self._owed if number <= self._pictures]
        self._owed = [owed for owed in self._owed if owed[1] > self._pictures]
        self._person.picture_ms += [1000 * (now - sent) for sent in shown]
        self._tasks.create_task(self._page.trigger("seen", view))


async def work(person: Person, seconds: float, is_predicting: bool) -> None:
    """Work for so long in a server of one's own."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with serving(person) as (link, process_id), aiohttp.ClientSession(cookie_jar=jar) as http:
        (await http.get(link, raise_for_status=True)).close()
        page = await PageClient.open(http, link.split("?")[0])
        try:
            async with asyncio.TaskGroup() as tasks:
                mouse = Mouse(page, person, tasks)
                await page.call("trame.rca.size", AREA, "", {"w": VIEW, "h": VIEW, "p": 1})
                await page.trigger("open_case", person.case_id)
                await page.wait_until(lambda state: state["case_id"] == person.case_id)
                await asyncio.sleep(_SETTLES_S)
                until = asyncio.get_running_loop().time() + seconds
                tasks.create_task(watch_memory(person, process_id, until))
                tasks.create_task(drag(person, mouse, until))
                if is_predicting:
                    tasks.create_task(predict(person, page, until))
            if "expected" in page.state["message"]:
                person.errors.append(page.state["message"])
        except* (CallError, aiohttp.ClientError, TimeoutError, ConnectionError) as failed:
            person.errors += [repr(error) for error in failed.exceptions]
        finally:
            page.on_picture = lambda *_: None
            await page.close()


async def drag(person: Person, mouse: Mouse, until: float) -> None:
    """Drag a landmark around where it was at first, again and again."""
    clock = asyncio.get_running_loop()
    middle, due = person.index_ij, clock.time()
    while due < until:
        turn = len(person.dropped)
        x, y = in_view(person.index_ij)
        to_x, to_y = in_view(middle + RADIUS_PX * np.array([np.cos(turn), np.sin(turn)]))
        mouse.do("MouseMove", x, y)
        mouse.do("LeftButtonPress", x, y)
        for step in range(1, MOVES_PER_DRAG + 1):
            part = step / MOVES_PER_DRAG
            mouse.do("MouseMove", round(x + part * (to_x - x)), round(y + part * (to_y - y)))
            due += 1 / MOVES_PER_S
            await asyncio.sleep(due - clock.time())
        await mouse.do("LeftButtonRelease", to_x, to_y)
        person.index_ij = in_image(to_x, to_y)
        person.dropped.append(person.index_ij)
        due += 1 / MOVES_PER_S
        await asyncio.sleep(due - clock.time())


async def predict(person: Person, page: PageClient, until: float) -> None:
    """Have the model see the image again and again."""
    clock = asyncio.get_running_loop()
    while clock.time() < until:
        await page.trigger("predict")
        await page.wait_until(lambda state: state["predicting"])
        await page.wait_until(lambda state: not state["predicting"], timeout_s=120)
        person.predictions += 1


async def watch_memory(person: Person, process_id: int, until: float) -> None:
    """Note the memory of a server once a second."""
    clock = asyncio.get_running_loop()
    while clock.time() < until:
        resident = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
        person.memory_mb.append(resident * _PAGE_BYTES / 2**20)
        await asyncio.sleep(1)


def in_view(index_ij: NDArray[np.float64]) -> tuple[int, int]:
    """The pixel, from the bottom left, of the view that the image fills."""
    x, y = (index_ij + 0.5) * VIEW / SIDE
    return round(x), round(VIEW - y)


def in_image(x: int, y: int) -> NDArray[np.float64]:
    """What :func:`in_view` takes."""
    return np.array((x, VIEW - y)) * SIDE / VIEW - 0.5


@asynccontextmanager
async def serving(person: Person) -> AsyncIterator[tuple[str, int]]:
    """A server of a person's own: its link and its process."""
    environment = {**os.environ, "XDG_DATA_HOME": str(person.folder / "share"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "DenseLandmarksLib", "serve", str(person.folder / "library"), "--no-browser"]
    with (person.folder / "log.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=log
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(120):
                async for line in process.stdout:
                    if b"token=" in line:
                        break
            yield line.decode().strip(), process.pid
        finally:
            process.terminate()
            await process.wait()
    log_lines = (person.folder / "log.txt").read_text().splitlines()
    person.errors += [line for line in log_lines if "Error" in line or "ERR|" in line]


def report(people: list[Person], seconds: float, predicting: int) -> str:
    """What came of it, as a Markdown table."""
    pictures = np.concatenate([person.picture_ms for person in people])
    growth = max(np.median(quarters(person)[-1]) / np.median(quarters(person)[0]) for person in people)
    median, high = np.percentile(pictures, (50, 95))
    drops, lost = sum(len(person.dropped) for person in people), sum(person.lost() for person in people)
    predictions = sum(person.predictions for person in people)
    kept = sum(isinstance(edit, TakePrediction) for person in people for edit in person.edits_on_disk())
    errors = [error for person in people for error in person.errors]
    memory = ", ".join(
        f"{np.median(quarters(person)[0]):.0f} to {np.median(quarters(person)[-1]):.0f}" for person in people
    )
    rows = [
        ("errors", f"{len(errors)}", "0", not errors),
        (f"edits lost, of {drops} drops", f"{lost}", "0", drops > 0 and lost == 0),
        (f"predictions lost, of {predictions}", f"{predictions - kept}", "0", predictions == kept),
        # A person alone is to see each frame of a drag this soon; what four on two cores see is only reported.
        (
            f"picture after a move, median of {len(pictures)}",
            f"{median:.0f} ms",
            *((f"≤ {FRAME_MS} ms", median <= FRAME_MS) if len(people) == 1 else ("none set", None)),
        ),
        ("... 95 % within", f"{high:.0f} ms", "none set", None),
        ("a server's memory, first to last quarter (MB)", memory, "none set", None),
        ("... grown at most", f"{growth:.2f} times", f"≤ {GROWTH_AT_MOST:g} times", growth <= GROWTH_AT_MOST),
    ]
    lines = [
        f"{len(people)} people for {seconds:g} s, {predicting} of them predicting, {SIDE} x {SIDE} pixels in a view of "
        f"{VIEW} x {VIEW}, {MOVES_PER_S} moves a second, {os.cpu_count()} CPU cores.\n",
        "| what | measured | target | met |",
        "|---|---:|---:|---:|",
    ]
    met = {True: "yes", False: "**no**", None: ""}
    lines += [f"| {what} | {measured} | {target} | {met[is_met]} |" for what, measured, target, is_met in rows]
    return "\n".join([*lines, *(f"error: {error}" for error in errors)])


def quarters(person: Person) -> list[NDArray[np.float64]]:
    """The memory of a person's server, in four parts."""
    return np.array_split(np.array(person.memory_mb), 4)


async def all_at_once(people: list[Person], seconds: float, predicting: int) -> None:
    """Have all people work, the first ``predicting`` of them predict as well."""
    await asyncio.gather(*(work(person, seconds, number < predicting) for number, person in enumerate(people)))


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks.browser", description="Print a table.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the people work")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--predicting", type=int, default=PREDICTING, help="how many of them predict again and again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        people = [Person(Path(folder, f"person-{number}")) for number in range(asked.people)]
        predictor = open_predictor(MODEL, "cpu")
        for person in people:
            person.prepare(predictor)
        asyncio.run(all_at_once(people, asked.seconds, asked.predicting))
        print(report(people, asked.seconds, asked.predicting))


if __name__ == "__main__":
    main()
