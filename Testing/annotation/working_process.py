"""A process in which a person works until somebody kills it: after each answer, a line says what is seen."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session

UNDOING = "undoing"


def fingerprint(state: CaseState) -> str:
    """What is seen of a case, to the last bit, in 16 hexadecimal digits."""
    landmarks = state.landmarks
    digest = hashlib.sha256(repr((landmarks.names, landmarks.presence, landmarks.review, state.strength)).encode())
    digest.update(landmarks.points_lps_mm.tobytes())
    digest.update(repr([(name, int(mask.sum())) for name, mask in state.painted.items()]).encode())
    return digest.hexdigest()[:16]


def work(library: Path, case_id: str, data_folder: Path, seed: int) -> None:
    """Open or recover the case and go on until killed."""
    session = Session(Library.open(library).case(case_id), "an annotator", data_folder=data_folder)
    if session.recoverable:
        session.recover(session.recoverable[0])
    rng = np.random.default_rng(seed)
    names = session.state.landmarks.names
    print(fingerprint(session.state), flush=True)
    while True:
        state, some = session.state, [str(name) for name in rng.choice(names, 3, replace=False)]
        match rng.integers(7):
            case 0 | 1:
                rows = state.landmarks.index_of(some[:1])
                session.place(f"clip {rng.integers(10**9)}", state.landmarks.points_lps_mm[rows[0]])
            case 2:
                session.mark_unsure(*some)
            case 3:
                session.set_strength(float(rng.random()))
            case 4:
                mask = np.zeros(state.geometry.size[::-1], bool)
                mask[0, : rng.integers(1, 100), 10:50] = True
                session.paint("heart", mask)
            case 5:
                print(UNDOING, flush=True)
                session.undo()
            case 6:
                session.save()
        print(fingerprint(session.state), flush=True)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
