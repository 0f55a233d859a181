"""Whose turn it is: nobody waits for the whole queue of another, and a worker is never flooded."""

from __future__ import annotations

import threading
import time
from collections import deque

from DenseLandmarksLib.worker.connection import Parcel
from DenseLandmarksLib.worker.events import Cancelled, Event, Failed
from DenseLandmarksLib.worker.requests import UNDER_WAY_LIMIT, Request, Requests
from DenseLandmarksLib.worker.server_queue import RequestQueue
from DenseLandmarksLib.worker.wire import Message


def message(name: str) -> Message:
    """``"a1"`` is the first request of client a."""
    return Message({"id": name, "client": name[0]}, {})


def queue_of(names: str) -> RequestQueue:
    queue = RequestQueue()
    for name in names.split():
        queue.put(message(name))
    return queue


def test_the_worker_takes_turns() -> None:
    queue = queue_of("a1 a2 a3 b1 c1 b2")
    assert [queue.take().request_id for _ in range(4)] == ["a1", "b1", "c1", "a2"]
    queue.put(message("d1"))
    queue.put(message("c2"))
    assert [queue.take().request_id for _ in range(4)] == ["b2", "a3", "d1", "c2"]


def test_what_waits_is_gone_when_it_is_cancelled_and_what_runs_is_told() -> None:
    queue = queue_of("a1 a2 b1")
    assert queue.take().request_id == "a1"
    assert queue.cancel("b1")
    assert not queue.cancel("b1")
    assert not queue.given_up()
    assert not queue.cancel("a1")
    assert queue.given_up()
    assert queue.take().request_id == "a2"
    assert not queue.given_up()
    queue.put(message("b2"))
    assert queue.take().request_id == "b2"


def test_taking_waits_for_the_first() -> None:
    queue, taken = RequestQueue(), deque[str]()
    waiting = threading.Thread(target=lambda: taken.append(queue.take().request_id), daemon=True)
    waiting.start()
    time.sleep(0.02)
    assert not taken
    queue.put(message("a1"))
    waiting.join(5)
    assert list(taken) == ["a1"]


def test_clients_take_turns_in_sending_and_only_a_few_are_under_way() -> None:
    told: list[tuple[int, Event]] = []
    requests = Requests(lambda client, event: told.append((client, event)))
    for number, client in enumerate((1, 1, 1, 1, 2, 3, 3), 1):
        requests.add(Request(number, client, {}, {}, None, "film", 0.0))
    sent = []
    while (request := requests.next_to_send()) is not None:
        request.parcel = Parcel(deque(), 1)
        sent.append((request.client, request.request_id))
    assert sent == [(1, 1), (2, 5), (3, 6), (1, 2), (3, 7)]
    assert UNDER_WAY_LIMIT == 2
    first = requests.get(1)
    assert first is not None
    requests.fail(first, "image", "not\nthis one")
    assert told == [(1, Failed(1, "image", "not this one"))]
    following = requests.next_to_send()
    assert following is not None
    assert following.request_id == 3
    following.cancelled_at = 1.0
    requests.progress(following, "going on", 0.5)
    requests.forget_worker()
    assert told[1:] == [(1, Cancelled(3))]  # given up: not to be sent again
    assert all(request.parcel is None for request in requests)
    assert [request.request_id for request in requests] == [2, 4, 5, 6, 7]
