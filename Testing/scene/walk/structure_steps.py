"""Steps: what a person does to structures."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.ras import from_vtk
from DenseLandmarksLib.scene.segments import segment_id
from Testing.scene.walk.person import Walk
from Testing.scene.walk.places import oriented
from Testing.scene.walk.rules import ANYTHING, LABELMAP, NOTHING, SIZE, Expected, one, rule
from Testing.scene.walk.steps import add_transform, step


def set_labelmap(case: CaseInScene, structure: str, labelmap: Any) -> None:
    """What effects of the Segment Editor end with."""
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(labelmap, case.segments.node, segment_id(structure))


def is_shared(case: CaseInScene) -> bool:
    """Whether Slicer merged label maps of segments, as it does when it saves."""
    segmentation = case.segments.node.GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    return len({segment.GetRepresentation(LABELMAP) for segment in segments}) < len(segments)


def is_counted_from_elsewhere(case: CaseInScene) -> bool:
    """Whether a label map has the image's voxels, but other indices for them."""
    segmentation, lattice = case.segments.node.GetSegmentation(), case.image.index_to(case.segments.node)
    for n in range(segmentation.GetNumberOfSegments()):
        labelmap, matrix = segmentation.GetNthSegment(n).GetRepresentation(LABELMAP), vtkMatrix4x4()
        if labelmap is not None:
            labelmap.GetImageToWorldMatrix(matrix)
            if not np.allclose(from_vtk(matrix), lattice, atol=1e-3):
                return True
    return False


def a_stroke(mask: NDArray[np.bool_], rng: random.Random) -> NDArray[np.bool_]:
    painted = mask.copy()
    i, j = rng.randrange(SIZE - 1), rng.randrange(SIZE - 1)
    painted[0, j : j + rng.randint(1, 20), i : i + rng.randint(1, 20)] = rng.random() < 0.6
    return painted


@step(6)
def paint(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    state = case.session.state
    if not state.structures:
        return None
    structure = rng.choice(state.structures)
    before = structure_mask(state, structure)
    mask = rng.choice((a_stroke(before, rng), a_stroke(before, rng), before, np.zeros_like(before)))
    lattice = case.image.index_to(case.segments.node)
    how, shared = rng.choice(("whole", "cropped", "beyond", "shifted")), is_shared(case)
    elsewhere = how == "shifted" or is_counted_from_elsewhere(case)
    if how == "cropped" and mask.any():
        _, rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        j, i = rows[0], columns[0]
        cut = mask[:, j : rows[-1] + 1, i : columns[-1] + 1]
        set_labelmap(case, structure, oriented(cut, lattice, (int(i), int(j), 0)))
    elif how == "beyond":  # painted over the image's edge, in slices before and behind it too
        wide = np.pad(mask, ((1, 1), (2, 2), (3, 3)), constant_values=rng.random() < 0.5)
        set_labelmap(case, structure, oriented(wide, lattice, (-3, -2, -1)))
    elif how == "shifted":  # the same place, counted from elsewhere
        moved = lattice.copy()
        moved[:3, 3] += moved[:3, :3] @ [5, 6, 0]
        set_labelmap(case, structure, oriented(mask, moved, (-5, -6, 0)))
    else:
        set_labelmap(case, structure, oriented(mask, lattice))
    case.poll()
    if not mask.any():  # Slicer says nothing when it empties a segment that shares its label map
        case.settle()
    rule(np.array_equal(structure_mask(case.session.state, structure), mask), "not what was painted", how)
    if elsewhere and shared:  # Slicer overwrites others in the same label map
        return ANYTHING
    return NOTHING if np.array_equal(mask, before) else one("Paint", structure, refusable=False)


@step(1.5)
def paint_on_other_voxels(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Another module's labelmap: finer, coarser, turned."""
    state = case.session.state
    if not state.structures:
        return None
    structure = rng.choice(state.structures)
    lattice = case.image.index_to(case.segments.node).copy()
    angle, scale = rng.choice((0.0, 0.3)), rng.choice((0.5, 0.77, 2.0))
    turn = np.eye(4)
    turn[:2, :2] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    turn[:2, 3] = rng.uniform(0, 10), rng.uniform(0, 10)
    mask = np.zeros((1, 40, 40), bool)
    mask[0, 10:30, 5:35] = True
    set_labelmap(case, structure, oriented(mask, lattice @ turn))
    case.poll()
    inside = np.linalg.inv(turn)
    j, i = np.mgrid[:SIZE, :SIZE]
    x, y = (inside[row, 0] * i + inside[row, 1] * j + inside[row, 3] for row in (0, 1))
    expected = (x > 4.5) & (x < 34.5) & (y > 9.5) & (y < 29.5)
    border = (np.abs(x - 4.5) < 1e-3) | (np.abs(x - 34.5) < 1e-3) | (np.abs(y - 9.5) < 1e-3) | (np.abs(y - 29.5) < 1e-3)
    found = structure_mask(case.session.state, structure)[0]
    rule(np.array_equal(found & ~border, expected & ~border), "not what was painted on other voxels")
    return Expected(None, 0)


@step(1)
def segment_added(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    if case.segments.node is None:
        return None
    name = rng.choice((walk.new_name(), "heart", "", "a & <b> % | ☃"))
    made = case.segments.node.GetSegmentation().AddEmptySegment(walk.new_name(), name)
    empty = rng.random() < 0.3
    if not empty:
        mask = np.zeros((1, SIZE, SIZE), bool)
        mask[0, 3:9, 4:20] = True
        import slicer

        labelmap = oriented(mask, case.image.index_to(case.segments.node))
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(labelmap, case.segments.node, made)
    before = set(case.session.state.structures)
    case.poll()
    new = set(case.session.state.structures) - before
    rule(len(new) == (not empty), "not one new structure", new)
    return NOTHING if empty else one("Paint", *new, refusable=False)


@step(1)
def segment_removed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    if not case.session.state.structures:
        return None
    structure = rng.choice(case.session.state.structures)
    case.segments.node.GetSegmentation().RemoveSegment(segment_id(structure))
    return Expected((), 1)


@step(1)
def looks_of_segments(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    if not case.session.state.structures:
        return None
    node, structure = case.segments.node, rng.choice(case.session.state.structures)
    segmentation = node.GetSegmentation()
    segment = segmentation.GetSegment(segment_id(structure))
    what = rng.choice(("name", "surfaces", "collapse", "order", "source", "node name", "tag"))
    if what == "name":
        segment.SetName("my segment")
        segment.SetColor(0.1, 0.2, 0.3)
    elif what == "surfaces":
        segmentation.CreateRepresentation("Closed surface")
    elif what == "collapse":
        segmentation.CollapseBinaryLabelmaps(False)
    elif what == "order":
        segmentation.SetSegmentIndex(segment_id(structure), 0)
    elif what == "source":
        segmentation.CreateRepresentation("Closed surface")
        segmentation.SetSourceRepresentationName("Closed surface")
        case.poll()  # whose label maps are made anew from the surfaces
        return ANYTHING
    elif what == "node name":
        node.SetName("my structures")
    else:
        segment.SetTag("Segmentation.Status", "flagged")
    return NOTHING


@step(0.7)
def segmentation_moved(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node = case.segments.node
    if node is None:
        return None
    node.SetAndObserveTransformNodeID(None if rng.random() < 0.2 else add_transform(walk, rng).GetID())
    if rng.random() < 0.3:
        node.HardenTransform()
    return ANYTHING
