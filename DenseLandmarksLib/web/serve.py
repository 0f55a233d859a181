"""Serving one person's work to their browser, from the first request to Ctrl+C."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.downloads import Downloads
from DenseLandmarksLib.web.guard import Guard
from DenseLandmarksLib.web.link import LAUNCHER, Link
from DenseLandmarksLib.web.place import is_loopback, place_at, place_behind
from DenseLandmarksLib.web.uploads import MAX_BYTES, STALL_S, Uploads

_LONGEST_STOP_S = 5.0
_ICON = Path(__file__).resolve().parents[2] / "Resources" / "Icons" / "DenseLandmarks.png"


class Page(Protocol):
    """What shows a workbench in the browser."""

    def close(self) -> None:
        """End what it runs beside the server."""


# From trame's server.
MakePage = Callable[[Any, Workbench, Downloads], Page]


@dataclass(frozen=True)
class Address:
    """Where to serve: see ``dense-landmarks serve --help``; ``token`` as :class:`Guard` takes it."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""
    token: str = field(default="", repr=False)

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts, ``None`` where nothing has to. Raises :class:`InputError` for an address that is not safe."""
        if (self.certificate is None) != (self.key is None):
            raise InputError("expected --certificate and --key, got one of them. Name both.")
        if self.proxy:
            place_behind(self.proxy)
        if self.certificate is None or self.key is None:
            if not (is_loopback(self.host) or self.proxy):
                raise InputError(
                    f"expected --certificate and --key, or --behind-proxy, to serve other computers at {self.host}, got "
                    "neither. Give them, or leave --host out."
                )
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Nobody may be there to be asked for a passphrase.
            context.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, ValueError) as error:
            raise InputError(
                f"expected a certificate and its key, without a passphrase, in {self.certificate} and {self.key}, got "
                f"'{error}'. Correct them."
            ) from None
        return context


class Serving:
    """A server for one workbench; :meth:`start` and :meth:`stop` belong to one event loop.

    Attributes
    ----------
    guard, link, uploads, downloads : its parts.
    """

    def __init__(
        self,
        bench: Workbench,
        make_page: MakePage,
        address: Address = Address(),
        max_upload_bytes: int = MAX_BYTES,
        stall_s: float = STALL_S,
    ) -> None:
        """Build the page; raises :class:`InputError` for an address that is not safe."""
        self._address = address
        self._tls = address.tls()
        self.link = Link()
        self.guard = Guard(self.link.page, address.token)
        self.downloads = Downloads()
        self.link.server.controller.on_server_bind.add(self._bind)
        self._page = make_page(self.link.server, bench, self.downloads)
        self.uploads = Uploads(bench, max_upload_bytes, stall_s)
        self._running: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The link with its token, once it is started."""
        return self.guard.link

    @property
    def port(self) -> int:
        """At which it listens, once it is started."""
        return int(self.link.server.port)

    async def start(self) -> None:
        """Listen; raises :class:`InputError` where that cannot be."""
        # Its lines hold the link with its token.
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        host = "127.0.0.1" if self._address.host.lower() == "localhost" else self._address.host
        ready = self.link.server.ready
        self._running = asyncio.create_task(self.link.coroutine(host, self._address.port))
        await asyncio.wait((self._running, ready), return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            try:
                self._running.result()
            except OSError as error:
                raise InputError(
                    f"expected to listen at {host}, port {self._address.port}, got '{error.strerror or error}'. Name "
                    "another --port or --host."
                ) from None
        is_secure, proxy = self._tls is not None, self._address.proxy
        place = place_behind(proxy) if proxy else place_at(host, self.port, is_secure)
        self.link.path = place.path
        self.guard.open_at(place, self.port)

    async def stop(self) -> None:
        """End the page, the server and its connections; the workbench stays as it is."""
        self._page.close()
        if self._running is not None and not self._running.done():
            with suppress(TimeoutError):  # whoever still sends something is not waited for
                async with asyncio.timeout(_LONGEST_STOP_S):
                    await self.link.server.stop()
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        self.downloads.close()

    def _bind(self, web_server: Any) -> None:
        """Put the guard and our routes into wslink's server before it listens; its own files come after them."""
        if self._tls is not None:
            web_server.config["ssl"] = self._tls
        app = web_server.app
        self.guard.install(app)
        app.add_routes(
            (
                web.post(LAUNCHER, self.link.launch),
                web.post("/upload", self.uploads.take, expect_handler=self._expect),
                web.get("/favicon.ico", _send_icon),
                web.get(r"/download/{key:[\w-]+}", self.downloads.send),
            )
        )
        self.link.harden(web_server)

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Refuse who asks before sending a body; routes and the guard come later for aiohttp."""
        refusal = self.guard.refusal(request) or self.uploads.refusal(request)
        if refusal is None:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return refusal


async def _send_icon(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_ICON)


def serve(
    bench: Workbench,
    make_page: MakePage,
    address: Address,
    ready: Callable[[str], None],
    max_upload_bytes: int = MAX_BYTES,
) -> None:
    """Serve a workbench until Ctrl+C, or until the process is told to end; then close it: what is unsaved can be recovered.

    ``ready`` takes the link as soon as it can be opened. Raises :class:`InputError` where nothing can be served.
    """

    async def run() -> None:
        with _until_told() as told:
            serving = Serving(bench, make_page, address, max_upload_bytes)
            try:
                await serving.start()
                ready(serving.url)
                await told.wait()
            finally:
                await serving.stop()

    try:
        asyncio.run(run())
    finally:
        bench.close()


@contextmanager
def _until_told() -> Iterator[asyncio.Event]:
    """An event that Ctrl+C sets; a second one ends the process as it always does."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def tell(*_: object) -> None:
        restore()
        loop.call_soon_threadsafe(told.set)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in signals:
        signal.signal(number, tell)
    try:
        yield told
    finally:
        restore()
