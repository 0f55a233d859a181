"""Where a volume node came from, and what its case may be called."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from DenseLandmarksLib.annotation.exports.result_name import safe_name
from DenseLandmarksLib.geometry.formats.dicom_identifiers import read_identifiers
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.scene.nodes import Node

# Slicer's DICOM readers leave it on what they load.
_INSTANCES = "DICOM.instanceUIDs"
# Of a series, hundreds of files are of one patient.
_ENOUGH = 8
_UNSPEAKABLE = re.compile(r"[\d.]*|[0-9a-fA-F-]{16,}")


def files_of_volume(volume: Node, file_of_instance: Callable[[str], str] = lambda uid: "") -> tuple[Path, ...]:
    """The files that a volume node came from, each once: its DICOM files, then those that it was loaded from or saved to.

    ``file_of_instance`` gives the file of a DICOM instance UID, empty where it is unknown: in the application
    ``slicer.dicomDatabase.fileForInstance``. Nobody says that the files are still there.
    """
    uids = (volume.GetAttribute(_INSTANCES) or "").split()
    names = [file_of_instance(uid) for uid in uids]
    storage = volume.GetStorageNode()
    if storage is not None:
        names.append(storage.GetFullNameFromFileName())
        names += [storage.GetFullNameFromNthFileName(n) for n in range(storage.GetNumberOfFileNames())]
    return tuple(dict.fromkeys(Path(name) for name in names if name))


def safe_case_name(volume: Node, files: Sequence[Path]) -> str:
    """What the case of a volume may be called: like one of its ``files``, or "image" where that might name the patient.

    The node's own name is never used. A file that Slicer wrote is called like the node, so the tags of the DICOM files
    judge the names of all; where a node came from DICOM files that are gone, no name is safe.
    """
    judges = [path for path in files[:_ENOUGH] if _is_dicom(path)]
    if not judges and volume.GetAttribute(_INSTANCES):
        return "image"
    identifiers: frozenset[str] = frozenset()
    for path in judges:
        found = read_identifiers(path)
        if found is None:
            return "image"
        identifiers |= found
    names = [name for path in files if (name := safe_name(path, identifiers))]
    # UIDs tell people nothing; what tells something comes first.
    names.sort(key=lambda name: _UNSPEAKABLE.fullmatch(name) is not None)
    return names[0] if names else "image"


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return format_of(file.read(HEAD_BYTES)) == "DICOM"
    except OSError:
        return False
