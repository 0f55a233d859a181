"""What browsers, other pages and other programs may send to a server, byte by byte where a client would not."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgpack
from wslink.chunking import UnChunker, generate_chunks


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """As a person reads it."""
        return self.body.decode()


class Speaker:
    """Speaks to a server from outside; ``stop()`` ends it."""

    def __init__(self, serving: Any, stop: Callable[[], None]) -> None:
        self.serving, self.port, self.stop = serving, serving.port, stop
        self.host = f"127.0.0.1:{self.port}"
        self.origin = f"http://{self.host}"
        self.token = serving.guard.token
        self._cookie = ""

    @property
    def cookie(self) -> str:
        """What the link was exchanged for."""
        if not self._cookie:
            answer = self.send("GET", f"/?token={self.token}", cookie=None)
            assert answer.status == 200, answer.text
            self._cookie = answer.headers["Set-Cookie"].split(";")[0]
        return self._cookie

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        cookie: str | None = "",
    ) -> Answer:
        """Send one request, as the page does unless ``headers`` say otherwise (``None`` leaves one out)."""
        given: dict[str, str | None] = {"Host": self.host}
        if cookie is not None:
            given["Cookie"] = cookie or self.cookie
        if method != "GET":
            given["Origin"] = self.origin
        given.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if isinstance(body, bytes) and "Content-Length" not in given:
                given["Content-Length"] = str(len(body))
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, request: bytes, timeout_s: float = 8) -> bytes:
        """Send bytes and read one answer; the server may wait for the rest of a request, and is not waited for."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as line:
            line.sendall(request)
            answer = b""
            while chunk := line.recv(65536):
                answer += chunk
                head, end, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                if end and (length is None or len(body) >= int(length[1])):
                    break
        return answer

    def head(self, *lines: str) -> bytes:
        """The head of a request of the page as bytes, ``lines`` first."""
        rest = (f"Host: {self.host}", f"Origin: {self.origin}", f"Cookie: {self.cookie}")
        return ("\r\n".join((*lines, *rest)) + "\r\n\r\n").encode()

    def secret(self) -> str:
        """What the page is told for its WebSocket."""
        return str(json.loads(self.send("POST", "/paraview/", b"{}").body)["secret"])

    def over_websocket(
        self, talk: Callable[[Wire], Coroutine[Any, Any, Any]], headers: Mapping[str, str | None] | None = None
    ) -> Any:
        """Open a WebSocket as the page does unless ``headers`` say otherwise, and have ``talk`` use it."""
        given = {"Host": self.host, "Origin": self.origin, "Cookie": self.cookie, **(headers or {})}

        async def run() -> Any:
            sent = {name: value for name, value in given.items() if value is not None}
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"ws://127.0.0.1:{self.port}/ws", headers=sent, max_msg_size=0) as line,
            ):
                return await talk(Wire(line))

        return asyncio.run(run())


class Wire:
    """wslink's messages, as its client in the page writes them."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self.line, self._unchunker, self._count = line, UnChunker(), 0
        self._unchunker.set_max_message_size(1 << 30)

    async def hello(self, secret: object) -> dict[str, Any]:
        """Say who one is."""
        return await self._ask("system:c0:0", "wslink.hello", [{"secret": secret}])

    async def call(self, method: str, *arguments: object) -> dict[str, Any]:
        """Call a method of the server; the answer has ``result`` or ``error``."""
        self._count += 1
        return await self._ask(f"rpc:c0:{self._count}", method, list(arguments))

    async def _ask(self, key: str, method: str, arguments: list[object]) -> dict[str, Any]:
        message = msgpack.packb({"wslink": "1.0", "id": key, "method": method, "args": arguments, "kwargs": {}})
        for chunk in generate_chunks(message, 4 << 20):
            await self.line.send_bytes(chunk)
        while True:
            came = await self.line.receive(timeout=10)
            if came.type is not aiohttp.WSMsgType.BINARY:
                return {"closed": came.data}
            whole = self._unchunker.process_chunk(came.data)
            if whole is not None and whole.get("id") == key:
                return dict(whole)
