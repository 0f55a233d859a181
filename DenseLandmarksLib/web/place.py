"""Where the page is for a browser: what ``Host`` and ``Origin`` say of a request that is meant for it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from DenseLandmarksLib.errors import InputError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Place:
    """Where the page is.

    Attributes
    ----------
    url : of the page, with a slash in the end, as a person opens it.
    hosts : values of ``Host`` that are it, in lower case.
    is_behind_proxy : whether it is a proxy's, and nobody else reaches the server.
    """

    url: str
    hosts: frozenset[str]
    is_behind_proxy: bool = False

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return urlsplit(self.url).scheme

    @property
    def path(self) -> str:
        """``/``, or the path at which a proxy has the page, with a slash in the end."""
        return urlsplit(self.url).path

    def origins_of(self, hosts: frozenset[str]) -> frozenset[str]:
        """Values of ``Origin`` for values of ``Host``."""
        return frozenset(f"{self.scheme}://{host}" for host in hosts)

    def host_at(self, address: str, port: int) -> str:
        """``Host`` of whoever came to one of the addresses of this computer."""
        return _host(address.removeprefix("::ffff:"), port, self.scheme)


def place_at(host: str, port: int, is_secure: bool) -> Place:
    """The place of a server that browsers reach at one address or name (``0.0.0.0`` and ``::`` are all of this computer's)."""
    scheme = "https" if is_secure else "http"
    names: tuple[str, ...] = _LOOPBACK if is_loopback(host) else (host,)
    if host in ("0.0.0.0", "::"):
        names = (socket.getfqdn(), socket.gethostname(), *_LOOPBACK)
    hosts = [_host(name, port, scheme) for name in names]
    return Place(f"{scheme}://{_host(host, port, scheme) if is_loopback(host) else hosts[0]}/", frozenset(hosts))


def place_behind(proxy: str) -> Place:
    """The place of a server behind a proxy, ``https://host`` or ``https://host/path``; the proxy takes the path away.

    Raises :class:`InputError` for anything else.
    """
    try:
        parts = urlsplit(proxy)
        port = parts.port
        extras = parts.query or parts.fragment or parts.username or parts.password or "\\" in proxy
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or extras:
            raise ValueError("no address of a page")
    except ValueError:
        raise InputError(
            f"expected --behind-proxy to be what a browser shows, such as https://hub.example.org, got {proxy[:80]!r}. "
            "Correct it."
        ) from None
    host = _host(parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme)
    return Place(f"{parts.scheme}://{host}{parts.path.rstrip('/')}/", frozenset({host}), is_behind_proxy=True)


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is of this computer only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host(name: str, port: int, scheme: str) -> str:
    """As browsers write it in ``Host``: without the port that they take by default."""
    written = f"[{name}]" if ":" in name else name.lower()
    return written if port == _DEFAULT_PORTS[scheme] else f"{written}:{port}"
