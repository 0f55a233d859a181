"""Whoever has no link, or is another page, gets one line and nothing else, at any route."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.web.place import place_at, place_behind
from DenseLandmarksLib.web.serve import Address
from Testing.web.speak import Speaker, Wire

ROUTES = (
    ("GET", "/"),
    ("GET", "/index.html"),
    ("GET", "/vue.global.js"),
    ("GET", "/no/such/page"),
    ("GET", "/favicon.ico"),
    ("GET", "/ws"),
    ("GET", "/download/anything"),
    ("POST", "/paraview/"),
    ("POST", "/upload"),
)
EVIL = "http://evil.example"


def is_refused(answer: Any) -> bool:
    return answer.status == 403 and answer.text.count("\n") == 1 and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_link_nothing_is_served(speaker: Speaker, method: str, path: str) -> None:
    for cookie in (None, "dense-landmarks=x", f"dense-landmarks-{speaker.port}=x", f"dense-landmarks-{speaker.port}="):
        assert is_refused(speaker.send(method, path, cookie=cookie))
    assert not is_refused(speaker.send(method, path)), "the page itself would be refused as well"


@pytest.mark.parametrize(
    "given", ["", "x", "{token}x", "{half}", "{token}&token=x", "%00", "%ff", "ünïcödé".encode().hex()]
)
def test_a_wrong_token_opens_nothing(speaker: Speaker, given: str) -> None:
    given = given.format(token=speaker.token, half=speaker.token[:-1])
    assert is_refused(speaker.send("GET", f"/?token={given}", cookie=None))


def test_the_link_is_exchanged_for_a_cookie_that_scripts_cannot_read(speaker: Speaker) -> None:
    answer = speaker.send("GET", f"/?token={speaker.token}", cookie=None)
    cookie = answer.headers["Set-Cookie"]
    assert answer.status == 200
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert speaker.token not in cookie
    # A person comes to the page itself, and no address keeps the token.
    assert 'http-equiv="refresh" content="0; url=./"' in answer.text
    assert speaker.token not in answer.text


def test_the_token_opens_the_page_only(speaker: Speaker) -> None:
    for path in ("/vue.global.js", "/download/x", "/index.html"):
        assert is_refused(speaker.send("GET", f"{path}?token={speaker.token}", cookie=None))
    assert is_refused(speaker.send("POST", f"/upload?token={speaker.token}", b"x", cookie=None))


def test_two_servers_on_one_computer_do_not_open_each_other(start: Callable[..., Speaker]) -> None:
    one, other = start(), start()
    assert one.token != other.token
    assert one.cookie.split("=")[0] != other.cookie.split("=")[0], "opening the second would close the first"
    assert is_refused(other.send("GET", "/", cookie=one.cookie))
    assert is_refused(other.send("GET", f"/?token={one.token}", cookie=None))


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", "", None]
)
def test_a_foreign_name_for_this_computer_is_refused(
    speaker: Speaker, method: str, path: str, host: str | None
) -> None:
    host = host if host is None else host.format(port=speaker.port)
    answer = speaker.send(method, path, headers={"Host": host})
    assert is_refused(answer) or (host is None and answer.status == 400)
    assert is_refused(speaker.send("GET", f"/?token={speaker.token}", headers={"Host": "evil.example"}, cookie=None))


@pytest.mark.parametrize("name", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_this_computer_by_each_of_its_own_names(speaker: Speaker, name: str) -> None:
    host = name.format(port=speaker.port)
    assert speaker.send("GET", "/index.html", headers={"Host": host}).status == 200
    assert speaker.send("POST", "/paraview/", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://127.0.0.1", ""]
)
def test_a_foreign_page_is_refused(speaker: Speaker, method: str, path: str, origin: str) -> None:
    assert is_refused(speaker.send(method, path, headers={"Origin": origin.format(port=speaker.port)}))


def test_a_post_that_does_not_say_where_it_comes_from_is_refused(speaker: Speaker) -> None:
    for path in ("/upload", "/paraview/", "/nothing"):
        assert is_refused(speaker.send("POST", path, b"x", headers={"Origin": None}))


def test_two_hosts_or_origins_are_none(speaker: Speaker) -> None:
    twice = speaker.raw(speaker.head("GET /index.html HTTP/1.1", f"Origin: {EVIL}", "Connection: close"))
    assert twice.startswith(b"HTTP/1.1 403")
    hosts = speaker.raw(speaker.head("GET /index.html HTTP/1.1", "Host: evil.example", "Connection: close"))
    assert hosts.split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": None},
        {"Cookie": "dense-landmarks=x"},
        {"Origin": EVIL},
        {"Origin": None},
        {"Origin": "null"},
        {"Host": "evil.example"},
    ],
    ids=str,
)
def test_a_websocket_opens_for_the_page_only(speaker: Speaker, headers: dict[str, str | None]) -> None:
    async def never(wire: Wire) -> None:
        raise AssertionError("it was opened")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        speaker.over_websocket(never, headers)
    assert refused.value.status == 403


@pytest.mark.parametrize("secret", ["wslink-secret", "", "x", None, 0, True, [], {}, "ß", "{token}", "{cookie}"])
def test_the_cookie_alone_moves_nothing(speaker: Speaker, secret: Any) -> None:
    if isinstance(secret, str):
        secret = secret.format(token=speaker.token, cookie=speaker.cookie.split("=")[1])

    async def talk(wire: Wire) -> None:
        assert "error" in await wire.hello(secret)
        for method, *arguments in (("trame.state.get",), ("trame.trigger", "click", [], {}), ("application.exit",)):
            answer = await wire.call(method, *arguments)
            assert answer["error"]["message"].startswith("Unauthorized")

    speaker.over_websocket(talk)
    assert speaker.serving._page.clicks == 0


def test_the_page_speaks_with_the_secret_that_it_is_told(speaker: Speaker) -> None:
    async def talk(wire: Wire) -> None:
        assert "result" in await wire.hello(speaker.secret())
        assert "told" in (await wire.call("trame.state.get"))["result"]["state"]
        assert (await wire.call("trame.trigger", "click", [], {}))["result"] == 1

    speaker.over_websocket(talk)
    assert speaker.serving._page.clicks == 1


def test_no_file_of_the_page_holds_a_secret(speaker: Speaker) -> None:
    secrets = (speaker.token, speaker.secret(), speaker.cookie.split("=")[1])
    for path in ("/index.html", "/loading.tpl", "/vue.global.js"):
        answer = speaker.send("GET", path)
        assert answer.status == 200
        for secret in secrets:
            assert secret not in answer.text
            assert secret not in str(answer.headers)


def test_what_browsers_are_told(speaker: Speaker) -> None:
    for method, path in (*ROUTES, ("GET", f"/?token={speaker.token}")):
        for cookie in (None, speaker.cookie):
            headers = speaker.send(method, path, cookie=cookie).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "Access-Control-Allow-Origin" not in headers
            is_script = path.endswith(".js") and cookie is not None
            assert headers["Cache-Control"] == ("private, no-cache" if is_script else "no-store")
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert not re.search(r"script-src[^;]*('unsafe-inline'|https?:|\*)", policy)


def test_addresses_that_others_reach_want_a_certificate_or_a_proxy(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "myhost.example.org"):
        with pytest.raises(InputError, match="--certificate and --key, or --behind-proxy"):
            Address(host).tls()
        Address(host, proxy="https://hub.example.org").tls()
    for host in ("127.0.0.1", "127.8.9.10", "::1", "localhost"):
        assert Address(host).tls() is None
    with pytest.raises(InputError, match="got one of them"):
        Address(certificate=tmp_path / "a.pem").tls()
    (tmp_path / "a.pem").write_text("nothing")
    with pytest.raises(InputError, match="Correct them"):
        Address("0.0.0.0", certificate=tmp_path / "a.pem", key=tmp_path / "a.pem").tls()


@pytest.mark.parametrize(
    "proxy",
    [
        "hub.example.org",
        "ftp://hub",
        "https://",
        "https://a@hub",
        "https://hub/?x=1",
        "https://hub:port",
        "https://hub\\x",
        "*",
    ],
)
def test_a_proxy_that_is_no_place_is_told_in_one_line(proxy: str) -> None:
    with pytest.raises(InputError, match="--behind-proxy to be what a browser shows"):
        place_behind(proxy)


def test_places() -> None:
    assert place_behind("https://Hub.example.org:443/user/Anna/").url == "https://hub.example.org/user/Anna/"
    assert place_behind("https://hub.example.org:8443").hosts == {"hub.example.org:8443"}
    assert place_at("127.0.0.1", 80, is_secure=False).hosts == {"127.0.0.1", "localhost", "[::1]"}
    assert place_at("films.example.org", 8443, is_secure=True).url == "https://films.example.org:8443/"


def test_a_proxy_may_choose_the_token_and_bring_it_along(start: Callable[..., Speaker]) -> None:
    token = "t" * 32
    speaker = start(address=Address(proxy="https://hub.example.org/anna", token=token))
    assert speaker.serving.url == "https://hub.example.org/anna/", "what is printed would go into the log of the hub"
    of_hub = {"Host": "hub.example.org", "Authorization": f"Bearer {token}"}
    assert speaker.send("GET", "/index.html", headers=of_hub, cookie=None).status == 200
    assert is_refused(speaker.send("GET", "/index.html", headers={**of_hub, "Authorization": "Bearer x"}, cookie=None))
    assert is_refused(speaker.send("GET", "/index.html", headers={**of_hub, "Authorization": "Bearer "}, cookie=None))
    assert is_refused(speaker.send("POST", "/paraview/", headers={**of_hub, "Origin": EVIL}, cookie=None))
    with pytest.raises(InputError, match="a token of at least 32 characters, got 4"):
        start(address=Address(token="tttt"))


def test_behind_a_proxy_only_the_proxys_page_is_ours(start: Callable[..., Speaker]) -> None:
    speaker = start(address=Address(proxy="https://hub.example.org/user/Anna"))
    of_hub = {"Host": "hub.example.org", "Origin": "https://hub.example.org"}
    assert speaker.serving.url == f"https://hub.example.org/user/Anna/?token={speaker.token}"
    answer = speaker.send("GET", f"/?token={speaker.token}", headers={"Host": "hub.example.org"}, cookie=None)
    cookie = answer.headers["Set-Cookie"]
    assert "Path=/user/Anna/" in cookie
    assert "Secure" in cookie
    cookie = cookie.split(";")[0]
    told = speaker.send("POST", "/paraview/", headers=of_hub, cookie=cookie)
    assert told.status == 200
    # trame's client turns it into lower case.
    assert '"ws://use_host/user/%41nna/ws"' in told.text
    assert is_refused(speaker.send("GET", "/index.html", cookie=cookie)), "nobody is to come past the proxy"
    for foreign in ({**of_hub, "Origin": EVIL}, {**of_hub, "Origin": speaker.origin}, {**of_hub, "Host": speaker.host}):
        assert is_refused(speaker.send("POST", "/paraview/", headers=foreign, cookie=cookie))


def test_with_a_certificate_everything_is_encrypted(start: Callable[..., Speaker], tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    speaker = start(address=Address("127.0.0.1", certificate=certificate, key=key))

    async def get() -> tuple[int, str]:
        url = f"https://127.0.0.1:{speaker.port}/?token={speaker.token}"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
            return answer.status, answer.headers["Set-Cookie"]

    status, cookie = asyncio.run(get())
    assert status == 200
    assert "Secure" in cookie
    try:
        answer = speaker.raw(f"GET /?token={speaker.token} HTTP/1.1\r\nHost: {speaker.host}\r\n\r\n".encode())
    except ConnectionError:
        answer = b""
    assert not answer.startswith(b"HTTP")
