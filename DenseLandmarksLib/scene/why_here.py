"""The question why a landmark is where it is, from the wish to the map over the image; it changes nothing of the case."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from DenseLandmarksLib.annotation.evidence_request import EvidenceRequest
from DenseLandmarksLib.annotation.prediction_request import RequestStatus
from DenseLandmarksLib.annotation.why_here import bundle_behind
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.evidence import Evidence, EvidenceMap
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.prediction_run import image_of
from DenseLandmarksLib.worker.client import Worker

# Maps of so many landmarks stay at hand; those of a volume are a few megabytes.
_KEPT = 24


class WhyHere:
    """One question at a time, about the landmark that is chosen; it ends with another landmark, prediction or case.

    Attributes
    ----------
    evidence : what is shown, ``None`` while nothing is.
    strength : how opaque the map is at its highest, 0 to 1.
    """

    def __init__(self, worker: Callable[[], Worker]) -> None:
        """``worker`` gives the one to ask; it is called only where the case does not hold the answer."""
        self.evidence: Evidence | None = None
        self.strength = 0.7
        self._worker = worker
        self._case: CaseInScene | None = None
        self._about: tuple[str, Prediction] | None = None
        self._request: EvidenceRequest | None = None
        self._wanted_map = ""
        # The masks are the same object as long as a prediction is the same, also with another spacing.
        self._known: OrderedDict[tuple[int, str], tuple[Any, Evidence]] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether something is asked or shown."""
        return self._case is not None

    @property
    def is_under_way(self) -> bool:
        """Whether the answer is waited for."""
        return self._request is not None

    @property
    def status(self) -> RequestStatus:
        """How the question goes."""
        return RequestStatus() if self._request is None else self._request.status

    @property
    def map_names(self) -> tuple[str, ...]:
        """What can be chosen among."""
        return () if self.evidence is None else tuple(one.name for one in self.evidence.maps)

    @property
    def shown_map(self) -> EvidenceMap | None:
        """The map that is shown: the one that was chosen last where there is one of that name, else the first."""
        if self.evidence is None:
            return None
        maps = self.evidence.maps
        return next((one for one in maps if one.name == self._wanted_map), maps[0])

    @property
    def line(self) -> str:
        """What is being done, or what is high where on the map that is shown; empty while nothing is asked."""
        one = self.shown_map
        if one is None or self._about is None:
            return self.status.text
        if one.is_empty:
            return f"Nothing in the image speaks for {self._about[0]}: this map is empty."
        return one.explanation

    def ask(self, case: CaseInScene, model: str, device: str = "auto") -> None:
        """Ask about the landmark that is chosen in a case. Raises :class:`InputError`, in one line, where that cannot be.

        ``model`` is the one that is chosen in the front end; another is asked where it is not the one that predicted.
        """
        self.end()
        name, session = case.chosen, case.session
        if not name:
            raise InputError("expected a landmark to tell why it is there, got none. Choose one in the table.")
        evidence = session.why_here(name)
        answer = session.state.answer
        assert answer is not None
        self._case, self._about = case, (name, answer.prediction)
        evidence = evidence or self._recall(answer.prediction, name)
        try:
            if evidence is not None:
                self._take(evidence)
            else:
                folder, image = bundle_behind(answer.prediction, model), image_of(case)
                client = self._worker().client()
                self._request = EvidenceRequest(client, image, name, folder, answer.prediction.view, device)
        except InputError:
            self.end()
            raise

    def choose_map(self, name: str) -> None:
        """Show another of the maps, now and with the next questions."""
        self._wanted_map = name
        self._show()

    def set_strength(self, strength: float) -> None:
        """Show the map more or less opaque."""
        self.strength = min(1.0, max(0.0, strength))
        self._show()

    def end(self) -> None:
        """Ask and show nothing any more."""
        if self._request is not None:
            self._request.cancel()
        if self._case is not None:
            self._case.hide_evidence()
        self._request = self._case = self._about = self.evidence = None

    def end_where_it_is_over(self, case: CaseInScene | None) -> bool:
        """End the question where ``case``, the one in hand, is no longer what it is about; whether it was ended."""
        if self._case is None or self._about is None:
            return False
        name, prediction = self._about
        if case is self._case and case.is_open and case.chosen == name:
            answer = case.session.state.answer
            if answer is not None and answer.prediction.masks is prediction.masks:
                return False
        self.end()
        return True

    def poll(self) -> tuple[bool, str]:
        """Take what the worker sent: whether something changed, and why there will be no answer, where there will be none."""
        if self._case is not None and self.evidence is not None:
            self._case.keep_evidence_in_views()
        if self._request is None or self._about is None:
            return False, ""
        before, status = self._request.status, self._request.poll()
        if not status.finished:
            return status != before, ""
        evidence, self._request = self._request.evidence, None
        if evidence is None:
            self.end()
        else:
            name, prediction = self._about
            self._remember(prediction, name, evidence)
            self._take(evidence)
        return True, status.problem

    def _take(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._show()

    def _show(self) -> None:
        if self._case is not None and self.shown_map is not None:
            self._case.show_evidence(self.shown_map, self.strength)

    def _remember(self, prediction: Prediction, name: str, evidence: Evidence) -> None:
        self._known[id(prediction.masks), name] = prediction.masks, evidence
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def _recall(self, prediction: Prediction, name: str) -> Evidence | None:
        """What was answered before; the masks are kept with it, so that no other object has their identity."""
        known = self._known.get((id(prediction.masks), name))
        return None if known is None else known[1]
