"""Only the worker that was started comes in, and who else knocks keeps nobody waiting."""

from __future__ import annotations

import pickle
import socket
import sys
import time

import pytest

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.worker import doorway as doorway_module
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.connection import Connection
from DenseLandmarksLib.worker.doorway import STRANGERS_LIMIT, Doorway
from DenseLandmarksLib.worker.events import Failed
from DenseLandmarksLib.worker.launch import Launch
from DenseLandmarksLib.worker.wire import pack
from Testing.worker.waiting import answers


def knock(doorway: Doorway, data: bytes) -> socket.socket:
    stranger = socket.create_connection(("127.0.0.1", doorway.port))
    stranger.settimeout(5)
    stranger.sendall(data)
    return stranger


def poll_for(doorway: Doorway, seconds: float) -> Connection | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection = doorway.poll()
        if connection is not None:
            return connection
        time.sleep(0.005)
    return None


def hello(key: object) -> bytes:
    return b"".join(pack({"kind": "hello", "key": key, "pid": 7}))


def was_shown_out(stranger: socket.socket) -> bool:
    try:
        return stranger.recv(1) == b""
    except ConnectionResetError:
        return True


STRANGERS = {
    "a wrong key": hello("0" * 64),
    "no key": b"".join(pack({"kind": "hello"})),
    "a key that is no text": hello(["0"]),
    "a key that is no ASCII": hello("größer \udc80"),
    "another message": b"".join(pack({"kind": "ready"})),
    "a pickle": pickle.dumps({"key": "0"}),
    "words": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("said", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_shown_out_and_the_worker_still_comes_in(said: bytes) -> None:
    doorway = Doorway()
    stranger = knock(doorway, said)
    assert poll_for(doorway, 0.1) is None
    assert was_shown_out(stranger)
    # What it says right after its greeting is not lost.
    with knock(doorway, hello(doorway.key) + b"".join(pack({"kind": "ready"}))):
        connection = poll_for(doorway, 5)
        assert connection is not None
        assert doorway.greeting["pid"] == 7
        (message,) = connection.receive(time.monotonic() + 1, at_most=1)
        assert message.kind == "ready"
        connection.close()


def test_nobody_else_comes_in_after_the_worker() -> None:
    doorway = Doorway()
    with knock(doorway, hello(doorway.key)):
        connection = poll_for(doorway, 5)
        assert connection is not None
        with pytest.raises(ConnectionRefusedError):
            knock(doorway, hello(doorway.key))
        connection.close()


def test_a_crowd_that_says_nothing_leaves_the_way_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway_module, "GREETING_LIMIT_S", 0.2)
    doorway = Doorway()
    crowd = [knock(doorway, b"") for _ in range(STRANGERS_LIMIT)]
    assert poll_for(doorway, 0.1) is None
    with knock(doorway, hello(doorway.key)):
        connection = poll_for(doorway, 5)
        assert connection is not None
        connection.close()
    assert all(was_shown_out(stranger) for stranger in crowd)


def test_a_process_with_a_wrong_key_predicts_nothing(chest: MedicalImage) -> None:
    """In the worker's place, on the worker's port, but without the key that the worker was given."""
    impostor = """
import json, socket, sys
from DenseLandmarksLib.worker.wire import pack
greeting = json.loads(sys.stdin.readline())
door = socket.create_connection(("127.0.0.1", greeting["port"]))
door.sendall(b"".join(pack({"kind": "hello", "key": greeting["key"][::-1], "pid": 1})))
sys.exit("shown out" if door.recv(1) == b"" else "let in")
"""
    known = Launch.with_interpreter()
    with Worker(Launch((sys.executable, "-c", impostor), known.environment)) as worker:
        client = worker.client()
        request = client.request(chest, "chest-xray")
        failed = answers(worker, client, to=[request])[request]
        assert isinstance(failed, Failed)
        assert failed.kind == "worker"
        assert failed.message.startswith(
            "expected a worker that runs, but it ended with exit status 1 and said: shown out."
        )
