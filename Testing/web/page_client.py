"""What trame's page does, without a browser: a WebSocket that speaks wslink, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgpack
from wslink.chunking import UnChunker, generate_chunks

_LARGEST = 1 << 30


class CallError(Exception):
    """What the server answered in place of a result."""


class PageClient:
    """One open page.

    Attributes
    ----------
    state : the page's state as the server told it.
    on_picture : called with each picture that comes in: the view's name, its description, its bytes.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._chunks = UnChunker()
        self._chunks.set_max_message_size(_LARGEST)
        self.state: dict[str, Any] = {}
        self.on_picture: Callable[[str, dict[str, Any], bytes], None] = lambda *_: None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, page: str, **options: Any) -> PageClient:
        """Open the page at an address that ends with a slash, with the cookies of ``http``.

        Raises :class:`aiohttp.ClientResponseError` where the server refuses.
        """
        options.setdefault("headers", {"Origin": str(http_origin(page))})
        async with http.post(f"{page}paraview/", json={}, raise_for_status=True, **options) as answer:
            secret = (await answer.json())["secret"]
        client = cls(await http.ws_connect(f"{page}ws", max_msg_size=_LARGEST, **options))
        await client._call_as("system", "wslink.hello", {"secret": secret})
        client.state |= (await client.call("trame.state.get"))["state"]
        return client

    async def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the server returns; raises :class:`CallError`."""
        return await self._call_as("rpc", method, *arguments)

    async def trigger(self, name: str, *arguments: Any) -> Any:
        """A command of the page."""
        return await self.call("trame.trigger", name, list(arguments), {})

    async def choose(self, **wishes: Any) -> None:
        """Set values of the page's state, as its fields do."""
        self.state |= wishes
        await self.call("trame.state.update", [{"key": name, "value": value} for name, value in wishes.items()])

    async def wait_until(self, holds: Callable[[dict[str, Any]], Any], timeout_s: float = 60.0) -> None:
        """Wait until the page's state is so; raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            while not holds(self.state):
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close the tab."""
        await self._socket.close()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _call_as(self, kind: str, method: str, *arguments: Any) -> Any:
        key = f"{kind}:{next(self._ids)}"
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        message = {"wslink": "1.0", "id": key, "method": method, "args": list(arguments), "kwargs": {}}
        for chunk in generate_chunks(msgpack.packb(message), 0):
            await self._socket.send_bytes(chunk)
        return await answer

    async def _read(self) -> None:
        async for frame in self._socket:
            message = self._chunks.process_chunk(frame.data)
            if message is not None:
                self._take(message)
        for answer in self._answers.values():
            answer.set_exception(CallError(f"the connection was closed with {self._socket.close_code}"))

    def _take(self, message: dict[str, Any]) -> None:
        kind, topic, *_ = message["id"].split(":")
        if kind != "publish":
            answer = self._answers.pop(message["id"])
            if "error" in message:
                answer.set_exception(CallError(str(message["error"])))
            else:
                answer.set_result(message["result"])
        elif topic == "trame.state.topic":
            self.state |= message["result"]
        elif topic == "trame.rca.topic.stream":
            picture = message["result"]
            self.on_picture(picture["name"], picture["meta"], picture["content"])


def http_origin(page: str) -> str:
    """What a browser sends as ``Origin`` from a page."""
    return "/".join(page.split("/", 3)[:3])
