"""Opening a case in which a person places landmarks before any model says where it takes them to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.library.comparison import landmarks_to_place, next_for_comparison
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.scene.case_in_scene import CaseInScene

if TYPE_CHECKING:
    from DenseLandmarksLib.scene.workbench import Workbench


def annotate_blind(bench: Workbench, model: str) -> CaseInScene | None:
    """Save the case in hand and open one for comparison, with some of the model's landmarks to be placed.

    One that the person began and did not finish goes on. What is to be done is told; ``None`` where the library has no case
    left for it. Raises :class:`InputError`, in one line, where there is no such model and where a case cannot be saved or
    opened.
    """
    description = read_description(find_bundle(model))
    library = bench.need_library()
    if bench.case is not None and bench.case.settle() and bench.case.session.unsaved:
        bench.case.save()  # what was decided in it counts: its patient is none to compare models on
    case_id = next_for_comparison(
        library, description.is_for_radiographs, bench.desk.has_seen, bench.who, description.landmark_names
    )
    if case_id is None:
        bench.tell(
            f"{library.name}: no case is left for comparison. It needs one in which nobody decided anything, of a patient of "
            "whom nobody did, and whose prediction you have not seen; add more images."
        )
        return None
    opened = bench.open_case(case_id)
    session = opened.session
    if session.recoverable and not session.can_undo:
        raise InputError(
            f"expected a case without lost work, got {session.case.name}, which has some. Recover or discard it, and annotate "
            "blind again."
        )
    left, total = left_to_place(session.state), len(session.state.landmarks)
    if not 0 < len(left) < total:  # else it was begun
        session.start_blind(landmarks_to_place(description.landmark_names, description.landmark_structures, case_id))
        left, total = left_to_place(session.state), len(session.state.landmarks)
    which = f"these {total} landmarks" if len(left) == total else f"the {len(left)} of {total} landmarks that are left"
    bench.tell(
        f"{session.case.name}: place {which}, or mark them absent or unsure: no prediction is shown before, and the case "
        "counts when all are decided. What you change after a prediction is no longer compared."
    )
    return opened
