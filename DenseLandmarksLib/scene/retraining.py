"""The retraining of the library in use: what a front end shows of it, read at its own pace, and what it can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining.comparison import Comparison
from DenseLandmarksLib.annotation.retraining.curves import Curves
from DenseLandmarksLib.annotation.retraining.lessons import LessonCount, Lessons
from DenseLandmarksLib.annotation.retraining.original_cases import (
    are_original_cases,
    forget,
    remember,
    remembered,
    to_replay,
)
from DenseLandmarksLib.annotation.retraining.retraining import Retraining, new_run_folder, run_folders
from DenseLandmarksLib.annotation.retraining.run_status import RunStatus
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.descent import descent_of, lineage
from DenseLandmarksLib.models.manage_versions import set_active
from DenseLandmarksLib.models.versions import ModelVersion, active_bundle, list_versions
from DenseLandmarksLib.worker.launch import TRAINING, Launch

# Two small files are looked at each time.
LOOK_EVERY_S = 1.0


def own_training() -> Launch:
    """The training half under the interpreter of this process."""
    return Launch.with_interpreter(module=TRAINING)


class LibraryRetraining:
    """A front end polls it from its own timer.

    Attributes
    ----------
    run : the newest of the library, under way or over; ``None`` without any.
    status, curves, comparison : of ``run``, as they were when it was looked at last.
    parent_version : that ``run`` began with; empty where that is not known yet.
    lessons : how much there is to learn from; ``None`` while that is not known.
    is_in_sight : whether a front end shows this; unless it does, cases are not read to count lessons.
    steps : how many a retraining takes that is started from now on; as many as its recipe says for ``None``.
    """

    def __init__(self, launch: Callable[[], Launch], data_folder: Path) -> None:
        """``launch`` is called when a process is to be started; it may raise :class:`InputError`."""
        self.run: Retraining | None = None
        self.status: RunStatus | None = None
        self.curves = Curves()
        self.comparison: Comparison | None = None
        self.parent_version = ""
        self.lessons: Lessons | None = None
        self.is_in_sight = False
        self.steps: int | None = None
        self._launch, self._data_folder = launch, data_folder
        self._library: Library | None = None
        self._count: LessonCount | None = None
        self._counted: LessonCount | None = None
        self._saved: object = None
        self._folders: tuple[Path, ...] | None = None
        self._curves_read: object = None
        self._made: tuple[str, str] | None = None
        self._look_at_s = 0.0
        self._versions: tuple[object, tuple[ModelVersion, ...]] | None = None
        self._original: tuple[str, Path | None, bool] | None = None

    # What there is to show.

    @property
    def is_under_way(self) -> bool:
        """Whether a process is at it."""
        return self.status is not None and self.status.phase.is_under_way

    @property
    def can_go_on(self) -> bool:
        """Whether it ended before it was done."""
        return self.status is not None and self.status.phase.can_go_on

    @property
    def line(self) -> str:
        """How it goes, for a person; empty without any."""
        if self.status is None:
            return ""
        if self.status.is_cancelling:
            return "cancelling: it ends after this step and keeps what it learnt"
        minutes = self.status.minutes_left
        left = "" if minutes is None else f" · about {max(1, round(minutes))} min left"
        return f"{self.status.line or self.status.phase}{left}"

    def new_version(self) -> ModelVersion | None:
        """The version that came of the run, where it is among those on this computer."""
        if self._made is None:
            return None
        name, run = self._made
        return next((one for one in self._list(name) if _run_of(one) == run), None)

    def version_before(self, model: str) -> ModelVersion | None:
        """What the active version of a model was made from, where that is on this computer still; else ``None``."""
        versions = self._list(model)
        active = next((one.version for one in versions if one.active), "")
        line = lineage(active, versions)
        return line[1] if len(line) > 1 and not line[1].problem else None

    def original_cases(self, model: str) -> tuple[Path | None, bool]:
        """Where the cases are that a model was trained on, ``None`` where nobody said; and whether they are there still."""
        if self._original is None or self._original[0] != model:
            folder = remembered(self._name_of(model), self._data_folder)
            self._original = model, folder, folder is not None and are_original_cases(folder)
        return self._original[1:]

    # What is done.

    def choose_original_cases(self, model: str, folder: Path) -> None:
        """Replay the cases of a data folder or packed file whenever this model is retrained, until somebody forgets it.

        Raises :class:`InputError` for a model that cannot be used, and for what holds no cases.
        """
        if problem := chosen_model(model, self._data_folder).problem:
            raise InputError(problem)
        remember(self._name_of(model), folder, self._data_folder)
        self._original = None

    def forget_original_cases(self, model: str) -> None:
        """Retrain this model without its original cases; raises :class:`InputError` where that cannot be noted."""
        forget(self._name_of(model), self._data_folder)
        self._original = None

    def start(self, library: Library, model: str, device: str = "auto") -> None:
        """Start a process that learns from what is saved in the library, and replays the model's original cases.

        Raises :class:`InputError` where that cannot be, as where these are not there any more.
        """
        self._belong_to(library)
        self._find(library)
        if self.is_under_way:
            raise InputError("expected one retraining of a library at a time, got another. Wait for it, or cancel it.")
        self._original = None  # where they are gone, that is shown from now on, too
        replay = to_replay(self._name_of(model), self._data_folder)
        folder = new_run_folder(model, self._data_folder)
        run = Retraining.start(
            self._launch(), model, library, folder, self._data_folder, replay, steps=self.steps, device=device
        )
        self._take(run)

    def cancel(self) -> None:
        """Have it end soon, with what it learnt so far; raises :class:`InputError`."""
        if self.run is not None and self.is_under_way:
            self.run.cancel()
            self._look()

    def go_on(self) -> None:
        """Go on where it ended; raises :class:`InputError` where that cannot be."""
        if self.run is not None:
            self.run.go_on(self._launch())
            self._look()

    def make_active(self) -> str:
        """Let the model's name stand for the version that came of the run; what was done, in one line."""
        version = self.new_version()
        if version is None:
            raise InputError("expected a version that a retraining made, got none. Retrain first.")
        return self._use(version)

    def roll_back(self, model: str) -> str:
        """Let a model's name stand for what its active version was made from; what was done, in one line."""
        version = self.version_before(model)
        if version is None:
            raise InputError(
                f"expected a version of {model} before the one in use, got none. Choose one in the section Model."
            )
        return self._use(version)

    def look_again(self) -> None:
        """Somebody may have started, saved or said something elsewhere."""
        self._folders, self._saved, self._original, self._look_at_s = None, None, None, 0.0

    def poll(self, library: Library | None, saved: object) -> tuple[bool, str]:
        """Look how it goes, once a second; whether there is something new to show, and a line where it ended just now.

        ``saved`` is another value whenever this person saved something in the library.
        """
        if library is None:
            return False, ""
        changed = self._belong_to(library)
        if time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + LOOK_EVERY_S
            was_under_way = self.is_under_way
            changed = (self._find(library) or self._look()) or changed
            if was_under_way and not self.is_under_way:
                return True, f"Retraining: {self.line}"
        return self._count_on(library, saved) or changed, ""

    # Keeping up.

    def _belong_to(self, library: Library) -> bool:
        """Whether it was about another library until now, or about none."""
        if self._library is not None and self._library.id == library.id:
            return False
        self._library, self._count, self._counted, self.lessons = library, None, None, None
        self._take(None)
        self.look_again()
        return True

    def _find(self, library: Library) -> bool:
        """Whether there is another run now than the one that is shown."""
        folders = () if self.is_under_way else run_folders(self._data_folder)
        if self.is_under_way or folders == self._folders:
            return False
        self._folders = folders
        newest = Retraining.find(library.id, self._data_folder)
        if newest is None or (self.run is not None and newest.folder == self.run.folder):
            return False
        self._take(newest)
        return True

    def _take(self, run: Retraining | None) -> None:
        self.run, self.status, self.curves, self.comparison = run, None, Curves(), None
        self.parent_version, self._made, self._curves_read = "", None, None
        self._look()

    def _look(self) -> bool:
        """Read how the run goes; whether that is new."""
        if self.run is None:
            return False
        before = self.status, self._curves_read
        self.status = self.run.status
        written = self.run.curves_changed
        if written != self._curves_read:
            self._curves_read, self.curves = written, self.run.curves
        if before == (self.status, self._curves_read):
            return False
        self.comparison, self.parent_version = self.run.comparison, self.run.parent_version
        self._made = None if self.is_under_way else self.run.new_version
        return True

    def _count_on(self, library: Library, saved: object) -> bool:
        """Read one more case; whether all are counted now."""
        if not self.is_in_sight:
            return False
        if self._count is None and (self._counted is None or saved != self._saved):
            self._saved = saved
            try:
                self._count = LessonCount(library, self._counted)
            except OSError:  # the list of cases says that it cannot be read
                return False
        if self._count is None:
            return False
        self._count.step()
        if not self._count.is_over:
            return False
        self._counted, self._count = self._count, None
        is_new, self.lessons = self.lessons != self._counted.lessons, self._counted.lessons
        return is_new

    def _name_of(self, model: str) -> str:
        """What a model is called, whether it is chosen by its name or its folder."""
        description = chosen_model(model, self._data_folder).description
        return model if description is None else description.name

    def _use(self, version: ModelVersion) -> str:
        set_active(version.name, version.version, self._data_folder)
        self._versions = None
        return f"{version.name} {version.version} predicts from now on."

    def _list(self, model: str) -> tuple[ModelVersion, ...]:
        """The versions of a model, read again when one came, went or became active."""
        try:
            changed_ns = (self._data_folder / "models" / model).stat().st_mtime_ns
        except (OSError, ValueError):  # none is the user's own
            changed_ns = 0
        at = model, active_bundle(model, self._data_folder), changed_ns
        if self._versions is None or self._versions[0] != at:
            self._versions = at, list_versions(model, self._data_folder)
        return self._versions[1]


def _run_of(version: ModelVersion) -> str | None:
    """Id of the retraining that made a version; ``None`` where none did."""
    descent = descent_of(version.metadata)
    return None if descent is None else descent.run
