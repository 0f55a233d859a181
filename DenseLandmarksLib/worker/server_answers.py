"""Each request gets one answer: a prediction, what spoke for a landmark, or why there is none."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.evidence_arrays import evidence_to_arrays
from DenseLandmarksLib.models.prediction_arrays import prediction_to_arrays, view_from_header
from DenseLandmarksLib.worker.environment_report import report_to_header
from DenseLandmarksLib.worker.events import PREDICTING, FailureKind
from DenseLandmarksLib.worker.image_arrays import image_from_arrays
from DenseLandmarksLib.worker.server_check import check
from DenseLandmarksLib.worker.server_link import Link
from DenseLandmarksLib.worker.server_models import WarmModels
from DenseLandmarksLib.worker.server_queue import Queued, RequestQueue

logger = logging.getLogger(__name__)

# Torch and ITK tell in words that an allocation failed: torch's CPU allocator, C++, ITK's pixel containers.
SHORT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "failed to allocate memory", "out of memory")
BEGUN, FIRST_PASS = 0.3, 0.4

# What an answer to each kind of request is called.
ANSWERS = {"predict": "done", "explain": "explained", "load": "loaded", "check": "checked"}

Reply = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class _GivenUpError(Exception):
    """The request that runs was cancelled."""


class Answers:
    """Predicts what is asked with models that it keeps open."""

    def __init__(self, link: Link, queue: RequestQueue) -> None:
        self._link = link
        self._queue = queue
        self._models = WarmModels()

    def give(self, queued: Queued) -> None:
        """Answer one request."""
        asked = queued.message.header
        said = {"id": queued.request_id}
        name = str(asked.get("image", {}).get("name", "the model"))
        failure: tuple[FailureKind, str]
        try:
            reply, arrays = self._work(queued)
            self._link.send({"kind": ANSWERS[asked["kind"]], **said, **reply}, arrays)
            return
        except _GivenUpError:
            logger.info("%s was given up", name)
            self._link.send({"kind": "cancelled", **said})
            return
        except _ModelError as error:
            failure = "model", str(error)
        except InputError as error:
            failure = "image", str(error)
        except Exception as error:
            if is_memory_error(error):
                logger.warning("not enough memory for %s: %s", name, in_one_line(error))
                failure = (
                    "memory",
                    f"expected memory for {name}, got none. Close other programs or give a smaller image.",
                )
            else:
                logger.exception("%s could not be predicted", name)
                what = f"{type(error).__name__}: {in_one_line(error)}"
                failure = "internal", f"{name}: expected a prediction, got an error of this program ({what}); report it"
        # Only here is the error gone, and with it all that its frames held.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._link.send({"kind": "failed", **said, "failure": failure[0], "message": failure[1]})

    def _work(self, queued: Queued) -> Reply:
        header, arrays = queued.message.header, queued.message.arrays
        began = time.monotonic()
        folder, device = Path(header["folder"]), str(header["device"])
        if header["kind"] == "check":
            self._tell(queued, "checking the environment", BEGUN)
            return {"report": report_to_header(check(self._models, folder, device, self._before_pass(queued)))}, {}
        predictor = self._models.warm(folder, device)
        self._tell(queued, "preparing" if predictor else "loading the model", BEGUN)
        if arrays is None:
            raise MemoryError("the image could not be received")
        try:
            predictor = predictor or self._models.open(folder, device)
        except InputError as error:
            raise _ModelError(str(error)) from error
        loaded = time.monotonic()
        if header["kind"] == "load":
            return {"device": predictor.device}, {}
        image = image_from_arrays(header["image"], arrays)
        arrays.clear()  # the image has its own copy
        unpacked = time.monotonic()
        view, before_pass = view_from_header(header["view"]), self._before_pass(queued)
        if header["kind"] == "explain":
            evidence = predictor.evidence(image, str(header["landmark"]), view, between_passes=before_pass)
            said, numbers = evidence_to_arrays(evidence)
            return {"evidence": said}, numbers
        prediction = predictor.predict(image, view, between_passes=before_pass)
        seconds = {
            "queue": began - queued.came_at,
            "load": loaded - began,
            "predict": time.monotonic() - unpacked,
        }
        said, numbers = prediction_to_arrays(prediction)
        return {"seconds": seconds, "prediction": said}, numbers

    def _before_pass(self, queued: Queued) -> Callable[[], None]:
        """What is called before each pass: says how far it is, and stops where it was cancelled."""
        passes = 0

        def before_pass() -> None:
            nonlocal passes
            if self._queue.given_up():
                raise _GivenUpError
            # Nobody knows how many there will be: a few of a radiograph, dozens of a volume.
            self._tell(queued, PREDICTING, 1 - (1 - FIRST_PASS) * 3 / (3 + passes))
            passes += 1

        return before_pass

    def _tell(self, queued: Queued, text: str, fraction: float) -> None:
        self._link.send({"kind": "progress", "id": queued.request_id, "text": text, "fraction": fraction})


class _ModelError(Exception):
    """The model that was asked for cannot be used."""


def is_memory_error(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, of the machine or of its accelerator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in SHORT_OF_MEMORY)


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:300]
