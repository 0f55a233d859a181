"""What is said with the worker that runs: requests one after the other, and what each of its answers means."""

from __future__ import annotations

import time

from DenseLandmarksLib.models.evidence_arrays import evidence_from_arrays
from DenseLandmarksLib.models.prediction_arrays import prediction_from_arrays
from DenseLandmarksLib.worker.connection import Connection
from DenseLandmarksLib.worker.environment_report import report_from_header
from DenseLandmarksLib.worker.events import Cancelled, Checked, Done, Explained, FailureKind, Loaded, Seconds
from DenseLandmarksLib.worker.requests import Request, Requests
from DenseLandmarksLib.worker.wire import Message

# Sending counts for this share of a request's progress, and is told in steps.
SENDING_SHARE, SENDING_STEP = 0.25, 0.05


def send_requests(requests: Requests, connection: Connection, until: float) -> None:
    """Send what goes until then (:func:`time.monotonic`), one request at a time: what is urgent finds a short queue."""
    while not connection.ended:
        if not connection.sending:
            request = requests.next_to_send()
            if request is None:
                break
            try:
                request.parcel = connection.put(request.header, request.arrays)
            except ValueError as error:
                requests.fail(request, "image", str(error))
                continue
        connection.send(until)
        if connection.sending or time.monotonic() >= until:
            break
    for request in requests:
        _tell_sending(requests, request)


def _tell_sending(requests: Requests, request: Request) -> None:
    parcel = request.parcel
    if parcel is None or request.running or request.fraction_told == SENDING_SHARE:
        return
    fraction = SENDING_SHARE * parcel.sent / parcel.size
    if parcel.finished_at is not None or fraction >= request.fraction_told + SENDING_STEP:
        request.fraction_told = fraction
        text = "sending the image" if parcel.finished_at is None else "waiting for the worker"
        requests.progress(request, text, fraction)


def take(requests: Requests, message: Message) -> None:
    """What the worker said of a request; nothing where nobody waits for it any more."""
    request = requests.get(message.header.get("id"))
    if request is None:
        return
    if message.kind == "progress":
        request.running = True
        requests.progress(request, str(message.header.get("text")), float(message.header.get("fraction", 0)))
    elif message.kind == "cancelled" or request.cancelled_at is not None:
        requests.answer(request, Cancelled(request.request_id))
    elif message.kind == "done":
        _decode(requests, request, message)
    elif message.kind == "explained":
        _decode_evidence(requests, request, message)
    elif message.kind == "loaded":
        requests.answer(request, Loaded(request.request_id, str(message.header.get("device"))))
    elif message.kind == "checked":
        requests.answer(request, Checked(request.request_id, report_from_header(message.header["report"])))
    elif message.kind == "failed":
        failure: FailureKind = message.header["failure"]
        requests.fail(request, failure, str(message.header.get("message")))


def _decode(requests: Requests, request: Request, message: Message) -> None:
    """Make a prediction of what came, and account for the time."""
    if message.arrays is None:
        _fail_for_memory(requests, request, "the prediction")
        return
    parcel, header = request.parcel, message.header
    assert parcel is not None
    assert parcel.began_at is not None
    assert parcel.finished_at is not None
    came_at = time.monotonic()
    try:
        prediction = prediction_from_arrays(header["prediction"], message.arrays)
        queue, load, predict = (float(header["seconds"][part]) for part in ("queue", "load", "predict"))
    except (KeyError, TypeError, ValueError) as error:
        what = f"{request.name}: expected a prediction, got another answer ({error}); report it"
        requests.fail(request, "internal", what)
        return
    seconds = Seconds(
        wait=parcel.began_at - request.asked_at,
        send=parcel.finished_at - parcel.began_at,
        queue=queue,
        load=load,
        predict=predict,
        reply=came_at - parcel.finished_at - queue - load - predict,
        decode=time.monotonic() - came_at,
    )
    requests.answer(request, Done(request.request_id, prediction, seconds))


def _decode_evidence(requests: Requests, request: Request, message: Message) -> None:
    """Make evidence of what came."""
    if message.arrays is None:
        _fail_for_memory(requests, request, "the maps")
        return
    try:
        evidence = evidence_from_arrays(message.header["evidence"], message.arrays)
    except (KeyError, ValueError) as error:
        what = f"{request.name}: expected maps of a landmark, got another answer ({error}); report it"
        requests.fail(request, "internal", what)
        return
    requests.answer(request, Explained(request.request_id, evidence))


def _fail_for_memory(requests: Requests, request: Request, what: str) -> None:
    line = f"expected memory for {what} of {request.name}, got none. Close other programs."
    requests.fail(request, "memory", line)
