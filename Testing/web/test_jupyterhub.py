"""Two people in one JupyterHub, set up as Resources/JupyterHub has it: nobody comes to what is not theirs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image
from Testing.web.chromium import FLAGS, find_chromium
from Testing.web.page_client import PageClient, http_origin

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "Resources" / "JupyterHub" / "jupyterhub_config.py"
PASSWORDS = {"anna": "first-password", "berta": "second-password"}
# The hub as it is shipped, but for what a computer without accounts, certificates and a name lacks.
CHANGES = """
from jupyterhub.auth import Authenticator

load_subconfig({config!r})


class Two(Authenticator):
    async def authenticate(self, handler, data):
        return data["username"] if {passwords!r}.get(data["username"]) == data["password"] else None


c.JupyterHub.authenticator_class = Two
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.JupyterHub.public_url = "http://127.0.0.1:{public}/"
c.JupyterHub.bind_url = "http://127.0.0.1:{public}/"
c.JupyterHub.ssl_cert = c.JupyterHub.ssl_key = ""
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
"""
_XSRF = re.compile(r'name="_xsrf" value="([^"]+)"')
_STARTS_WITHIN_S = 120


def missing() -> str:
    """What there is not, in one line."""
    absent = [name for name in ("jupyterhub", "jupyter_server_proxy") if find_spec(name) is None]
    absent += [name for name in ("configurable-http-proxy",) if shutil.which(name) is None]
    return f"needs {', '.join(absent)}, not installed: see README.md, 'For many people'" if absent else ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@dataclass(frozen=True)
class Hub:
    """A hub that runs, and a folder with an image for each person."""

    url: str
    images: Path

    def page(self, name: str) -> str:
        """The address of a person's page."""
        return f"{self.url}user/{name}/"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, chest_template: Template) -> Iterator[Hub]:
    """Started as the first line of its file says."""
    folder = tmp_path_factory.mktemp("hub")
    homes = folder / "homes"
    for seed, name in enumerate(PASSWORDS):
        sitk.WriteImage(chest_image(chest_template, 128, seed).volume, str(folder / f"chest-of-{name}.nrrd"))
    ports = dict(zip(("public", "hub", "api"), free_ports(3), strict=True))
    config = folder / "jupyterhub_config.py"
    config.write_text(CHANGES.format(config=str(CONFIG), passwords=PASSWORDS, homes=str(homes), **ports))
    command = [sys.executable, "-m", "jupyterhub", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    log = folder / "log.txt"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=lines, stderr=lines, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{ports['public']}/hub/health", process, log)
        yield Hub(f"http://127.0.0.1:{ports['public']}/", folder)
    finally:
        process.send_signal(signal.SIGTERM)  # it stops people's servers
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(count: int) -> list[int]:
    """Ports at which nothing listens."""
    lines = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [line.getsockname()[1] for line in lines]
    for line in lines:
        line.close()
    return ports


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until there is an answer; what was told instead is the failure's message."""
    latest = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < latest and process.poll() is None:
        with suppress(OSError), urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    pytest.fail(f"the hub does not run:\n{log.read_text()[-4000:]}")


async def log_in(http: aiohttp.ClientSession, hub: Hub, name: str) -> None:
    """Log in as a person does, and wait until the page is there."""
    form = f"{hub.url}hub/login"
    async with http.get(form) as answer:
        found = _XSRF.search(await answer.text())
    assert found is not None
    fields = {"username": name, "password": PASSWORDS[name], "_xsrf": found[1]}
    async with http.post(form, data=fields, params={"next": f"/hub/spawn/{name}"}) as answer:
        assert answer.status == 200, await answer.text()
    async with asyncio.timeout(_STARTS_WITHIN_S):
        while not await is_there(http, hub.page(name)):
            await asyncio.sleep(0.5)


async def is_there(http: aiohttp.ClientSession, page: str) -> bool:
    """Whether there is trame's page at an address."""
    async with http.get(page) as answer:
        return answer.status == 200 and str(answer.url).startswith(page) and '<div id="app">' in await answer.text()


def browser() -> aiohttp.ClientSession:
    """A browser of its own: no cookie is another's."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def add_image(http: aiohttp.ClientSession, hub: Hub, name: str) -> str:
    """Send the image of a person to their page; returns the case that it became."""
    page, file = hub.page(name), hub.images / f"chest-of-{name}.nrrd"
    address, own = f"{page}upload?name={file.name}", {"Origin": http_origin(page)}
    async with http.post(address, data=file.read_bytes(), headers=own) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["case"])


async def state_on_a_case(hub: Hub, name: str) -> str:
    """All that the page of a person says once they opened their image in it, and see it."""
    async with browser() as http:
        await log_in(http, hub, name)
        case_id = await add_image(http, hub, name)
        client = await PageClient.open(http, hub.page(name))
        seen = asyncio.Event()
        client.on_picture = lambda *_: seen.set()
        try:
            await client.trigger("added", [case_id], [])
            await client.wait_until(lambda state: state["case_id"] == case_id)
            await client.call("trame.rca.size", "Red", "", {"w": 200, "h": 200, "p": 1})
            await asyncio.wait_for(seen.wait(), 30)
            return json.dumps(client.state)
        finally:
            await client.close()


async def statuses(http: aiohttp.ClientSession, page: str, **headers: str) -> dict[str, int]:
    """What the routes of a page answer to."""
    own = {"Origin": http_origin(page), **headers}
    tries = {"": "GET", "index.html": "GET", "download/any": "GET", "paraview/": "POST", "upload?name=a.png": "POST"}
    answers = {}
    for path, method in tries.items():
        async with http.request(method, f"{page}{path}", headers=own, allow_redirects=False) as answer:
            answers[path] = answer.status
    try:
        await (await http.ws_connect(f"{page}ws", headers=own)).close()
        answers["ws"] = 101
    except aiohttp.WSServerHandshakeError as refused:
        answers["ws"] = refused.status
    return answers


def test_each_person_sees_their_own_cases_and_no_others(hub: Hub) -> None:
    async def both() -> list[str]:
        return await asyncio.gather(*(state_on_a_case(hub, name) for name in PASSWORDS))

    anna, berta = asyncio.run(both())
    assert "chest-of-anna" in anna
    assert "berta" not in anna
    assert "chest-of-berta" in berta
    assert "anna" not in berta


def test_a_person_does_not_come_to_another_ones_page(hub: Hub) -> None:
    async def talk() -> dict[str, int]:
        async with browser() as berta, browser() as anna:
            await log_in(berta, hub, "berta")
            await log_in(anna, hub, "anna")
            # Through the whole of the login: the hub knows her, and does not let her in there.
            async with anna.get(hub.page("berta")) as answer:
                assert answer.status == 403, await answer.text()
            return await statuses(anna, hub.page("berta"))

    answers = asyncio.run(talk())
    assert set(answers.values()) <= {302, 403}, answers
    assert answers["ws"] == 403


def test_nobody_comes_in_without_a_login(hub: Hub) -> None:
    async def talk() -> dict[str, int]:
        async with browser() as anna, browser() as stranger:
            await log_in(anna, hub, "anna")
            return await statuses(stranger, hub.page("anna"))

    answers = asyncio.run(talk())
    assert set(answers.values()) <= {302, 403}, answers
    assert answers["ws"] == 403  # jupyter-server-proxy alone would open it


def test_a_page_from_elsewhere_does_not_use_the_login(hub: Hub) -> None:
    async def talk() -> dict[str, int]:
        async with browser() as anna:
            await log_in(anna, hub, "anna")
            return await statuses(anna, hub.page("anna"), Origin="http://evil.example")

    assert set(asyncio.run(talk()).values()) == {403}


def test_another_account_of_the_computer_does_not_come_past_the_hub(hub: Hub) -> None:
    async def talk() -> list[dict[str, int]]:
        async with browser() as anna, browser() as other:
            await log_in(anna, hub, "anna")
            host = hub.url.split("/")[2]
            return [
                await statuses(other, f"http://127.0.0.1:{port}/", Host=host, Origin=f"http://{host}")
                for port in served_ports()
            ]

    answers = asyncio.run(talk())
    assert answers
    assert all(status == 403 for answer in answers for status in answer.values()), answers


def test_a_person_works_in_a_browser_through_the_hub(hub: Hub) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed: no page can be opened")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: nobody drives Chromium"
    )
    with playwright.sync_playwright() as started:
        page = started.chromium.launch(executable_path=chromium, args=list(FLAGS)).new_page()
        page.goto(hub.url)
        page.fill("#username_input", "anna")
        page.fill("#password_input", PASSWORDS["anna"])
        page.click("#login_submit")
        page.set_input_files("#upload", hub.images / "chest-of-anna.nrrd", timeout=60_000)
        page.wait_for_function("document.getElementById('case-name').innerText == 'chest-of-anna'", timeout=60_000)
        page.wait_for_function("document.querySelector('#view-Red img').naturalWidth > 100", timeout=60_000)


def served_ports() -> list[int]:
    """Where served pages listen, as the arguments of processes tell everybody."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if "--behind-proxy" in words:
                found.append(int(words[words.index("--port") + 1]))
    return found
