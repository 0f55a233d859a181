"""The case of the image that is chosen, made where there is none, from whatever Slicer knows about the image."""

from __future__ import annotations

import slicer

from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.files_of_volume import files_of_volume, safe_case_name


def need_case(panel: Frame) -> CaseInScene:
    """The case in hand, or that of the chosen image; raises InputError where no image is chosen or no case can be made."""
    bench, volume = panel.bench, panel.volume
    if volume is None or (bench.case is not None and bench.case.image.volume is volume):
        return bench.case or bench.need_case(None)
    files = files_of_volume(volume, _file_of_instance)
    return bench.need_case(volume, safe_case_name(volume, files), files)


def _file_of_instance(uid: str) -> str:
    database = getattr(slicer, "dicomDatabase", None)  # nobody opened the DICOM module yet
    return "" if database is None else str(database.fileForInstance(uid))
