"""Serving as a whole: from the printed link to Ctrl+C, and what a browser may send in between."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgpack
import pytest

from DenseLandmarksLib import cli_serve
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.cli import main
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.web.serve import Address
from Testing.scene.open_cases import edits_on_disk, predict
from Testing.web.speak import Speaker, Wire

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(library: Library, chest_template: Template, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that serves the first case of the library, which a model has seen."""
    session = Session(library.case(library.cases()[0].id), "anna", data_folder=tmp_path / "user" / "DenseLandmarks")
    predict(session, chest_template)
    session.save()
    session.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "Testing.web.serve_small_page", str(library.folder)],
        cwd=ROOT,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path / "user"), "LOCALAPPDATA": str(tmp_path / "user")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


class ByLink(Speaker):
    """Whoever has nothing but the link."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self.host, self.token = parts.netloc, parts.query.removeprefix("token=")
        self.port, self.origin, self._cookie = parts.port, f"http://{parts.netloc}", ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl+C", "told to end"])
def test_it_ends_cleanly_and_what_is_unsaved_can_be_recovered(
    process: subprocess.Popen[str], number: int, library: Library, tmp_path: Path
) -> None:
    assert process.stdout is not None
    speaker = ByLink(process.stdout.readline().strip())

    async def work(wire: Wire) -> None:
        await wire.hello(speaker.secret())
        assert (await wire.call("trame.trigger", "click", [], {}))["result"] == 1
        process.send_signal(number)  # while the tab is open
        ended = await wire.line.receive(timeout=10)
        assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.BINARY)

    speaker.over_websocket(work)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "ended with 0 open cases\n", "")
    user = tmp_path / "user" / "DenseLandmarks"
    assert "Absent" in edits_on_disk(user)
    session = Session(library.case(library.cases()[0].id), "anna", data_folder=user)
    assert session.recoverable
    session.close()


def test_a_closed_tab_and_a_reload_come_back_to_the_same_work(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    speaker = ByLink(process.stdout.readline().strip())

    async def click(wire: Wire) -> Any:
        await wire.hello(speaker.secret())
        await wire.call("application.exit.later", 0)
        await wire.call("application.exit")
        return (await wire.call("trame.trigger", "click", [], {}))["result"]

    assert [speaker.over_websocket(click) for _ in range(3)] == [1, 2, 3]
    assert speaker.send("GET", "/index.html").status == 200
    assert process.poll() is None


def test_the_page_has_the_icon_of_the_extension(speaker: Speaker) -> None:
    answer = speaker.send("GET", "/favicon.ico")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.body == (ROOT / "Resources" / "Icons" / "DenseLandmarks.png").read_bytes()


# Messages.


def message(method: str = "trame.state.get", key: object = "rpc:c0:1", size: int = 0) -> bytes:
    body = msgpack.packb({"wslink": "1.0", "id": key, "method": method, "args": ["x" * size], "kwargs": {}})
    return header(len(body)) + bytes(body)


def header(size: int, number: int = 1) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in (number, 0, size))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([message(size=2 << 20)], id="a large message"),
        pytest.param([header(4_000_000_000) + b"x"], id="the promise of 4 GB"),
        pytest.param([header(1 << 20, number) + b"x" for number in range(9)], id="many that are never whole"),
        pytest.param([b"garbage"], id="garbage"),
        pytest.param([b""], id="nothing"),
        pytest.param([header(3) + b"\xc1\xc1\xc1"], id="no msgpack"),
        pytest.param([message(key=17)], id="another key"),
        pytest.param([header(1) + msgpack.packb(5)], id="a number"),
        pytest.param(["text"], id="text"),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_message_that_is_none_closes_its_websocket_only(speaker: Speaker, sent: list[Any], is_known: bool) -> None:
    async def send(wire: Wire) -> None:
        if is_known:
            await wire.hello(speaker.secret())
        for one in sent:
            await (wire.line.send_str(one) if isinstance(one, str) else wire.line.send_bytes(one))
        while (came := await wire.line.receive(timeout=5)).type is aiohttp.WSMsgType.BINARY:
            pass
        assert came.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    async def click(wire: Wire) -> Any:
        await wire.hello(speaker.secret())
        return (await wire.call("trame.trigger", "click", [], {}))["result"]

    speaker.over_websocket(send)
    assert speaker.over_websocket(click) == 1


def test_who_comes_for_the_websocket_without_opening_one_leaves_nothing(speaker: Speaker) -> None:
    assert speaker.send("GET", "/ws").status == 400
    assert not speaker.serving.link.server._server._ws_handlers[0].connections


def test_nothing_of_this_process_reaches_trames_own_options(
    start: Callable[..., Speaker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAME_ARGS", "--host 0.0.0.0 --port 1 --authKey wslink-secret --follow-symlinks --timeout 1")
    monkeypatch.setenv("TRAME_DEFAULT_HOST", "0.0.0.0")
    speaker = start()
    assert speaker.serving.link.server.server_options.static_follow_symlinks is False
    assert speaker.serving.link.server.server_options.timeout == 0
    assert speaker.serving.link.server._server.runner.addresses == [("127.0.0.1", speaker.port)]
    assert speaker.secret() != "wslink-secret"


def test_a_port_that_is_taken_is_told_in_one_line(start: Callable[..., Speaker]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=f"expected to listen at 127.0.0.1, port {port}, got .*Name another --port"
        ):
            start(address=Address(port=port))


# The command.


def test_without_the_web_stack_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from DenseLandmarksLib.cli import main\n"
        "sys.exit(main(['serve', '--no-browser']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: expected trame and slicer-core for the work in a browser, got ")
    assert "'.[web]'" in run.stderr
    assert run.stderr.count("\n") == 1


def test_other_commands_do_not_load_the_web_stack() -> None:
    code = "import sys, DenseLandmarksLib.cli as c\nc.main(['models'])\nprint({'trame', 'aiohttp', 'slicer', 'wslink'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout.splitlines()[-1] == "set()", run.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--host", "0.0.0.0"], "expected --certificate and --key, or --behind-proxy"),
        (["--port", "70000"], "expected --port from 0 to 65535"),
        (["--behind-proxy", "hub"], "expected --behind-proxy to be what a browser shows"),
        (["nowhere"], "expected a case library or images, found nothing there"),
        (["--original-cases", "nobody", "."], "expected the name of a model or a bundle folder, got 'nobody'"),
        (["--original-cases", "chest-xray", "."], "expected a data folder with dataset.json and landmarks.csv"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert main(["serve", "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_the_command_prints_one_link_and_ends_with_ctrl_c(library: Library, tmp_path: Path) -> None:
    pytest.importorskip("trame_slicer", reason="trame-slicer is not installed: there is no page", exc_type=ImportError)
    process = subprocess.Popen(
        [sys.executable, "-m", "DenseLandmarksLib", "serve", str(library.folder), "--no-browser", "--who", "anna"],
        cwd=ROOT,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path / "user"), "LOCALAPPDATA": str(tmp_path / "user")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open this link; Ctrl+C ends it\n"
        speaker = ByLink(process.stdout.readline().strip())
        assert "<title>" in speaker.send("GET", "/index.html").text

        async def state(wire: Wire) -> Any:
            await wire.hello(speaker.secret())
            return (await wire.call("trame.state.get"))["result"]["state"]

        assert [case["title"] for case in speaker.over_websocket(state)["cases"]] == ["chest-0 · new"]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out == "\nended; what is not saved is offered again when its case is opened\n"
        assert "Traceback" not in errors
    finally:
        process.kill()


def test_what_is_opened(bench: Any, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.library = None
    assert cli_serve.open_paths(bench, [library.folder]) is None
    assert bench.library.id == library.id
    with pytest.raises(InputError, match="expected one case library, or images"):
        cli_serve.open_paths(bench, [library.folder, tmp_path / "chest-0.nrrd"])
    bench.library = None
    assert cli_serve.open_paths(bench, []) is None
    assert bench.library.folder == tmp_path / "user" / "my cases"
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    case_id = cli_serve.open_paths(bench, [tmp_path / "broken.png", tmp_path / "chest-0.nrrd"])
    assert "broken.png" in capsys.readouterr().err
    assert bench.library.case(case_id).name == "chest-0"
    assert bench.library.folder in bench.library.case(case_id).image_path.parents, "only the library's folder is read"
    with pytest.raises(InputError, match="expected an image to work on, got none"):
        cli_serve.open_paths(bench, [tmp_path / "broken.png"])


def test_the_browser_gets_the_link_from_a_file_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    cli_serve.open_in_browser("http://127.0.0.1:1/?token=secret", tmp_path)
    path = tmp_path / "open.html"
    assert opened == [path.as_uri()]
    assert path.stat().st_mode & 0o077 == 0
    assert 'url=http://127.0.0.1:1/?token=secret"' in path.read_text()


def test_stopping_does_not_wait_for_who_sends_slowly(start: Callable[..., Speaker]) -> None:
    speaker = start()
    loop_time = asyncio.new_event_loop().time
    line = socket.create_connection(("127.0.0.1", speaker.port), timeout=10)
    line.sendall(speaker.head("POST /upload?name=a.png HTTP/1.1", "Content-Length: 100000"))
    connection = http.client.HTTPConnection("127.0.0.1", speaker.port)
    connection.connect()
    began = loop_time()
    speaker.stop()
    assert loop_time() - began < 8
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", speaker.port), timeout=2)
    line.close()
    connection.close()
