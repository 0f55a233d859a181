"""Who may speak to the server: whoever has the link, from the page itself, and nobody else.

Any web page that a person has open can send requests to programs on the person's computer, also under a name of its own
that it lets point there (DNS rebinding). So each request, also for a file of the page and for the WebSocket, must name the
page's own address in ``Host`` and ``Origin`` and bring the token of the link or the cookie that the link was exchanged for.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.web.place import Place

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SHORTEST_TOKEN = 32
_SAFE_METHODS = ("GET", "HEAD")
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# The next page is asked for by this one: a redirect counts as a request of whoever had the link, and a strict cookie would
# not be sent with it where that is a web mail or a file. The token stays out of the history as well.
_GO_ON = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=./"><title>DenseLandmarks</title>
<a href="./">Go on</a>
"""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Stands before all routes of one server.

    Attributes
    ----------
    token : what the link carries as ``?token=``.
    """

    def __init__(self, page: str = "", token: str = "") -> None:
        """``page`` is the HTML of the page, of which the own scripts are allowed. Nobody comes in before :meth:`open_at`.

        ``token`` is one that somebody else chose, a proxy that brings it along as ``Authorization: Bearer``. Raises
        :class:`InputError` where that can be guessed.
        """
        if token and len(token) < _SHORTEST_TOKEN:
            raise InputError(
                f"expected a token of at least {_SHORTEST_TOKEN} characters, got {len(token)}. Make a longer one."
            )
        self.token = token or secrets.token_urlsafe(32)
        self._is_given = bool(token)
        self._cookie = secrets.token_urlsafe(32)
        self._cookie_name = f"dense-landmarks-{secrets.token_hex(4)}"
        self._policy = _content_security_policy(page)
        self._place: Place | None = None

    def open_at(self, place: Place, port: int) -> None:
        """Let in who comes to this place. ``port`` tells the cookies of servers on one computer apart."""
        self._place = place
        self._cookie_name = f"dense-landmarks-{port}"

    @property
    def link(self) -> str:
        """What a person opens, once it is known; who has it is let in, unless the token is somebody else's to tell."""
        assert self._place is not None
        return self._place.url if self._is_given else f"{self._place.url}?token={self.token}"

    def install(self, app: web.Application) -> None:
        """Stand before all routes of ``app``, those that are added later too."""
        app.middlewares.append(self.check)
        app.on_response_prepare.append(self.add_headers)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that may not be, or that comes with the link, before any route sees it."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        if self._has_link(request):
            return self._welcome()
        return await handler(request)

    def refusal(self, request: web.Request) -> web.Response | None:
        """403 with one line for a request that may not be, ``None`` for one that may."""
        place = self._place
        if place is None:
            return _refuse("expected to be ready, got a request too early. Open the link that dense-landmarks printed.")
        hosts = place.hosts | _reached(request, place)
        if not _is_one_of(request.headers.getall("Host", []), hosts):
            return _refuse("expected the address of the link, got another. Open the link that dense-landmarks printed.")
        origins = request.headers.getall("Origin", [])
        must_tell = request.method not in _SAFE_METHODS or "Upgrade" in request.headers
        if (origins or must_tell) and not _is_one_of(origins, place.origins_of(hosts)):
            return _refuse(
                "expected a request of this page, got one of another. Open the link that dense-landmarks printed."
            )
        if not (self._has_link(request) or self._is_known(request)):
            return _refuse(
                "expected the link with its token, got none that is valid. Open the link that dense-landmarks printed."
            )
        return None

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """What browsers shall keep to, with every answer."""
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._policy
        is_script_or_style = isinstance(response, web.FileResponse) and request.path.endswith((".js", ".css"))
        # Scripts and styles are everybody's; they are kept, and asked for whether they changed.
        response.headers["Cache-Control"] = "private, no-cache" if is_script_or_style else "no-store"

    def _has_link(self, request: web.Request) -> bool:
        given = request.query.getall("token", [])
        return request.method == "GET" and request.path == "/" and len(given) == 1 and _same(given[0], self.token)

    def _is_known(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return _same(request.cookies.get(self._cookie_name, ""), self._cookie) or _same(given, self.token)

    def _welcome(self) -> web.Response:
        """Exchange the link for a cookie, and go on to the page itself."""
        assert self._place is not None
        answer = web.Response(text=_GO_ON, content_type="text/html")
        answer.set_cookie(
            self._cookie_name,
            self._cookie,
            path=self._place.path,
            httponly=True,
            samesite="Strict",
            secure=self._place.scheme == "https",
        )
        return answer


def _reached(request: web.Request, place: Place) -> frozenset[str]:
    """The address of this computer at which a request came in: no foreign name can be it."""
    if place.is_behind_proxy or request.transport is None:
        return frozenset()
    address, port, *_ = request.transport.get_extra_info("sockname")
    return frozenset({place.host_at(address, port)})


def _is_one_of(given: list[str], allowed: frozenset[str]) -> bool:
    return len(given) == 1 and given[0].lower() in allowed


def _same(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing about them."""
    return secrets.compare_digest(given.encode(errors="replace"), expected.encode())


def _refuse(line: str) -> web.Response:
    answer = web.Response(status=403, text=f"{line}\n")
    answer.force_close()  # whatever it came with is not read
    return answer


def _content_security_policy(page: str) -> str:
    """As strict as trame's client allows: it compiles its templates in the browser, and styles its elements."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(page))
    inline = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'unsafe-eval'{inline}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "media-src 'self' blob:",
            "worker-src 'self' blob:",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
