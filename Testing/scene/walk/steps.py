"""The kinds of steps by name, and what several of them need."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.ras import FloatArray, to_vtk
from Testing.scene.open_cases import control_point
from Testing.scene.walk.places import world_of
from Testing.scene.walk.rules import Node

if TYPE_CHECKING:
    from Testing.scene.walk.person import Walk
    from Testing.scene.walk.rules import Expected


StepFunction = Callable[["Walk", CaseInScene, random.Random], "Expected | None"]
STEPS: dict[str, tuple[float, StepFunction]] = {}
"""Steps by kind: how often each comes, and what does it. ``None`` is returned where it cannot be done now."""


def step(weight: float) -> Callable[[StepFunction], StepFunction]:
    """Make a function a step."""

    def add(function: StepFunction) -> StepFunction:
        STEPS[function.__name__] = weight, function
        return function

    return add


def names_that_are(case: CaseInScene, *presence: Presence) -> list[str]:
    """Landmarks by whether they are there."""
    landmarks = case.session.state.landmarks
    return [name for name, is_now in zip(landmarks.names, landmarks.presence, strict=True) if is_now in presence]


def a_present(case: CaseInScene, rng: random.Random) -> str | None:
    names = names_that_are(case, Presence.PRESENT)
    return rng.choice(names) if names else None


def index_of(case: CaseInScene, name: str) -> FloatArray:
    """Where the session has a landmark, as a voxel index (3,)."""
    return np.array(case.session.state.index_ijk[case.session.state.landmarks.names.index(name)])


def length(rng: random.Random) -> float:
    """How far a hand goes, in voxels: from less than can be seen to across the image."""
    return float(10 ** rng.uniform(-2, 1.6))


def elsewhere(case: CaseInScene, name: str, rng: random.Random) -> FloatArray:
    """A voxel index (3,) to move a landmark to, in the image's slice or nearly so."""
    angle, far = rng.uniform(0, 2 * np.pi), length(rng)
    return index_of(case, name) + [far * np.cos(angle), far * np.sin(angle), rng.choice((0.0, 0.0, 0.3))]


def put(case: CaseInScene, name: str, index_ijk: Sequence[float] | FloatArray) -> None:
    """Set where a landmark's glyph is, as the mouse and scripts do."""
    node, n = control_point(case, name)
    node.SetNthControlPointPositionWorld(n, *world_of(case, list(index_ijk)))


def a_matrix(rng: random.Random) -> FloatArray:
    """A motion, sometimes with other lengths, sometimes mirrored or sheared."""
    axis = np.array([0.0, 0.0, 1.0]) if rng.random() < 0.6 else np.array([rng.gauss(0, 1) for _ in range(3)])
    x, y, z = axis / np.linalg.norm(axis)
    angle = rng.choice((0.0, np.pi / 2, rng.uniform(-3, 3)))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = [rng.uniform(-100, 100) for _ in range(3)]
    kind = rng.random()
    if kind < 0.15:
        matrix[:3, :3] *= rng.uniform(0.3, 3)
    elif kind < 0.25:
        matrix[:3, :3] = matrix[:3, :3] @ np.diag([rng.choice((-1, 1)), 1, rng.choice((-1, 1))])
    elif kind < 0.3:
        matrix[0, 1] += 0.2
    return matrix


def add_transform(walk: Walk, rng: random.Random) -> Node:
    """A transform of somebody else's, sometimes one that is there already or one under another."""
    known = walk.transforms()
    if known and rng.random() < 0.4:
        return rng.choice(known)
    made = walk.tag(walk.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "a transform"))
    made.SetMatrixTransformToParent(to_vtk(a_matrix(rng)))
    if known and rng.random() < 0.3:
        made.SetAndObserveTransformNodeID(rng.choice(known).GetID())
    return made


def the_structure_of(case: CaseInScene, name: str) -> str:
    landmarks = case.session.state.landmarks
    return landmarks.structures[landmarks.names.index(name)]
