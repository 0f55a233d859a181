"""A person at work on one case: every use case once, for all front ends.

Each command is an edit: it is in the journal before it returns, and it can be taken back. Commands raise
:class:`~DenseLandmarksLib.errors.InputError`, one line, when they cannot be done; nothing has happened then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.edits import Edit, Index
from DenseLandmarksLib.annotation.fold_over import refuse_fold_over
from DenseLandmarksLib.annotation.history import History
from DenseLandmarksLib.annotation.imports.import_edit import import_edit
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.annotation.journal import Journal, JournalContents, JournalHeader
from DenseLandmarksLib.annotation.library.case import LibraryCase, Saved
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.recovery import abandoned_work, discard, state_token
from DenseLandmarksLib.annotation.sight import Sight
from DenseLandmarksLib.annotation.why_here import known_evidence
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import user_data_folder
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.evidence import Evidence
from DenseLandmarksLib.models.look_up import Definition, Found, define, find

JOURNALS = "journals"


class Session:
    """One case that is open.

    Attributes
    ----------
    case : where it is kept.
    who : the person, as revisions name them.
    recoverable : earlier work on this case that no revision holds and no window has open; see :meth:`recover`.
    """

    def __init__(
        self, case: LibraryCase, who: str, revision: int | None = None, data_folder: Path | None = None
    ) -> None:
        """Open a case at its newest revision, or at another. ``data_folder`` is the user's unless given."""
        self.case, self.who = case, who
        base, info = case.load(revision)
        self.revision = 0 if info is None else info.number
        self._journals = (data_folder or user_data_folder()) / JOURNALS / case.id
        self._journal: Journal | None = None
        self._states, self._history = [base], History()
        self._sight = Sight(base, case, who)
        self._watchers: list[Callable[[CaseState], None]] = [self._sight.look]
        self.recoverable = abandoned_work(self._journals, case)

    # What there is.

    @property
    def state(self) -> CaseState:
        """The case as it is now."""
        return self._states[self._history.index]

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return self._history.index > 0

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return self._history.index < len(self._history.edits)

    @property
    def unsaved(self) -> bool:
        """Whether the case is other than its newest revision of this session."""
        return self._history.unsaved

    def watch(self, watcher: Callable[[CaseState], None]) -> None:
        """Have ``watcher`` called with every new state."""
        self._watchers.append(watcher)

    def preview(self, points_lps_mm: Mapping[str, ArrayLike]) -> CaseState:
        """The case as it would be after a move, for a point that is still being dragged; nothing happens."""
        return apply_edit(self.state, edits.Move(self._positions(points_lps_mm)))

    # Landmarks. Positions are LPS mm (3,) under the geometry in force.

    def move(self, points_lps_mm: Mapping[str, ArrayLike]) -> None:
        """Landmarks were dragged; their neighbours that nobody reviewed come along."""
        self._do(edits.Move(self._positions(points_lps_mm)))

    def accept(self, *names: str) -> None:
        """These are right as they are."""
        self._do(edits.Accept(names))

    def accept_structure(self, structure: str) -> None:
        """A structure's mask, and all of its landmarks that nobody reviewed, are right."""
        self._do(
            edits.Accept(self.state.open_names(structure), (structure,) if structure in self.state.structures else ())
        )

    def accept_remaining(self) -> None:
        """Everything that nobody reviewed is right."""
        masks = tuple(name for name in self.state.structures if self.state.structure_review(name) is Review.PREDICTED)
        self._do(edits.Accept(self.state.open_names(), masks))

    def mark_absent(self, *names: str) -> None:
        """These are not in the image."""
        self._do(edits.Absent(names))

    def mark_unsure(self, *names: str) -> None:
        """Nobody can tell where these are; training will not learn from them."""
        self._do(edits.Unsure(names))

    def place(self, name: str, point_lps_mm: ArrayLike, structure: str = "") -> None:
        """A landmark that is absent, unplaced, or new and on no template, is here."""
        self._do(edits.Place(name, structure, self._index(point_lps_mm)))

    def reset(self, *names: str) -> None:
        """These are again what the model said."""
        self._do(edits.Reset(names))

    def set_strength(self, strength: float) -> None:
        """How far corrections take their neighbours along, 0 to 1."""
        self._do(edits.SetStrength(strength))

    def import_landmarks(self, imported: ImportedLandmarks) -> None:
        """Take over what a file says; landmarks of which it does not say who decided count as decided by a person."""
        self._do(import_edit(self.state, imported))

    # New landmarks.

    def define_landmark(
        self,
        name: str,
        point_lps_mm: ArrayLike,
        structure: str | None = None,
        description: str = "",
        code: tuple[str, str, str] | None = None,
    ) -> Definition:
        """A point in this image becomes a landmark that every image with this template has; says how it was read.

        With the next save it joins the library's template extension.
        """
        answer, state = self._answer(), self.state
        if name in (landmark.name for landmark in self._library.new_landmarks()):
            raise InputError(
                f"expected a name that is new in the library, got {name!r}. Look it up, or choose another."
            )
        found = define(answer.prediction, state.geometry, answer.template, point_lps_mm, structure, state.landmarks)
        key = "" if answer.template is None else answer.template.structure(found.structure).key
        landmark = NewLandmark(name, found.structure, found.uv, description, code, key)
        self._do(edits.Define(landmark, self._index(point_lps_mm)))
        return found

    def look_up(self, *landmarks: NewLandmark) -> None:
        """Find landmarks here that were defined in other cases."""
        self._do(edits.LookUp(landmarks))

    def found(self, *landmarks: NewLandmark) -> Found:
        """Where new landmarks lie in this case with its corrections, by which method, and with which expected error."""
        answer = self._answer()
        return find(answer.prediction, self.state.geometry, answer.template, landmarks, self.state.landmarks)

    def why_here(self, landmark: str) -> Evidence | None:
        """What spoke for a landmark, see :func:`known_evidence`; ``None`` where the model has to be asked. It is no edit."""
        return known_evidence(self.state, landmark)

    def landmarks_of_library(self) -> tuple[NewLandmark, ...]:
        """Landmarks of the library's template extension that this case does not have yet."""
        here = self.state.landmarks.names
        return tuple(landmark for landmark in self._library.new_landmarks() if landmark.name not in here)

    # Image, masks, model.

    def correct_spacing(self, spacing_mm: tuple[float, float, float]) -> None:
        """The voxels lie at another distance; image, masks, points and uv change together, each point on its pixel."""
        self._do(edits.CorrectSpacing(spacing_mm, SpacingSource.GIVEN))

    def paint(self, structure: str, mask: NDArray[np.bool_]) -> None:
        """A person painted a structure, (Z, Y, X) on the image's voxels: it is corrected."""
        self._do(edits.Paint(structure, mask))

    def unpaint(self, *structures: str) -> None:
        """The masks of these structures are again those of the model."""
        self._do(edits.Unpaint(structures))

    def take(self, answer: ModelAnswer, geometry: ImageGeometry) -> None:
        """What a model says about the image as it lay under ``geometry``; what people decided stays."""
        self._do(edits.TakePrediction(answer, geometry))

    def restore(self, state: CaseState) -> None:
        """The case is again as it was in a revision (``case.load(3)[0]``), or in a scene that was saved."""
        self._do(edits.Restore(state))

    def start_blind(self, landmarks: Sequence[tuple[str, str]]) -> None:
        """Begin to decide this case without a model's help: nothing predicted, these (name, structure) to be placed."""
        self._do(edits.StartBlind(tuple((name, structure) for name, structure in landmarks)))

    # Taking back, keeping.

    def undo(self) -> None:
        """Take the last edit back; nothing happens without one."""
        if self.can_undo:
            self._go_to(self._history.index - 1)

    def redo(self) -> None:
        """Do again what was taken back last; nothing happens without it."""
        if self.can_redo:
            self._go_to(self._history.index + 1)

    def save(self, why: str = "") -> Saved:
        """Write the next revision of the case; tells what others saved in the meantime, which stands too."""
        journal = self._writing()
        saved = self.case.save(self.state, self.who, self.revision, why, state_token(journal.folder, journal.size))
        self._history, self.revision = self._history.saved(), saved.number
        journal.record_saved(saved.number)
        return replace(saved, conflicts=self._library.extend(self.state.new_landmarks, self.who))

    def close(self) -> None:
        """Let the case go; what is in no revision can be recovered later."""
        if self._journal is not None:
            if self.unsaved:
                self._journal.close()
            else:
                self._journal.remove()
            self._journal = None

    def recover(self, work: JournalContents) -> None:
        """Go on where an earlier session of this case ended, with all that it could undo and redo."""
        if self._history.edits:
            raise InputError("expected to recover before anything else is done, got a case with edits. Open it again.")
        base, _ = self.case.load(work.header.base_revision)
        states = self._sight.replay(base, work.history.edits)
        self._journal = Journal.go_on(work)
        self._states, self._history, self.revision = states, work.history, work.saved_revision
        self.recoverable = tuple(other for other in self.recoverable if other is not work)
        self._tell()

    def discard(self, work: JournalContents) -> None:
        """Never offer earlier work again."""
        discard(work)
        self.recoverable = tuple(other for other in self.recoverable if other is not work)

    def _do(self, edit: Edit) -> None:
        before = self.state
        edit, after = self._sight.apply(before, edit, self.who)
        if after is before:
            return
        if isinstance(edit, edits.Move | edits.Place):
            refuse_fold_over(before, after)
        self._writing().record_edit(edit, self._history.index)
        self._history = self._history.after(edit)
        self._states[self._history.index :] = [after]
        self._tell()

    def _go_to(self, index: int) -> None:
        history = self._history.at(index)
        self._writing().record_index(index)
        self._history = history
        self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher(self.state)

    def _writing(self) -> Journal:
        """The journal of this session; begun with the first thing that is done."""
        if self._journal is None:
            when = datetime.now(UTC).isoformat(timespec="seconds")
            header = JournalHeader(self.case.library_id, self.case.id, self.revision, self.who, when)
            self._journal = Journal.start(self._journals, header)
        return self._journal

    @property
    def _library(self) -> Library:
        return Library.open(self.case.library_folder)

    def _answer(self) -> ModelAnswer:
        if self.state.answer is None:
            raise InputError("expected a predicted case to look landmarks up in, got one without. Run a model first.")
        return self.state.answer

    def _index(self, point_lps_mm: ArrayLike) -> Index:
        i, j, k = index_from_lps_mm(self.state.geometry, np.asarray(point_lps_mm, np.float64).reshape(1, 3))[0]
        return float(i), float(j), float(k)

    def _positions(self, points_lps_mm: Mapping[str, ArrayLike]) -> tuple[tuple[str, Index], ...]:
        return tuple((name, self._index(point)) for name, point in points_lps_mm.items())
