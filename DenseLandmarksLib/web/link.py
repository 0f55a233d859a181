"""The WebSocket between page and server: trame's own, with a secret of its own, limits, and no way to end the process."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, web
from trame.app import get_server
from trame_client import module as trame_page
from wslink.chunking import UnChunker

logger = logging.getLogger(__name__)

# What a page sends is mouse moves and names; files go another way.
MESSAGE_BYTES = 1 << 20
_PENDING_MESSAGES = 4
# Where trame's client asks first where its server is, and with which secret.
LAUNCHER = "/paraview/"


class Link:
    """One trame server that is ours alone.

    Attributes
    ----------
    server : trame's, on which a page is built before :meth:`coroutine` starts it.
    path : at which browsers see the page, with a slash in the end.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_urlsafe(32)
        self.path = "/"
        # trame keeps its servers by name, and a name gives the same server again.
        self.server = get_server(
            f"dense-landmarks-{secrets.token_hex(8)}", client_type="vue3", ws_max_msg_size=MESSAGE_BYTES
        )
        self.server.enable_module(trame_page)

    @property
    def page(self) -> str:
        """The HTML of trame's page."""
        return Path(self.server._www, "index.html").read_text(encoding="utf-8")

    def coroutine(self, host: str, port: int) -> Any:
        """What runs the server until it is stopped, or raises ``OSError`` where it cannot listen there."""
        parser = self.server.cli
        # trame would read the arguments and the environment of this process.
        options = parser.parse_args(["--timeout", "0", "--no-ws-compress", "--nosignalhandlers"])
        options.host, options.port, options.authKey = host, port, self._secret
        parser.parse_known_args = lambda *_: (options, [])
        return self.server.start(
            host=host,
            port=port,
            timeout=0,  # nothing ends because a tab was closed
            open_browser=False,
            show_connection_info=False,
            follow_symlinks=False,
            backend="aiohttp",
            exec_mode="coroutine",
        )

    def harden(self, web_server: Any) -> None:
        """Set limits to what comes through the WebSockets of wslink's server; a page cannot end the process."""
        for handler in web_server._ws_handlers:
            for protocol in handler.getServerProtocol().getLinkProtocols():
                protocol.stopServer = lambda: None
            _limit(handler)

    async def launch(self, request: web.Request) -> web.Response:
        """Tell the page its secret, and nobody else: only who passed the guard comes here, and no address carries it."""
        # The client puts the page's own host in, and turns the address into lower case.
        path = re.sub("[A-Z]", lambda letter: f"%{ord(letter[0]):02x}", self.path)
        return web.json_response({"sessionURL": f"ws://use_host{path}ws", "secret": self._secret})


class _Limited(UnChunker):
    """Messages of a page: few at a time, and each small, also once the page is known; wslink would take 4 GB then."""

    def set_max_message_size(self, size: int) -> None:
        super().set_max_message_size(min(size, MESSAGE_BYTES))

    def process_chunk(self, chunk: bytes) -> Any:
        message = super().process_chunk(chunk)
        if len(self.pending_messages) > _PENDING_MESSAGES:
            raise ValueError("too many messages at a time")
        return message


def _to_whoever_is_there(send: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
    """Send to a tab that may be closed at any moment; wslink sends from tasks whose errors nobody takes."""

    async def send_bytes(chunk: bytes) -> None:
        with suppress(ConnectionResetError):
            await send(chunk)

    return send_bytes


def _limit(handler: Any) -> None:
    """Have one of wslink's handlers close a WebSocket that brings anything but messages of a page."""
    on_connect, on_message, on_close = handler.onConnect, handler.onMessage, handler.onClose

    async def connect(request: Any, client_id: str) -> None:
        await on_connect(request, client_id)
        handler.unchunkers[client_id] = _Limited()
        socket = handler.connections[client_id]
        socket.send_bytes = _to_whoever_is_there(socket.send_bytes)

    async def message(is_binary: bool, content: Any, client_id: str) -> None:
        try:
            if not is_binary:
                raise TypeError("text")
            await on_message(is_binary, content, client_id)
        except Exception as error:  # whatever a stranger may send; what our own calls raise is answered by wslink
            logger.warning("a WebSocket was closed: expected a message of the page, got %s", type(error).__name__)
            await handler.connections[client_id].close(code=WSCloseCode.POLICY_VIOLATION)

    async def close(client_id: str) -> None:
        if client_id in handler.unchunkers:  # else it was never opened, and wslink would keep it for ever
            await on_close(client_id)

    handler.onConnect, handler.onMessage, handler.onClose = connect, message, close
