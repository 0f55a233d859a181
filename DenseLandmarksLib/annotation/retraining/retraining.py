"""A retraining: a process that learns from a library, and outlives the window that started it.

A front end starts one, finds it again, and reads from its folder how it goes::

    <user's data folder>/retraining/<model>/<UTC time>/    request.json, log.txt: ours; the rest is its process's

Nothing here imports torch. The process is ``python -m training finetune``.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from DenseLandmarksLib.annotation.library.json_file import read_json
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.annotation.retraining.comparison import Comparison, read_comparison
from DenseLandmarksLib.annotation.retraining.curves import Curves, curves_changed, read_curves
from DenseLandmarksLib.annotation.retraining.process import start_detached
from DenseLandmarksLib.annotation.retraining.run_status import CANCEL, LOG, STATE, Phase, RunStatus, read_status
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import read_metadata
from DenseLandmarksLib.worker.launch import Launch

RUNS, REQUEST, RUN, REPORT, BUNDLE = "retraining", "request.json", "run.json", "report.md", "bundle"
FORMAT = 1
# From the start of a process until it holds its lock: it imports torch meanwhile, on some disks for long.
STARTS_WITHIN_S = 120.0


@dataclass
class Retraining:
    """One retraining, under way or over.

    Attributes
    ----------
    folder : of the run.
    model : that it was started with, a name or a bundle's folder.
    library_id : that it learns from.
    when : it was started, ISO 8601.
    """

    folder: Path
    model: str
    library_id: str
    when: str
    _arguments: tuple[str, ...]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    # By the clock of the disk's files: when somebody else may have started the process last.
    _asked_at_s: float = 0.0

    @classmethod
    def start(
        cls,
        launch: Launch,
        model: str,
        library: Library,
        folder: Path,
        data_folder: Path,
        replay: Path | None = None,
        steps: int | None = None,
        device: str = "auto",
    ) -> Retraining:
        """Start one in a new ``folder``; see :func:`new_run_folder`.

        Parameters
        ----------
        launch : starts the training half, see :meth:`Launch.with_interpreter`.
        data_folder : of the user, into which the new version goes.
        replay : the data folder of the cases that the model was trained on, where it is at hand.
        steps : of training; as many as the recipe says for ``None``.

        Raises :class:`InputError`, in one line, where nothing can be written or started.
        """
        arguments = ["finetune", "--model", model, "--library", str(library.folder.resolve()), "--output", str(folder)]
        arguments += ["--device", device, "--low-priority", "--data-folder", str(data_folder)]
        arguments += [] if replay is None else ["--replay", str(replay)]
        arguments += [] if steps is None else ["--steps", str(steps)]
        when = datetime.now(UTC).isoformat(timespec="microseconds")
        with telling_disk_errors(folder):
            folder.mkdir(parents=True)
            request = {
                "format": FORMAT,
                "when": when,
                "model": model,
                "library": {"id": library.id, "name": library.name, "folder": str(library.folder.resolve())},
                "arguments": arguments,
            }
            write_json(folder / REQUEST, request)
        run = cls(folder, model, library.id, when, tuple(arguments))
        try:
            run._start(launch, ())
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return run

    @classmethod
    def read(cls, folder: Path) -> Retraining | None:
        """The run in a folder; ``None`` where there is none, or nothing can be told of it."""
        try:
            raw = read_json(folder / REQUEST, "a request to retrain", "Retrain again.")
            asked_at_s = (folder / REQUEST).stat().st_mtime
            arguments = [str(one) for one in raw["arguments"]]
            return cls(
                folder,
                str(raw["model"]),
                str(raw["library"]["id"]),
                str(raw["when"]),
                tuple(arguments),
                None,
                asked_at_s,
            )
        except (InputError, OSError, KeyError, TypeError):
            return None

    @classmethod
    def find(cls, library_id: str, data_folder: Path) -> Retraining | None:
        """The newest run that learns from a library; ``None`` where there is none."""
        runs = [run for folder in run_folders(data_folder) if (run := cls.read(folder)) is not None]
        return max((run for run in runs if run.library_id == library_id), key=lambda run: run.when, default=None)

    # How it goes.

    @property
    def status(self) -> RunStatus:
        """How it goes; two small files are read."""
        return read_status(self.folder, self._is_starting(), self._is_alive())

    @property
    def curves(self) -> Curves:
        """Loss and error so far."""
        return read_curves(self.folder)

    @property
    def curves_changed(self) -> object:
        """Another value whenever there is more to see in the curves."""
        return curves_changed(self.folder)

    @property
    def comparison(self) -> Comparison | None:
        """What the new version is against the old one, once they were compared."""
        return read_comparison(self.folder)

    @property
    def report(self) -> str:
        """The report of the run, Markdown; empty before there is one."""
        try:
            return (self.folder / REPORT).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def new_version(self) -> tuple[str, str] | None:
        """Name of the model that came of it, and the :attr:`~DenseLandmarksLib.models.descent.Descent.run` of its version.

        ``None`` before it is done. Its bundle's number alone does not tell: until it is listed, another run may take it.
        """
        run = self._said("id")
        if not run or self.status.phase is not Phase.DONE:
            return None
        try:
            return str(read_metadata(self.folder / BUNDLE)["name"]), run
        except (InputError, KeyError):
            return None

    @property
    def parent_version(self) -> str:
        """The version that it began with, empty where that is not known yet."""
        # "chest-xray 1.1.0", as descent says it, or the version alone.
        return (self._said("parent").split() or [""])[-1]

    def _said(self, key: str) -> str:
        """What its process wrote of itself when it began; empty where it has not."""
        try:
            said = read_json(self.folder / RUN, "a retraining", "Retrain again.").get(key)
        except InputError:
            return ""
        return said if isinstance(said, str) else ""

    # What is done with it.

    def cancel(self) -> None:
        """Have it end at its next step, with a checkpoint from which it goes on; raises :class:`InputError`."""
        with telling_disk_errors(self.folder):
            (self.folder / CANCEL).touch()

    def go_on(self, launch: Launch) -> None:
        """Start its process again from its last checkpoint; raises :class:`InputError` where that cannot be."""
        status = self.status
        if not status.phase.can_go_on:
            raise InputError(
                f"expected a retraining that ended before it was done, got one that is {status.phase}. Retrain anew."
            )
        with telling_disk_errors(self.folder):
            (self.folder / CANCEL).unlink(missing_ok=True)
            # Younger than the state again: another window sees by that that it starts.
            (self.folder / REQUEST).touch()
        self._start(launch, ("--resume",))

    def _start(self, launch: Launch, more: Sequence[str]) -> None:
        try:
            self._process = start_detached(launch, (*self._arguments, *more), self.folder / LOG)
        except OSError as error:
            raise InputError(
                f"expected to start {launch.command[0]}, got '{error.strerror or error}'. Check that it is installed."
            ) from error
        self._asked_at_s = time.time()

    def _is_starting(self) -> bool:
        """Whether its process is there and cannot be seen at its lock yet, as far as can be told."""
        is_there = self._is_alive() if self._process is not None else time.time() - self._asked_at_s < STARTS_WITHIN_S
        return is_there and not self._has_begun()

    def _is_alive(self) -> bool:
        """Whether this window started its process, and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def _has_begun(self) -> bool:
        """Whether its process wrote how it goes since it was started last."""
        try:
            return (self.folder / STATE).stat().st_mtime >= self._asked_at_s
        except OSError:
            return False


def new_run_folder(model: str, data_folder: Path) -> Path:
    """Where the next run of a model goes; it is not made. ``model`` is a name or a bundle's folder."""
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    parent = data_folder / RUNS / Path(model).name
    taken = {path.name for path in parent.glob(f"{when}*")}
    return parent / next(name for name in (when, *(f"{when}-{n}" for n in range(2, 99))) if name not in taken)


def run_folders(data_folder: Path) -> tuple[Path, ...]:
    """The folders of all runs of a user, whatever is in them."""
    try:
        return tuple(sorted(path.parent for path in (data_folder / RUNS).glob(f"*/*/{REQUEST}")))
    except OSError:
        return ()
