"""Somebody who has none of our code finds in our exports what people decided, where they decided it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Accept, CorrectSpacing, Move, Paint, Place, Unsure
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.datalist import teaches
from DenseLandmarksLib.annotation.library.export import export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Presence
from Testing.annotation.library.chests import after

READER = Path(__file__).with_name("foreign_reader.py")


def test_a_foreign_reader_finds_every_decision_where_it_was_made(
    library: Library, case: LibraryCase, state: CaseState, tmp_path: Path
) -> None:
    painted = np.zeros((1, 128, 128), bool)
    painted[0, 60:90, 60:80] = True
    state = after(
        state,
        Move((("right_lung_03", (30.5, 40.25, 0.0)),)),
        Accept(("left_lung_05", "heart_01"), ("right_lung",)),
        Absent(("left_lung_07",)),
        Unsure(("left_lung_09",)),
        Place("by hand", "devices", (10.0, 12.5, 0.0)),
        Paint("heart", painted),
        CorrectSpacing((0.4, 0.6, 1.0)),
    )
    case.save(state, "reader-1", 0)
    for file_format in ("datalist", "csv", "coco"):
        export_library(library, file_format, tmp_path / "out" / file_format)  # type: ignore[arg-type]
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(READER), sysconfig.get_path("purelib"), str(tmp_path / "out")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    landmarks = state.landmarks
    for file_format in ("datalist", "mrk.json", "csv", "coco"):
        assert set(found[file_format]) == set(landmarks.names), file_format
        for i, name in enumerate(landmarks.names):
            presence, review, lps_mm = found[file_format][name]
            assert (presence, review) == (landmarks.presence[i], landmarks.review[i]), (file_format, name)
            if landmarks.presence[i] is Presence.PRESENT:
                np.testing.assert_allclose(lps_mm, landmarks.points_lps_mm[i], rtol=0, atol=1e-4, err_msg=file_format)
            else:
                assert lps_mm is None, (file_format, name)
    decided = zip(landmarks.names, landmarks.presence, landmarks.review, strict=True)
    assert found["teaches"] == [name for name, presence, review in decided if teaches(presence, review)]
    assert list(found["masks"]) == list(state.structures)
    for name, (review, size, centre) in found["masks"].items():
        mask = structure_mask(state, name)
        assert (review, size) == (state.structure_review(name), mask.sum())
        if size:
            np.testing.assert_allclose(centre, np.argwhere(mask)[:, :0:-1].mean(axis=0))
