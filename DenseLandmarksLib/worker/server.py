"""``python -m DenseLandmarksLib.worker.server``: the process that predicts. The client starts it, nobody by hand.

It reads from its standard input, in one line of JSON, where to call back and the key to show there. One thread reads
what comes, the main thread predicts. It ends as soon as its connection does, whatever it is doing then.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading

from DenseLandmarksLib.worker.server_link import Link
from DenseLandmarksLib.worker.server_packages import missing_or_broken
from DenseLandmarksLib.worker.server_queue import RequestQueue
from DenseLandmarksLib.worker.server_without_networks import answer_without_networks

logger = logging.getLogger(__name__)

GREETING_LIMIT_BYTES = 1024


def main() -> None:
    """Call back, load torch, and answer until the connection ends; without torch, say so to all who ask."""
    # Ctrl+C in a terminal reaches whoever started us, and that decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a crash of a compiled library says goes to the log, too.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    greeting = json.loads(sys.stdin.buffer.readline(GREETING_LIMIT_BYTES))
    link = Link(int(greeting["port"]))
    link.send({"kind": "hello", "key": greeting["key"], "pid": os.getpid()})
    queue = RequestQueue()
    threading.Thread(target=listen, args=(link, queue), name="listen", daemon=True).start()

    # Takes seconds, during which the thread listens already.
    problem = missing_or_broken()
    if problem:
        logger.error("%s", problem)
        link.send({"kind": "ready"})
        answer_without_networks(link, queue, problem)
        # Whoever asks next gets a new process, which sees what was installed meanwhile.
        return
    from DenseLandmarksLib.worker.server_answers import Answers

    answers = Answers(link, queue)
    link.send({"kind": "ready"})
    logger.info("worker %d is ready", os.getpid())
    while (queued := queue.take()) is not None:
        answers.give(queued)
        del queued


def listen(link: Link, queue: RequestQueue) -> None:
    """Put what comes into the queue; ends the process with the connection."""
    try:
        while (message := link.receive()) is not None:
            if message.kind == "cancel":
                if queue.cancel(message.header["id"]):
                    link.send({"kind": "cancelled", "id": message.header["id"]})
            elif message.kind in ("predict", "explain", "load", "check"):
                queue.put(message)
            else:
                raise ValueError(f"expected a request, got {message.kind!r}")
            # The next one may be long in coming, and an image is large.
            del message
    except Exception:
        logger.exception("what came cannot be understood")
        os._exit(1)
    # Not sys.exit: nothing is worth waiting for, least of all a prediction that nobody wants.
    os._exit(0)


if __name__ == "__main__":
    main()
