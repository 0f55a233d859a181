"""What comes of a request: progress, and then exactly one of done, explained, loaded, checked, failed or cancelled."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal

from DenseLandmarksLib.models.evidence import Evidence
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.worker.environment_report import EnvironmentReport

STARTING = "starting the worker"
# What is said before each pass of the network.
PREDICTING = "predicting"

FailureKind = Literal["image", "model", "memory", "worker", "internal"]


@dataclass(frozen=True)
class Seconds:
    """Where the time of a request went; the parts add up to all of it.

    Attributes
    ----------
    wait : from the request until its first bytes left: the worker started, or had enough to do.
    send : until its last bytes left.
    queue : in the worker, behind other requests or while it starts.
    load : opening the model; next to nothing when it is warm.
    predict : the prediction itself, as it would take in this process.
    reply : everything on the way besides: packing, the way back, and until the front end looked.
    decode : making a prediction of what came.
    """

    wait: float
    send: float
    queue: float
    load: float
    predict: float
    reply: float
    decode: float

    @property
    def total(self) -> float:
        """From the request to its prediction."""
        return float(sum(astuple(self)))


@dataclass(frozen=True)
class Progress:
    """A request goes on: ``text`` says with what, ``fraction`` (0..1) about how far."""

    request_id: int
    text: str
    fraction: float


@dataclass(frozen=True)
class Done:
    """A request is answered."""

    request_id: int
    prediction: Prediction
    seconds: Seconds


@dataclass(frozen=True)
class Explained:
    """The maps of what spoke for a landmark are there."""

    request_id: int
    evidence: Evidence


@dataclass(frozen=True)
class Loaded:
    """A model is open and waits for images; ``device`` is where it runs (``"cpu"``, ``"cuda"``)."""

    request_id: int
    device: str


@dataclass(frozen=True)
class Checked:
    """The worker's environment was checked; ``report.problem`` says what does not work."""

    request_id: int
    report: EnvironmentReport


@dataclass(frozen=True)
class Failed:
    """A request cannot be answered; ``message`` is one line for the person at the screen.

    ``kind`` is ``"image"`` or ``"model"`` where the person gave one that cannot be used, ``"memory"`` where there is not
    enough of it, ``"worker"`` where the process ended, did not start, or lacks a package, ``"internal"`` for a mistake
    of this program, told in the worker's log.
    """

    request_id: int
    kind: FailureKind
    message: str


@dataclass(frozen=True)
class Cancelled:
    """A request was cancelled; nothing more comes of it."""

    request_id: int


Event = Progress | Done | Explained | Loaded | Checked | Failed | Cancelled
