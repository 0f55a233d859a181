"""``kill -9`` in the middle of anything: reopening offers exactly what had been done."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.annotation.working_process import UNDOING, fingerprint

ROOT = Path(__file__).parents[2]
KILLS = 4


def test_a_killed_session_is_recovered_as_it_was_last_seen(tmp_path: Path, chest_template: Template) -> None:
    image = chest_image(chest_template)
    sitk.WriteImage(image.volume, tmp_path / "film.nrrd")
    case = Library.create(tmp_path / "library", "chests").add(tmp_path / "film.nrrd")
    session = Session(case, "an annotator", data_folder=tmp_path / "user")
    session.take(perfect_answer(chest_template, image), session.state.geometry)
    session.save()  # or the random person may undo the prediction, save that, and have nothing left to work on
    session.close()
    seed = time.time_ns() % 10**6
    when = random.Random(seed)
    seen_in_all = 0
    for kill in range(KILLS):
        arguments = [str(case.library_folder), case.id, str(tmp_path / "user"), str(seed + kill)]
        process = subprocess.Popen(
            [sys.executable, "-m", "Testing.annotation.working_process", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        seen = [process.stdout.readline().strip()]
        time.sleep(when.uniform(0.05, 0.6))
        process.kill()
        seen += process.stdout.read().split()
        process.wait()
        seen_in_all += len(seen)
        undoing = seen[-1] == UNDOING
        seen = [said for said in seen if said != UNDOING]
        again = Session(case, "an annotator", data_folder=tmp_path / "user")
        offered = {fingerprint(again.state)}
        if again.recoverable:
            again.recover(again.recoverable[0])
            offered = {fingerprint(again.state)}
            # The kill may have come between the edit and the word that it was done.
            if again.can_undo:
                again.undo()
                offered.add(fingerprint(again.state))
                again.redo()
            if again.can_redo:
                again.redo()
                offered.add(fingerprint(again.state))
                again.undo()
        # Undone to what was saved last, there is nothing to recover; only the word that it was done is missing.
        assert seen[-1] in offered or (undoing and not again.can_undo and again.revision), (
            f"seed {seed}, kill {kill}: {len(seen)} answers, the last is not offered"
        )
        again.close()
    assert seen_in_all > 10 * KILLS
