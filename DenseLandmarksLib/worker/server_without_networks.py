"""What a worker answers that cannot import what runs networks: which package is missing, to everybody who asks."""

from __future__ import annotations

from DenseLandmarksLib.worker.environment_report import EnvironmentReport, report_to_header
from DenseLandmarksLib.worker.server_link import Link
from DenseLandmarksLib.worker.server_packages import version_lines
from DenseLandmarksLib.worker.server_queue import Queued, RequestQueue

# Long enough for all that was sent to be read, short enough that who asks after an installation meets a new worker.
LINGER_S = 1.0


def answer_without_networks(link: Link, queue: RequestQueue, problem: str) -> None:
    """Answer everything with ``problem``, a check with the versions that there are, and return when nobody asks."""
    while (queued := queue.take(LINGER_S)) is not None:
        # Tells the client that this worker works; one that ends while it is asked is then no second one in a row.
        link.send({"kind": "progress", "id": queued.request_id, "text": "looking for packages", "fraction": 0.5})
        link.send({"id": queued.request_id, **_answer(queued, problem)})


def _answer(queued: Queued, problem: str) -> dict[str, object]:
    if queued.message.kind == "check":
        return {"kind": "checked", "report": report_to_header(EnvironmentReport(tuple(version_lines()), problem))}
    return {"kind": "failed", "failure": "worker", "message": problem}
