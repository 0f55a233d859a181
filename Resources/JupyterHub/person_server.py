"""One person's server in JupyterHub: the hub's login before ``dense-landmarks serve``, for this person alone.

``jupyterhub_config.py`` starts it as ``person_server.py [options] -- COMMAND --port {port}``.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from jupyter_server_proxy.standalone.app import StandaloneProxyServer
from tornado.web import HTTPError


class PersonServer(StandaloneProxyServer):
    """jupyter-server-proxy's own, with the token of the served page, and WebSockets for nobody else either."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Whoever else has an account on this computer reaches the port as well, so the page stays locked for them. The
        # token is handed on in memory and in the environment: arguments of a process are everybody's to read.
        token = secrets.token_urlsafe(32)
        self.environment = {"DENSE_LANDMARKS_TOKEN": token}
        self.request_headers_override = {"Authorization": f"Bearer {token}"}
        self.timeout = 120.0
        self.activity_interval = 0  # the hub's own proxy tells who is there

    def get_proxy_base_class(self) -> tuple[type | None, dict[str, Any]]:
        """What answers requests."""
        handler, options = super().get_proxy_base_class()
        return None if handler is None else _asking_for_web_sockets(handler), options

    def start(self) -> None:
        """Serve at the address that the hub gave this person."""
        # The hub knows what browsers show; the served page lets in nobody who comes by another name.
        self.command = [*self.extra_args, "--behind-proxy", os.environ["JUPYTERHUB_PUBLIC_URL"]]
        super().start()


def _asking_for_web_sockets(handler: type) -> type:
    """jupyter-server-proxy 4.6 asks who it is before it answers a request, yet opens a WebSocket for anybody."""

    class Handler(handler):  # type: ignore[misc, valid-type]
        def prepare(self) -> None:
            if self.request.headers.get("Upgrade", "").lower() == "websocket" and not self.current_user:
                raise HTTPError(403)

    return Handler


if __name__ == "__main__":
    PersonServer.launch_instance()
