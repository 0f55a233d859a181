"""Libraries of chests, and what a front end does with a case in a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.journal import read_journal
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.ras import FloatArray
from Testing.annotation.perfect_answer import chest_image, perfect_answer


def chest_library(folder: Path, template: Template, count: int = 1, size: int = 128) -> Library:
    """A library of ``count`` chests, called chest-0 and on; no two have the same pixels."""
    library = Library.create(folder / "library", "chests")
    for seed in range(count):
        film = chest_image(template, size, seed)
        path = folder / f"chest-{seed}.nrrd"
        sitk.WriteImage(film.volume, str(path))
        library.add(path)
    return library


def predict(session: Session, template: Template, **how: Any) -> None:
    """Have a session take what a model without any error says."""
    image, _ = session.case.read_image(session.state.geometry)
    session.take(perfect_answer(template, image, **how), image.geometry)


def point_lps_mm(case: CaseInScene, name: str) -> FloatArray:
    """Where the session has a landmark (3,), in the image's own frame."""
    landmarks = case.session.state.landmarks
    return np.array(landmarks.points_lps_mm[landmarks.names.index(name)])


def world_ras_mm(case: CaseInScene, name: str) -> FloatArray:
    """Where a landmark's glyph is in the world (3,)."""
    node, n = control_point(case, name)
    return np.array(node.GetNthControlPointPositionWorld(n))


def control_point(case: CaseInScene, name: str) -> tuple[Any, int]:
    """The list and the row of a landmark; raises ``KeyError`` where no list has it."""
    for structure, node in case.lists.nodes.items():
        names = case.lists.names_of(structure)
        if name in names:
            return node, names.index(name)
    raise KeyError(name)


def edits_on_disk(data_folder: Path) -> list[str]:
    """The kinds of all edits in the journals of a user's data folder, the oldest first."""
    found = []
    for path in sorted((data_folder / "journals").glob("*/[!.]*")):
        found += [type(edit).__name__ for edit in read_journal(path).history.edits]
    return found


def everything_is_on_its_voxel(case: CaseInScene) -> bool:
    """Whether each present glyph is where Slicer has the landmark's voxel."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    state = case.session.state
    volume = case.image.volume
    to_local, to_world = vtkMatrix4x4(), vtkMatrix4x4()
    volume.GetIJKToRASMatrix(to_local)
    if volume.GetParentTransformNode() is not None:
        volume.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    voxel_to_world = vtkMatrix4x4()
    vtkMatrix4x4.Multiply4x4(to_world, to_local, voxel_to_world)
    for name, index, presence in zip(state.landmarks.names, state.index_ijk, state.landmarks.presence, strict=True):
        if presence == "present":
            expected = voxel_to_world.MultiplyPoint((*index, 1.0))[:3]
            if np.abs(world_ras_mm(case, name) - expected).max() > 1e-4:
                return False
    assert np.allclose(
        lps_mm_from_index(state.geometry, state.index_ijk), state.landmarks.points_lps_mm, equal_nan=True
    )
    return True
