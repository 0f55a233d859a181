"""JupyterHub for DenseLandmarks: whoever has an account on this computer works in a process and a library of their own.

``jupyterhub --config jupyterhub_config.py``; what is marked with "yours" is to be looked at first.
"""

import sys
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub's

# What browsers show, yours.
c.JupyterHub.public_url = "https://hub.example.org/"
c.JupyterHub.bind_url = "https://:443/"
c.JupyterHub.ssl_cert = "/etc/ssl/certs/hub.pem"
c.JupyterHub.ssl_key = "/etc/ssl/private/hub.key"

# Who may come in, yours: everybody with an account here, by its password. An admin of the hub would see everybody's work.
c.Authenticator.allow_all = True
c.Authenticator.admin_users = set()

# A process each, as the person, in their home folder; there are their library, their models, and what can be recovered.
# A library for all of them to work in by turns is named after "serve", with its path.
serve = [sys.executable, "-P", "-m", "DenseLandmarksLib", "serve", "--no-browser", "--port", "{port}"]
c.Spawner.cmd = [sys.executable, str(Path(__file__).with_name("person_server.py")), "--", *serve]
c.Spawner.http_timeout = 60
