"""Bytes from another process become messages however they are cut, and nothing else: no pickle, no flood."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.worker.connection import AT_ONCE_BYTES, Connection
from DenseLandmarksLib.worker.launch import ROOT
from DenseLandmarksLib.worker.wire import DTYPES, HEADER_LIMIT_BYTES, MAGIC, PREFIX, Message, Unpacker, WireError, pack


def unpacked(data: bytes, step: int, unpacker: Unpacker | None = None) -> list[Message]:
    """The messages of ``data``, received ``step`` bytes at a time."""
    unpacker = unpacker or Unpacker()
    messages, at = [], 0
    while at < len(data):
        count = min(step, len(unpacker.space), len(data) - at)
        unpacker.space[:count] = data[at : at + count]
        at += count
        message = unpacker.advance(count)
        if message is not None:
            messages.append(message)
    return messages


def crafted(envelope: object, payload: bytes = b"") -> bytes:
    text = json.dumps(envelope).encode()
    return PREFIX.pack(MAGIC, len(text)) + text + payload


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_messages_come_back_bit_for_bit_however_they_are_cut(step: int) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {
        dtype: rng.integers(0, 100, (3, 2)).astype(dtype) for dtype in sorted(DTYPES)
    } | {
        "nothing": np.zeros((0, 3), np.float32),
        "a number": np.array(np.nan),
        "from a big-endian file": np.array([1, 256], ">u2"),
        "every other": np.arange(10)[::2],
        "read only": np.frombuffer(b"abc", np.uint8),
    }
    header = {"kind": "predict", "name": "film \udc80 größer", "third": 1 / 3}
    data = b"".join(pack(header, arrays)) + b"".join(pack({"kind": "ready"}))
    first, second = unpacked(data, step)
    assert first.header == header
    assert first.arrays is not None
    assert list(first.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(first.arrays[name], array)
        assert first.arrays[name].dtype == array.dtype.newbyteorder("<")
        assert first.arrays[name].flags.writeable
    assert (second.kind, second.arrays) == ("ready", {})


def test_a_large_image_is_sent_from_its_own_memory() -> None:
    pixels = np.zeros((10, 1000), np.uint16)
    _, piece = pack({"kind": "predict"}, {"pixels": pixels})
    assert np.shares_memory(np.frombuffer(piece, np.uint8), pixels)


def test_objects_are_not_sent() -> None:
    for array in (np.array([None]), np.array(["text"]), np.zeros(2, complex), np.zeros(2, "datetime64[s]")):
        with pytest.raises(ValueError, match="expected pixels to be an array of numbers"):
            pack({}, {"pixels": array})
    with pytest.raises(ValueError, match="JSON compliant"):
        pack({"spread": float("nan")})


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


REFUSED: dict[str, bytes] = {
    "a pickle": pickle.dumps(Exploit()),
    "a web browser": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "another version": b"DLW2" + bytes(100),
    "an empty header": PREFIX.pack(MAGIC, 0) + bytes(8),
    "a header without end": PREFIX.pack(MAGIC, HEADER_LIMIT_BYTES + 1) + bytes(8),
    "no JSON": PREFIX.pack(MAGIC, 4) + b"\x80\x04ab",
    "deep JSON": PREFIX.pack(MAGIC, 200000) + b"[" * 200000,
    "a list": crafted([1, 2]),
    "no arrays": crafted({"header": {}}),
    "a header that is none": crafted({"header": 1, "arrays": []}),
    "objects": crafted({"header": {}, "arrays": [["a", "|O", [1]]]}, bytes(8)),
    "Python's own objects": crafted({"header": {}, "arrays": [["a", "O", [1]]]}, bytes(8)),
    "records": crafted({"header": {}, "arrays": [["a", [["b", "O"]], [1]]]}, bytes(8)),
    "more than there may be": crafted({"header": {}, "arrays": [["a", "<f8", [1 << 20, 1 << 20]]]}),
    "less than nothing": crafted({"header": {}, "arrays": [["a", "<f8", [-1]]]}),
    "half an element": crafted({"header": {}, "arrays": [["a", "<f8", [1.5]]]}),
    "a number for a shape": crafted({"header": {}, "arrays": [["a", "<f8", 3]]}),
    "too many axes": crafted({"header": {}, "arrays": [["a", "<f8", [1] * 40]]}),
    "too many arrays": crafted({"header": {}, "arrays": [[str(i), "|u1", [0]] for i in range(65)]}),
    "one name twice": crafted({"header": {}, "arrays": [["a", "|u1", [0]], ["a", "|u1", [0]]]}),
    "two entries": crafted({"header": {}, "arrays": [["a", "|u1"]]}),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_message_is_refused_before_anything_is_made_of_it(data: bytes) -> None:
    with pytest.raises(WireError, match=r"^expected [^\n]+$"):
        unpacked(data, 1 << 20)


def test_a_stranger_may_not_fill_the_memory() -> None:
    with pytest.raises(WireError, match="at most 0 bytes"):
        unpacked(b"".join(pack({"kind": "hello"}, {"a": np.zeros(1)})), 100, Unpacker(4096, 0))


def test_an_image_that_finds_no_memory_is_lost_and_the_next_message_is_not() -> None:
    """In a process of its own, whose memory can be limited."""
    code = """
import resource, numpy as np
from Testing.worker.test_wire import unpacked
from DenseLandmarksLib.worker.wire import pack
data = b"".join(pack({"kind": "predict"}, {"small": np.ones(3), "large": np.zeros(100 << 20, np.uint8)}))
data += b"".join(pack({"kind": "cancel"}, {"small": np.ones(3)}))
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (50 << 20),) * 2)
first, second = unpacked(data, 1 << 16)
print(first.kind, first.arrays, second.kind, second.arrays)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "predict None cancel {'small': array([1., 1., 1.])}", run.stderr


def test_two_connections_that_never_wait_pass_on_more_than_the_system_takes_at_once() -> None:
    ours, theirs = (Connection(end) for end in _connected())
    small = ours.put({"kind": "predict"}, {"pixels": np.zeros(3 * AT_ONCE_BYTES // 2, np.uint8)})
    ours.send(time.monotonic())  # the system would take it all, but the time is up
    assert 0 < small.sent < small.size
    ours.send(time.monotonic() + 1)
    assert small.finished_at is not None
    assert len(theirs.receive(time.monotonic() + 1)) == 1
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (40 << 20) // 2, np.uint16)
    parcel = ours.put({"kind": "predict"}, {"pixels": pixels})
    ours.send(time.monotonic() + 10)  # nobody reads: it must come back although it is not done
    assert 0 < parcel.sent < parcel.size
    assert ours.sending
    messages: list[Message] = []
    while not messages:
        messages += theirs.receive(time.monotonic() + 0.01)
        ours.send(time.monotonic() + 0.01)
    assert parcel.finished_at is not None
    assert messages[0].arrays is not None
    np.testing.assert_array_equal(messages[0].arrays["pixels"], pixels)
    ours.close()
    assert theirs.receive(time.monotonic() + 1) == []
    assert theirs.ended


def _connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        came: list[socket.socket] = []
        waiting = threading.Thread(target=lambda: came.append(listener.accept()[0]))
        waiting.start()
        ours = socket.create_connection(listener.getsockname())
        waiting.join()
        return ours, came[0]
