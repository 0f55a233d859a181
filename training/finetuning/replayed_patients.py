"""Which patients of a library a model sees again among its original cases: nobody may be compared on of whom it learns."""

from __future__ import annotations

from typing import NamedTuple

from DenseLandmarksLib.annotation.library.compared_cases import persons_of
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from training.data import read_dataset
from training.finetuning.request import BegunRun
from training.finetuning.task import FinetuneTask
from training.volume_data import read_volume_dataset


class ReplayedPatients(NamedTuple):
    """``case_ids`` of the library, of all patients who are replayed; ``line`` says where that could not be told."""

    case_ids: frozenset[str] = frozenset()
    line: str = ""


def replayed_patients(run: BegunRun, task: FinetuneTask) -> ReplayedPatients:
    """Find the original cases of a run in its library by their pixels, and by the patient where the file names one.

    Without a case for comparison nothing is looked for. Raises :class:`~DenseLandmarksLib.errors.InputError` for an image that
    cannot be read, and :class:`~training.finetuning.run_folder.CancelledError` where somebody asked for it.
    """
    replay, library = run.request.replay, run.library
    if replay is None or not task.run.mix.is_mixed or not run.comparison:
        return ReplayedPatients()
    if not replay.is_dir():
        return ReplayedPatients(
            line=f"Whether cases that {replay.name} has are among them cannot be told: a packed file does not say of which "
            "images they are. Replay the data folder."
        )
    names = set(task.cases.names[len(task.run.case_ids) :])
    dataset = read_dataset(replay) if run.parent.is_for_radiographs else read_volume_dataset(replay)
    person_of = persons_of(library.cases())
    replayed = set[str]()
    for case in dataset.cases:
        if case.name not in names:
            continue
        run.folder.check_cancelled()
        replayed.add(library.patient_of(case.image_path))
        image = read_image(case.image_path)
        try:
            known = library.find(image)
        except InputError:
            continue  # a case that is damaged is not compared on
        if known is not None:
            replayed.add(person_of.get(known.id, known.id))
    return ReplayedPatients(frozenset(case_id for case_id, person in person_of.items() if person in replayed))
