"""One person at work in one scene: the library, the case in hand, what is being predicted, what is left to look at.

All that a front end shows is here, and all that it forwards goes here; it keeps nothing of its own but what is folded and
how wide a column is. It calls :meth:`Workbench.poll` from its own timer and looks at :attr:`Workbench.version` for whether
there is anything new to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import Order
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import Worklist
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.fitting_models import fitting_instead
from DenseLandmarksLib.scene.annotate_blind import annotate_blind
from DenseLandmarksLib.scene.carry_out import Tell, attempt
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.case_of_volume import find_case
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.predicting import Predicting
from DenseLandmarksLib.scene.retraining import LibraryRetraining, own_training
from DenseLandmarksLib.scene.saved_case import SavedCase, saved_cases
from DenseLandmarksLib.scene.why_here import WhyHere
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.launch import Launch

P = ParamSpec("P")

# The library of whoever never opened one.
OWN_LIBRARY = "my cases"


class Workbench:
    """What one person works on.

    Attributes
    ----------
    desk : the cases that are open in the scene.
    case : the one in hand, ``None`` without any.
    worklist : its landmarks in an order of doubt that stays until another case or prediction comes.
    predicting : the worker, and the prediction that it was asked for last.
    why : the question why a landmark is where it is.
    retraining : the process that learns from the library, or did so last.
    library : where cases are kept; see :meth:`need_library`.
    version : another number whenever there is something new to show.
    lines : what the person was told, the newest last.
    """

    def __init__(
        self,
        scene: Any,
        who: str,
        tell: Tell,
        make_worker: Callable[[], Worker] = Worker,
        data_folder: Path | None = None,
        launch_training: Callable[[], Launch] = own_training,
    ) -> None:
        """``scene`` is a vtkMRMLScene, ``tell`` takes one line for the person; ``data_folder`` is the user's unless given.

        ``make_worker`` is called when something is predicted for the first time, ``launch_training`` whenever a model is
        retrained. Raises :class:`InputError` as :class:`Desk` does.
        """
        self._scene, self._tell_person = scene, tell
        self.lines: list[str] = []
        self.version = 0
        self.desk = Desk(scene, who, self.tell, data_folder)
        self.case: CaseInScene | None = None
        self.library: Library | None = None
        self.predicting = Predicting(make_worker)
        self.why = WhyHere(lambda: self.predicting.worker)
        self.retraining = LibraryRetraining(launch_training, self.desk.data_folder)
        self.worklist = Worklist(())
        self._watched: Session | None = None
        self._seen: object = None

    # What there is to show.

    @property
    def session(self) -> Session | None:
        """Of the case in hand."""
        return None if self.case is None else self.case.session

    @property
    def state(self) -> CaseState | None:
        """Of the case in hand."""
        return None if self.case is None else self.case.session.state

    @property
    def is_busy(self) -> bool:
        """Whether there is something to poll for: an open case, or a worker."""
        return bool(self.desk.cases) or self.predicting.has_worker

    @property
    def who(self) -> str:
        """The person at work, as revisions name them."""
        return self.desk.who

    @who.setter
    def who(self, name: str) -> None:
        self.desk.who = name
        for case in self.desk.cases:
            case.session.who = name

    def tell(self, line: str) -> None:
        """Have the person told one line."""
        self.lines.append(line)
        self.version += 1
        self._tell_person(line)

    def poll(self) -> None:
        """Do what came up: gestures in the scene, and what the worker sent."""
        self.desk.poll()
        if self.predicting.poll():
            self.version += 1
            problem = "" if self.predicting.run is None else self.predicting.run.status.problem
            if problem:
                self.tell(problem)
        for has_changed, line in (self.why.poll(), self.retraining.poll(self.library, self._saved())):
            self.version += has_changed
            if line:
                self.tell(line)
        self._look()

    # Libraries and cases.

    def open_library(self, folder: Path) -> Library:
        """Work in this library from now on; cases that are open stay in theirs. Raises :class:`InputError` for no library."""
        self.library = Library.open(folder)
        self.version += 1
        return self.library

    def create_library(self, folder: Path, name: str) -> Library:
        """Make a folder a library and work in it; raises :class:`InputError` where that cannot be."""
        self.library = Library.create(folder, name)
        self.version += 1
        return self.library

    def need_library(self) -> Library:
        """The library in use, by default one of the user's own, so that nobody has to choose one to begin."""
        if self.library is None:
            folder = self.desk.data_folder / OWN_LIBRARY
            try:
                self.library = Library.open(folder)
            except InputError:
                self.library = Library.create(folder, OWN_LIBRARY)
            self.version += 1
        return self.library

    def open_case(self, case_id: str) -> CaseInScene:
        """Open a case of the library instead of the one in hand, which is saved before if there is something to save.

        Raises :class:`InputError` where one or the other cannot be; the case in hand is still open then.
        """
        library, before = self.need_library(), self.case
        if before is not None and before.settle() and before.session.unsaved:
            before.save()
        opened = self.desk.open(library.case(case_id))
        if before is not None and before is not opened:
            before.close()
        self._take_up(opened)
        return opened

    def open_next(self, order: Order = "doubt") -> CaseInScene | None:
        """Save the case in hand and open the one that comes next, the reason is told; ``None`` where nothing is left."""
        if self.case is None:
            following = self.need_library().next_case(order)
            if following is None:
                self.tell(f"{self.need_library().name}: nothing is left to decide.")
                return None
            opened = self.open_case(following.id)
            self.tell(f"{opened.session.case.name}: {following.reason}.")
            return opened
        opened_next = self.desk.open_next(self.case, order)
        if opened_next is not None:
            self._take_up(opened_next)
        return opened_next

    def annotate_blind(self, model: str) -> CaseInScene | None:
        """Save the case in hand and open one to compare models on; see :func:`~.annotate_blind.annotate_blind`."""
        return annotate_blind(self, model)

    def take_volume(self, volume: Node | None) -> CaseInScene | None:
        """Have the case of a volume in hand: the one that is open, or one that the library has; else ``None``.

        Nothing is made: a person who only looks at an image leaves no trace. Raises :class:`InputError` where a case
        that there is cannot be opened.
        """
        if any(saved.volume is volume for saved in self._brought_along()):
            self.reopen()  # else its nodes in the scene would be nobody's
        found = next((case for case in self.desk.cases if case.image.volume is volume), None)
        if found is None and volume is not None and self.library is not None:
            try:
                known = find_case(self.library, volume)
            except InputError:
                known = None  # told when somebody wants to do something with it
            found = None if known is None else self.desk.open(known, volume)
        self._take_up(found)
        return found

    def need_case(self, volume: Node | None, name: str = "image", files: Sequence[Path] = ()) -> CaseInScene:
        """The case of a volume, made in the library where there is none; see :meth:`Desk.open_volume`.

        Raises :class:`InputError` where there is no image, or no case can be made of it.
        """
        if volume is None:
            raise InputError("expected an image, got none. Load one and choose it above.")
        case = self.take_volume(volume) or self.desk.open_volume(volume, self.need_library(), name, files)
        self._take_up(case)
        return case

    def reopen(self) -> None:
        """Go on with the cases that a saved scene brought along."""
        if not self._brought_along():
            return
        opened = self.desk.reopen(self.need_library())
        if opened and self.case is None:
            self._take_up(opened[0])
        for case in opened:
            case.set_in_sight(case is self.case)

    def _brought_along(self) -> list[SavedCase]:
        """Cases that a saved scene has and nobody opened yet."""
        open_now = [case.anchor for case in self.desk.cases]
        return [saved for saved in saved_cases(self._scene) if saved.anchor not in open_now]

    # The case in hand.

    def do(self, command: Callable[Concatenate[Session, P], Any], *arguments: P.args, **named: P.kwargs) -> bool:
        """Do one command of the session, ``do(Session.accept, "carina")``; where it cannot be done the person is told why."""
        if self.case is None or not self.case.settle():
            self.tell("expected an open case, got none. Choose an image, or a case of the library.")
            return False
        return attempt(self.tell, command, self.case.session, *arguments, **named)

    def undo(self) -> None:
        """Take back the last thing that was done to the case."""
        if self.case is not None:
            self.case.undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self.case is not None:
            self.case.redo()

    def save(self, why: str = "") -> bool:
        """Write the next revision of the case; what came of it is told. False where nothing could be written."""
        if self.case is None or not self.case.settle():
            return False
        try:
            self.tell(self.case.save(why).message + ".")
        except InputError as error:
            self.tell(str(error))
            return False
        return True

    # Predicting.

    def predict(self, model: str, view: View | None = None, device: str = "auto") -> None:
        """Ask for a prediction of the case in hand. Raises :class:`InputError`, in one line, where that cannot be."""
        if self.case is None or not self.case.settle():
            raise InputError("expected an image to predict, got none. Load one and choose it above.")
        self.predicting.ask(self.case, model, view, device)
        self.version += 1

    def fitting_instead(self, model: str) -> tuple[str, str]:
        """The model that knows the body part which the file of the case in hand states, where ``model`` does not, and that part.

        Both are empty where there is none.
        """
        described = chosen_model(model).description
        if self.session is None or described is None:
            return "", ""
        part = self.session.case.body_part.upper()
        instead = fitting_instead(described, part, self.session.state.geometry.size[2])
        return (instead, part) if instead else ("", "")

    def ask_why(self, model: str, device: str = "auto") -> None:
        """Ask what spoke for the chosen landmark; where that is asked or shown, no more of it.

        ``model`` and ``device`` as :meth:`predict` takes them. Raises :class:`InputError`, in one line, where nothing can be
        told.
        """
        self._look()  # a question about another landmark than the one chosen now is over, whether noticed yet or not
        self.version += 1
        if self.why.is_on:
            self.why.end()
            return
        if self.case is None or not self.case.settle():
            raise InputError("expected an open case, got none. Choose an image, or a case of the library.")
        self.why.ask(self.case, model, device)

    def restart_worker(self) -> None:
        """End the worker; the next prediction starts it anew, with packages that were installed meanwhile."""
        if self.why.is_under_way:
            self.why.end()
        self.predicting.restart()
        self.version += 1

    def retrain(self, model: str, device: str = "auto") -> None:
        """Save the case in hand, and start a process that learns from the library. Raises :class:`InputError`."""
        if self.case is not None and self.case.settle() and self.case.session.unsaved:
            self.case.save()
        self.retraining.start(self.need_library(), model, device)
        self.version += 1

    def close(self) -> None:
        """Close the cases and end the worker; what is unsaved can be recovered, and a retraining goes on."""
        self.desk.close()
        self.restart_worker()
        self._take_up(None)

    # Keeping up.

    def _saved(self) -> object:
        """Another value whenever the case in hand was saved, or is another one."""
        return None if self.session is None else (self.session.case.id, self.session.revision)

    def _take_up(self, case: CaseInScene | None) -> None:
        if case is not self.case:
            if self.case is not None:
                self.case.set_in_sight(False)
            if case is not None:
                case.set_in_sight(True)
            self.case, self._seen = case, None
            self.version += 1
        self._look()

    def _look(self) -> None:
        """Notice what changed: a case that was closed from elsewhere, a new session, a new prediction."""
        if self.case is not None and not self.case.is_open:
            self.case = None
            self.version += 1
        if self.why.end_where_it_is_over(self.case):
            self.version += 1
        session = self.session
        if session is not self._watched:
            self._watched = session
            if session is not None:
                session.watch(self._on_state)
            self._draw_up(self.state)
            self.version += 1

    def _on_state(self, state: CaseState) -> None:
        if state is not self.state:
            return  # of a session that was left
        prediction = None if state.answer is None else state.answer.prediction
        if _what_was_said(prediction) is not self._seen:
            self._draw_up(state)
        else:
            self.worklist = self.worklist.updated(state)
        self.version += 1

    def _draw_up(self, state: CaseState | None) -> None:
        answer = None if state is None else state.answer
        self._seen = _what_was_said(None if answer is None else answer.prediction)
        self.worklist = Worklist(()) if state is None else Worklist.of(state)


def _what_was_said(prediction: Any) -> object:
    """What stays the same object while a prediction is corrected, also its spacing: undoing a prediction brings the old back."""
    return None if prediction is None else prediction.masks
