"""Steps: what becomes of the image."""

from __future__ import annotations

import random

import numpy as np
from vtkmodules.vtkCommonDataModel import vtkImageData

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.nodes import remove_node
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.saved_case import same
from Testing.scene.saved_scene import nodes_of
from Testing.scene.walk.person import Walk, described
from Testing.scene.walk.places import oriented
from Testing.scene.walk.rules import ANYTHING, NOTHING, SIZE, Expected, one, rule
from Testing.scene.walk.steps import a_matrix, a_present, add_transform, index_of, put, step
from Testing.scene.walk.structure_steps import set_labelmap


@step(2)
def image_under_transform(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    case.image.volume.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    return NOTHING


@step(1.5)
def image_out_of_transform(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    case.image.volume.SetAndObserveTransformNodeID(None)
    return NOTHING


@step(1.5)
def transform_changed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    for node in walk.transforms():
        if rng.random() < 0.5:
            walk.touch(node)
            node.SetMatrixTransformToParent(to_vtk(a_matrix(rng)))
    return NOTHING


@step(0.7)
def transform_removed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    known = walk.transforms()
    if not known:
        return None
    removed = rng.choice(known)
    for node in (removed, *known):
        walk.touch(node)
    for node in nodes_of(walk.scene, "vtkMRMLTransformableNode"):
        if node.GetTransformNodeID() == removed.GetID():
            walk.touch(node)
    for n in range(removed.GetNumberOfNodeReferences("storage")):
        walk.touch(removed.GetNthNodeReference("storage", n))
    remove_node(walk.scene, removed)
    return NOTHING


@step(1)
def image_hardened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    if case.image.volume.GetParentTransformNode() is None:
        case.image.volume.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    if rng.random() < 0.5:
        case.poll()
    case.image.volume.HardenTransform()
    return NOTHING


@step(1)
def all_hardened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """What "Harden transform" on a folder of the subject hierarchy does."""
    case.image.volume.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    case.poll()
    nodes = [
        case.image.volume,
        *case.lists.nodes.values(),
        case.segments.node,
        *case._showing.uv_volumes.nodes.values(),
    ]
    nodes = [node for node in nodes if node is not None]
    for node in rng.sample(nodes, rng.randint(1, len(nodes))):
        node.HardenTransform()
    return ANYTHING if case.image.volume.GetTransformNodeID() is not None else NOTHING


@step(0.7)
def image_bent(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    bending = walk.tag(walk.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bends"))
    if rng.random() < 0.3 and walk.transforms():
        upper = rng.choice(walk.transforms())
        walk.touch(upper)
        if case.image.volume.GetTransformNodeID() == upper.GetID():
            upper.SetAndObserveTransformNodeID(bending.GetID())
            case.poll()
            upper.SetAndObserveTransformNodeID(None)
            return ANYTHING
    case.image.volume.SetAndObserveTransformNodeID(bending.GetID())
    return Expected((), 1)


@step(0.3)
def image_flattened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """A transform of no way back."""
    flat = add_transform(walk, rng)
    walk.touch(flat)
    flat.SetMatrixTransformToParent(to_vtk(np.diag([1.0, 0, 1, 1])))
    case.image.volume.SetAndObserveTransformNodeID(flat.GetID())
    case.poll()
    flat.SetMatrixTransformToParent(to_vtk(a_matrix(rng)))
    return Expected((), None)


@step(2)
def spacing_typed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    x, y, z = case.image.volume.GetSpacing()
    if not 0.5 < x < 30:
        return None
    factor = rng.choice((1.0, 0.5, 1.3, 2.0))
    case.image.volume.SetSpacing(x * factor, y * factor * rng.choice((1.0, 1.0, 1.1)), z)
    return NOTHING if case.image.volume.GetSpacing() == (x, y, z) else one("CorrectSpacing", refusable=False)


@step(1)
def spacing_typed_at_once(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """A spacing, a drag and a stroke between two ticks of the timer."""
    x, y, z = case.image.volume.GetSpacing()
    name = a_present(case, rng)
    if not 0.5 < x < 30 or name is None or not case.session.state.structures:
        return None
    structure = rng.choice(case.session.state.structures)
    put(case, name, index_of(case, name) + [rng.uniform(0.5, 1), 0, 0])
    mask = structure_mask(case.session.state, structure).copy()
    mask[0, :3, :3] ^= True
    set_labelmap(case, structure, oriented(mask, case.image.index_to(case.segments.node)))
    case.image.volume.SetSpacing(x * 1.25, y * 1.25, z)
    history, told = case.session._history, len(walk.lines)
    case.poll()
    done = {described(edit) for edit in case.session._history.edits[history.index :]}
    rule(("Move", name) in done or len(walk.lines) > told, "a drag was lost", done)
    rule(("Paint", structure) in done, "a stroke was lost", done)
    rule(("CorrectSpacing",) in done, "a spacing was lost", done)
    return ANYTHING


@step(0.5)
def pixels_copied(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    data = vtkImageData()
    data.DeepCopy(case.image.volume.GetImageData())
    case.image.volume.SetAndObserveImageData(data)
    return NOTHING


@step(0.4)
def pixels_changed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    volume = case.image.volume
    if rng.random() < 0.2:
        volume.SetAndObserveImageData(None)
    else:
        data = vtkImageData()
        data.DeepCopy(volume.GetImageData())
        data.GetPointData().GetScalars().SetComponent(rng.randrange(SIZE), 0, 5000)
        volume.SetAndObserveImageData(data)
    walk.tag(volume)
    walk.touch(volume)
    return Expected((), None)  # and one where the case has another spacing than the file


@step(0.4)
def image_removed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    session, state, unsaved = case.session, case.session.state, case.session.unsaved
    walk.touch(case.image.volume)
    remove_node(walk.scene, case.image.volume)
    case.poll()
    rule(not case.is_open, "a case without an image is open")
    kept = session.case.load(session.revision)[0]
    rule(same(kept, state), "work was lost with the image", unsaved)
    return Expected((), 1)
