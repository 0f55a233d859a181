"""A simulated annotator, who works through real sessions and whose hand is not exact."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import Worklist, open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.polygon import contour_tangents
from training.data import Case, Dataset
from training.propagation import NOISE_ACROSS_MM, NOISE_ALONG_MM

FloatArray = NDArray[np.float64]
PointOrder = Literal["doubt", "random", "worst"]

# An error that a person sees; what lies closer is accepted as it is.
SEEN_FROM_MM = 3.0


def slips_lps_mm(dataset: Dataset, case: Case, names: tuple[str, ...], axes_lps: FloatArray) -> FloatArray:
    """Where an annotator puts each landmark (N, 3), relative to the truth; every contour is closed.

    Off by 1 mm across and 2 mm along the true contour (standard deviations), the same whenever this case is asked for.
    """
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    truth = case.points_px * np.array(case.spacing_mm)
    slips = np.zeros((len(dataset.landmark_names), 2))
    for structure in dataset.structures:
        rows = dataset.landmarks_of(structure)
        along = contour_tangents(truth[rows])
        across = along[:, ::-1] * np.array([1, -1])
        slips[rows] = rng.normal(0, NOISE_ALONG_MM, (len(rows), 1)) * along
        slips[rows] += rng.normal(0, NOISE_ACROSS_MM, (len(rows), 1)) * across
    return np.asarray(slips[[dataset.landmark_names.index(name) for name in names]] @ axes_lps[:, :2].T)


def review_case(
    session: Session, truth_lps_mm: FloatArray, slips: FloatArray, order: PointOrder, rng: np.random.Generator
) -> int:
    """Look at every landmark (N, 3) of a case once, move those that are seen to be wrong, accept the others; the drags.

    One that the model calls absent is put where it is, which is a drag too. ``order`` is the model's ``"doubt"``,
    ``"random"``, or the ``"worst"`` first, which only an oracle knows.
    """
    names = session.state.landmarks.names
    row_of = {name: row for row, name in enumerate(names)}
    drags = 0
    listed = list(Worklist.of(session.state).names)
    if order == "random":
        listed = rng.permutation(names).tolist()
    left = set(open_landmarks(session.state))
    while left:
        # Only those that nobody decided move along with others.
        errors = np.linalg.norm(session.state.landmarks.points_lps_mm - truth_lps_mm, axis=1)
        errors = np.nan_to_num(errors, nan=np.inf)  # nowhere is far off
        if order == "worst":
            name = max(left, key=lambda one: errors[row_of[one]])
        else:
            name = next(one for one in listed if one in left)
        left.discard(name)
        row = row_of[name]
        is_seen = session.state.landmarks.presence[row] is Presence.PRESENT
        if is_seen and errors[row] <= SEEN_FROM_MM:
            session.accept(name)
            continue
        where = truth_lps_mm[row] + slips[row]
        try:
            if is_seen:
                session.move({name: where})
            else:  # the model calls it absent, and a person finds it after all
                session.place(name, where)
            drags += 1
        except InputError:  # it would turn the structure over: a person comes back to it, or leaves it
            session.mark_unsure(name)
    return drags
