"""What a browser sends comes into the library, or leaves nothing; what it fetches is what was offered to it."""

from __future__ import annotations

import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib.annotation.library.export import export_case
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.web.uploads import name_of
from Testing.geometry.dicom_files import write_ct_slices
from Testing.scene.open_cases import predict
from Testing.web.speak import Speaker, Wire


def film(seed: int = 0) -> bytes:
    """A PNG file of a film."""
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 40), dtype=np.uint8)
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def form(*files: tuple[str, bytes], boundary: str = "XXXX") -> tuple[bytes, dict[str, str | None]]:
    """A form with files, and the header that goes with it."""
    body = b""
    for name, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def all_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture
def nothing_left(library: Library) -> Any:
    """That the library's folder is as it was before the test."""
    before = all_below(library.folder)
    yield
    assert all_below(library.folder) == before


def test_an_image_that_is_sent_becomes_a_case_with_a_copy(speaker: Speaker, library: Library) -> None:
    answer = speaker.send("POST", "/upload?name=film%201.png", film())
    assert answer.status == 201, answer.text
    entry = next(entry for entry in library.cases() if entry.name == "film 1")
    assert answer.text == f'{{"case": "{entry.id}", "name": "film 1"}}'
    copy = library.case(entry.id).image_path
    assert copy.read_bytes() == film()
    assert library.folder in copy.parents
    assert not [name for name in all_below(library.folder) if "/." in f"/{name}"]


def test_a_form_is_as_good(speaker: Speaker, library: Library) -> None:
    body, headers = form(("films/anna.png", film(1)))
    assert speaker.send("POST", "/upload", body, headers).status == 201
    assert "anna" in [entry.name for entry in library.cases()]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("files", "line"),
    [
        ((), "expected a form with one file, or the files of one series, got another. Send each image by itself.\n"),
        (
            (("a.png", film()), ("b.png", film(2))),
            "a: expected one image or one series of slices, got 2 images; name one\n",
        ),
    ],
    ids=["no file", "two films"],
)
def test_a_form_with_another_number_of_images_is_refused(
    speaker: Speaker, files: tuple[tuple[str, bytes], ...], line: str
) -> None:
    answer = speaker.send("POST", "/upload", *form(*files))
    assert (answer.status, answer.text) == (422, line)


@pytest.mark.usefixtures("nothing_left")
def test_a_damaged_slice_is_called_by_its_name(speaker: Speaker, tmp_path: Path) -> None:
    slices = [(path.name, path.read_bytes()) for path in write_ct_slices(tmp_path / "neck", [0.0, 2.5, 5.0])]
    slices[1] = (slices[1][0], slices[1][1][:-500])
    answer = speaker.send("POST", "/upload", *form(*slices))
    assert answer.status == 422
    assert slices[1][0] in answer.text
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize("name", ["slices", "points.csv"])
def test_slices_may_be_called_as_anything(speaker: Speaker, library: Library, tmp_path: Path, name: str) -> None:
    slices = [(name, path.read_bytes()) for path in write_ct_slices(tmp_path / "neck", [0.0, 2.5])]
    assert speaker.send("POST", "/upload", *form(*slices)).status == 201
    assert speaker.send("POST", "/upload", *form(slices[0])).status == (422 if name == "points.csv" else 201)


def test_the_slices_of_a_series_in_one_form_become_one_case(speaker: Speaker, library: Library, tmp_path: Path) -> None:
    # Two of them have the same name: they came from different folders.
    slices = [("films/neck.dcm", path.read_bytes()) for path in write_ct_slices(tmp_path / "neck", [0.0, 2.5, 5.0])]
    answer = speaker.send("POST", "/upload", *form(*slices))
    assert answer.status == 201, answer.text
    case = library.case(json.loads(answer.text)["case"])
    assert (case.name, case.read_image()[0].geometry.size) == ("neck", (48, 40, 3))
    assert not [name for name in all_below(library.folder) if "/." in f"/{name}"]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"--X\r\n", "multipart/form-data; boundary=X"),
        (b"nothing of a form", "multipart/form-data; boundary=X"),
        (b"--X\r\nbroken header\r\n\r\nx\r\n--X--\r\n", "multipart/form-data; boundary=X"),
        (b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--X--\r\n', "multipart/form-data; boundary=X"),
    ],
)
def test_a_broken_form_is_refused_in_one_line(speaker: Speaker, body: bytes, content_type: str) -> None:
    answer = speaker.send("POST", "/upload", body, {"Content-Type": content_type})
    assert answer.status == 422, answer.text
    assert answer.text.count("\n") == 1


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "content", [b"", b"x", film()[:-40], b"PK\3\4" + bytes(100), bytes(10_000), b"NRRD0004\ntype: short\n\n"]
)
def test_a_damaged_file_is_told_in_one_line_and_leaves_nothing(
    speaker: Speaker, library: Library, content: bytes
) -> None:
    answer = speaker.send("POST", "/upload?name=film.png", content)
    assert answer.status == 422
    assert answer.text.startswith("film.png: ")
    assert answer.text.count("\n") == 1
    assert str(library.folder) not in answer.text


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("place", ["{file}", "../chest-0.nrrd", "library.json", "../library.json", "LIST", "image.raw"])
def test_a_header_that_names_another_file_brings_nothing_of_it(speaker: Speaker, tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(range(256)) * 16)
    place = place.format(file=secret)
    meta = f"ObjectType = Image\nNDims = 2\nDimSize = 64 64\nElementType = MET_UCHAR\nElementDataFile = {place}\n"
    nrrd = f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 64 64\nencoding: raw\ndata file: {place}\n\n"
    for name, header in (("a.mhd", meta), ("a.nhdr", nrrd)):
        assert speaker.send("POST", f"/upload?name={name}", header.encode()).status == 422


@pytest.mark.usefixtures("nothing_left")
def test_what_is_too_large_is_refused_before_it_is_sent(start: Callable[..., Speaker]) -> None:
    speaker = start(max_upload_bytes=1 << 20)
    length = "Content-Length: 600000000"
    answer = speaker.raw(speaker.head("POST /upload?name=a.png HTTP/1.1", length))  # and not one byte of it
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"at most 1 MiB" in answer
    expecting = speaker.raw(speaker.head("POST /upload?name=a.png HTTP/1.1", length, "Expect: 100-continue"))
    assert expecting.startswith(b"HTTP/1.1 413")


@pytest.mark.usefixtures("nothing_left")
def test_who_does_not_say_how_much_comes_is_stopped_there(start: Callable[..., Speaker], library: Library) -> None:
    speaker = start(max_upload_bytes=1 << 20)
    head = speaker.head("POST /upload?name=a.png HTTP/1.1", "Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    sent = most = 0
    with socket.create_connection(("127.0.0.1", speaker.port), timeout=10) as line:
        line.sendall(head)
        try:
            for _ in range(400):
                line.sendall(chunk)
                sent += 1 << 16
                on_disk = [path.stat().st_size for path in library.folder.rglob(".writing-*/*")]
                most = max(most, sum(on_disk))
        except OSError:
            pass
        assert most <= 1 << 20
        line.settimeout(15)
        try:
            answer = line.recv(4096)
        except ConnectionError:
            answer = b"HTTP/1.1 413"  # the answer was lost with the connection, which was closed on us
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.usefixtures("nothing_left")
def test_a_form_with_too_large_a_file_is_refused(start: Callable[..., Speaker]) -> None:
    speaker = start(max_upload_bytes=1000)
    body, headers = form(("a.png", bytes(1001)))
    assert speaker.send("POST", "/upload", body, headers).status == 413


@pytest.mark.usefixtures("nothing_left")
def test_a_form_whose_files_are_too_large_together_is_refused(start: Callable[..., Speaker]) -> None:
    speaker = start(max_upload_bytes=100_000)
    parts = [(f"{number}.dcm", bytes(40_000)) for number in range(3)]
    body, headers = form(*parts)
    answer = speaker.send("POST", "/upload", body, headers)
    assert answer.status == 413


@pytest.mark.usefixtures("nothing_left")
def test_nobody_sends_a_body_who_may_not(speaker: Speaker) -> None:
    head = f"POST /upload HTTP/1.1\r\nHost: {speaker.host}\r\nOrigin: {speaker.origin}\r\nExpect: 100-continue\r\n"
    assert speaker.raw(f"{head}Content-Length: 100\r\n\r\n".encode()).startswith(b"HTTP/1.1 403")
    assert speaker.raw(f"{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 403"
    )


def test_who_asks_first_may_send(speaker: Speaker) -> None:
    content = film(3)
    head = speaker.head(
        "POST /upload?name=a.png HTTP/1.1",
        "Expect: 100-continue",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    with socket.create_connection(("127.0.0.1", speaker.port), timeout=10) as line:
        line.sendall(head)
        assert line.recv(100).startswith(b"HTTP/1.1 100")
        line.sendall(content)
        assert line.recv(4096).startswith(b"HTTP/1.1 201")


@pytest.mark.usefixtures("nothing_left")
def test_an_encoded_body_is_not_decoded(speaker: Speaker) -> None:
    answer = speaker.send("POST", "/upload?name=a.png", b"x", {"Content-Encoding": "gzip"})
    assert answer.status == 415


def test_a_slow_upload_lets_others_work_and_comes_in(speaker: Speaker, library: Library) -> None:
    content = film(4)
    head = speaker.head("POST /upload?name=slow.png HTTP/1.1", f"Content-Length: {len(content)}", "Connection: close")
    with socket.create_connection(("127.0.0.1", speaker.port), timeout=10) as line:
        line.sendall(head)
        for at in range(0, len(content), 100):
            line.sendall(content[at : at + 100])
            began = time.monotonic()
            assert speaker.send("GET", "/index.html").status == 200
            assert time.monotonic() - began < 2
        assert line.recv(4096).startswith(b"HTTP/1.1 201")
    assert "slow" in [entry.name for entry in library.cases()]


@pytest.mark.usefixtures("nothing_left")
def test_who_stops_sending_is_not_waited_for(start: Callable[..., Speaker], library: Library) -> None:
    speaker = start(stall_s=0.3)
    head = speaker.head("POST /upload?name=a.png HTTP/1.1", "Content-Length: 100000")
    assert speaker.raw(head + b"some").startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("nothing_left")
def test_a_tab_that_is_closed_while_it_sends_leaves_nothing(speaker: Speaker, library: Library) -> None:
    with socket.create_connection(("127.0.0.1", speaker.port), timeout=10) as line:
        line.sendall(speaker.head("POST /upload?name=a.png HTTP/1.1", "Content-Length: 100000") + bytes(1000))
        _until(lambda: bool(list(library.folder.glob(".writing-*/a.png"))))
    _until(lambda: not list(library.folder.glob(".writing-*")))


def test_two_uploads_at_once_become_two_cases(speaker: Speaker, library: Library) -> None:
    assert speaker.cookie
    answers = []

    def send(seed: int) -> None:
        answers.append(speaker.send("POST", "/upload?name=film.png", film(seed)).status)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(10, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [201] * 6
    assert len(library.cases()) == 7


def test_the_same_image_twice_is_one_case(speaker: Speaker, library: Library) -> None:
    first, second = (speaker.send("POST", f"/upload?name={name}.png", film(5)).text for name in "ab")
    assert first == second
    assert len(library.cases()) == 2


@pytest.mark.usefixtures("nothing_left")
def test_landmarks_go_into_the_open_case(
    speaker: Speaker, bench: Any, library: Library, chest_template: Template, tmp_path: Path
) -> None:
    case = bench.open_case(library.cases()[0].id)
    predict(case.session, chest_template)
    export_case(case.session.case, case.session.state, "mrk.json", tmp_path / "exported")
    (path,) = (tmp_path / "exported").glob("*.mrk.json")
    bench.undo()
    assert not case.session.state.landmarks.names
    assert speaker.send("POST", f"/upload?name={path.name}", path.read_bytes()).status == 201
    assert case.session.state.landmarks.names == chest_template.landmark_names


@pytest.mark.usefixtures("nothing_left")
def test_landmarks_that_belong_nowhere_are_refused(speaker: Speaker, bench: Any, library: Library) -> None:
    refused = speaker.send("POST", "/upload?name=a.csv", b"x")
    assert refused.status == 422
    assert "expected an open case" in refused.text
    bench.open_case(library.cases()[0].id)
    refused = speaker.send("POST", "/upload?name=a.csv", b"\0\1\2")
    assert refused.status == 422
    assert refused.text.startswith("a.csv: ")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("film.png", "film.png"),
        ("FILM.DCM", "FILM.dcm"),
        ("a.b.nii.gz", "a.b.nii.gz"),
        ("chest.mrk.json", "chest.mrk.json"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/passwd", "passwd"),
        ("C:\\films\\a.png", "a.png"),
        ("..", "_"),
        ("...", "_"),
        ("", "image"),
        (".png", "image.png"),
        (".hidden.png", "_hidden.png"),
        ("a\0b.png", "a_b.png"),
        ("a\nb.png", "a_b.png"),
        ("con:stream.png", "con_stream.png"),
        ("\udcff.png", "_.png"),
        ("größe.png", "größe.png"),
        ("x" * 5000 + ".png", "x" * 80 + ".png"),
    ],
)
def test_what_a_browser_calls_a_file_names_no_other_place(given: str, name: str) -> None:
    assert name_of(given) == name


def test_a_name_of_any_letters_fits_the_disk() -> None:
    assert len(name_of("😀" * 300 + "界" * 300 + ".nii.gz").encode()) < 255


# Downloads.


def test_an_export_is_fetched_as_one_zip_that_we_name(speaker: Speaker, tmp_path: Path) -> None:
    downloads = speaker.serving.downloads
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = downloads.new_folder()
    (folder / "a.csv").write_text("1")
    (folder / "more").mkdir()
    (folder / "more" / "b.csv").write_text("2")
    (folder / "link").symlink_to(secret)
    (folder / "away").symlink_to(tmp_path)
    address = downloads.offer(folder, "../chest 0/\r\nSet-Cookie: x")
    answer = speaker.send("GET", f"/{address}")
    assert answer.status == 200
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert sorted(archive.namelist()) == ["a.csv", "more/b.csv"]
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''__chest%200___Set-Cookie_%20x.zip"
    assert "Set-Cookie" not in answer.headers
    assert not folder.exists()


def test_only_folders_of_this_session_are_offered(speaker: Speaker, library: Library, tmp_path: Path) -> None:
    downloads = speaker.serving.downloads
    link = downloads.new_folder().parent / "link"
    link.symlink_to(library.folder)
    for folder in (library.folder, tmp_path, Path("/"), link, downloads.new_folder() / "..", link.parent):
        with pytest.raises(ValueError, match="expected a folder of this session's exports"):
            downloads.offer(folder, "x")
    link.unlink()


def test_exports_are_private_bounded_and_gone_in_the_end(start: Callable[..., Speaker]) -> None:
    speaker = start()
    downloads = speaker.serving.downloads
    folder = downloads.new_folder().parent
    assert folder.stat().st_mode & 0o077 == 0
    for _ in range(20):
        downloads.offer(downloads.new_folder(), "x")
    assert len(list(folder.glob("*.zip"))) == 8
    speaker.stop()
    assert not folder.exists()


def _until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


# Paths.

PLACES = (
    "../{file}",
    "../../../../../../../../../..{path}",
    "{path}",
    "/{path}",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{path}",
    "..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{quoted}",
    "%252e%252e%252f{path}",
    "..\\..\\..\\..{path}",
    "..%5c..%5c..%5c{path}",
    "....//....//....//{path}",
    "link",
    "%00{path}",
    "x%00.png",
    "file://{path}",
    "{path}%00",
    "~/",
    ".%2e/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e{path}",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_route_leads_to_another_file(speaker: Speaker, library: Library, tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("what nobody may read")
    place = place.format(file="secret.txt", path=secret, quoted=str(secret).replace("/", "%2f"))
    before = all_below(tmp_path) - all_below(library.folder)
    for route in (
        "",
        "download/",
        "download/?key=",
        "assets/",
        "ws/",
        "ws?file=",
        "paraview/",
        "upload/",
        "index.html?path=",
    ):
        for method in ("GET", "POST"):
            body = film(6) if method == "POST" else None
            answer = speaker.send(method, f"/{route}{place}", body)
            assert b"nobody may read" not in answer.body
            assert answer.status in (200, 302, 400, 404, 405) or (route == "index.html?path=" and answer.status == 200)
            assert str(tmp_path) not in answer.text or answer.status == 302
    speaker.send("POST", f"/upload?name={place}", film(7))
    body, headers = form((place, film(8)))
    speaker.send("POST", "/upload", body, headers)
    inside = {name for name in all_below(tmp_path) if not name.startswith("library")}
    assert inside == {name for name in before if not name.startswith("library")}, "something was written elsewhere"
    assert secret.read_text() == "what nobody may read"


@pytest.mark.parametrize("as_form", [True, False], ids=["in a form", "in the address"])
@pytest.mark.parametrize("name", ["../planted.png", "../../planted.png", "{folder}/planted.png", "..\\planted.png"])
def test_a_file_lies_in_its_case_and_nowhere_else(
    speaker: Speaker, library: Library, tmp_path: Path, name: str, as_form: bool
) -> None:
    name = name.format(folder=tmp_path)
    sent = form((name, film(9))) if as_form else (film(9), {})
    answer = speaker.send("POST", "/upload" if as_form else f"/upload?name={quote(name)}", *sent)
    assert answer.status == 201, answer.text
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == film(9)]
    assert written == [library.case(json.loads(answer.text)["case"]).image_path]


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a\0b", "", "x" * 10_000, "__class__", "trame.state.get/../x"]
)
def test_no_name_on_the_websocket_leads_to_another_file(speaker: Speaker, tmp_path: Path, name: str) -> None:
    async def talk(wire: Wire) -> None:
        await wire.hello(speaker.secret())
        assert "Unregistered" in (await wire.call(name))["error"]["message"]
        assert (await wire.call("trame.trigger", name, [], {}))["result"] is None
        await wire.call("trame.lifecycle.update", name)
        assert (await wire.call("trame.trigger", "click", [], {}))["result"] == 1

    speaker.over_websocket(talk)


def test_volumes_come_in_as_well(speaker: Speaker, library: Library, tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    pixels = np.random.default_rng(9).integers(0, 1000, (33, 34, 35)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    assert speaker.send("POST", "/upload?name=volume.nii.gz", path.read_bytes()).status == 201
    assert "volume" in [entry.name for entry in library.cases()]
