"""``python -m Testing.scene.scene_machine``: a person who does anything to a scene in any order, and loses nothing.

A walk takes random steps in a real scene with two cases of a real library: drags and table edits, transforms, painting, nodes
that are removed, undo, saves, scenes that are saved and read, applications that end. Each step knows what it must have
done, and after each all that everybody may rely on is checked. A walk is a list of (kind of step, number): the same list
does the same again, so a failure is cut down to the few steps that it needs.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.history import History
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.nodes import remove_node
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk, to_vtk
from DenseLandmarksLib.scene.saved_case import same, saved_cases
from DenseLandmarksLib.scene.segments import segment_id
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.benchmarks.chest import chest_template
from Testing.scene.open_cases import chest_library, control_point, everything_is_on_its_voxel, point_lps_mm, predict
from Testing.scene.saved_scene import new_scene, nodes_of, read_scene, save_scene

Node = Any
Step = tuple[str, int]
"""A kind of step, and the number that everything random in it is drawn from."""

TEMPLATE = chest_template()
SIZE = 64
STEPS_OF_A_WALK = 80
LIST, SEGMENTATION, LABELMAP = "vtkMRMLMarkupsFiducialNode", "vtkMRMLSegmentationNode", "Binary labelmap"
FOREIGN = "Walk.Foreign"
"""An attribute of all nodes that the walk, and no case, put into the scene."""
DEFINED = 2
_SELECTION, _INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
STATUS = {Presence.PRESENT: 2, Presence.ABSENT: 3, Presence.UNPLACED: 0}


class BrokenRuleError(AssertionError):
    """Something that everybody may rely on is not so."""


def rule(holds: object, what: str, *details: object) -> None:
    """Raise :class:`BrokenRuleError` unless a rule holds."""
    if not holds:
        raise BrokenRuleError(": ".join([what, *map(str, details)]))


@dataclass(frozen=True)
class Expected:
    """What a step must have done to its case.

    Attributes
    ----------
    done : the edits, each as its kind and the names in it; ``None`` for any.
    lines : how many lines were told; ``None`` for any.
    or_refused : whether it may have done nothing, with one line.
    """

    done: tuple[tuple[str, ...], ...] | None = ()
    lines: int | None = 0
    or_refused: bool = False


NOTHING, ANYTHING = Expected(), Expected(None, None)


def one(kind: str, *names: str, refusable: bool = True) -> Expected:
    """One edit, or a line that says why not."""
    return Expected(((kind, *names),), 0, refusable)


# ---- where things are in a scene ---------------------------------------------------------------------------------------


def to_world(node: Node) -> FloatArray:
    """The matrix (4, 4) from a node's own coordinates to the world's."""
    matrix = vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    return from_vtk(matrix)


def voxel_to_world(volume: Node) -> FloatArray:
    """The matrix (4, 4) from voxel index to the world."""
    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return to_world(volume) @ from_vtk(matrix)


def world_of(case: CaseInScene, index_ijk: Sequence[float]) -> FloatArray:
    """Where a voxel of the case's image is in the world (3,)."""
    return np.asarray((voxel_to_world(case.image.volume) @ [*index_ijk, 1.0])[:3])


def mask_in_scene(case: CaseInScene, structure: str) -> NDArray[np.bool_]:
    """What a segment holds at the centres of the image's voxels (Z, Y, X)."""
    node, size = case.segments.node, case.session.state.geometry.size
    segment = node.GetSegmentation().GetSegment(segment_id(structure))
    rule(segment is not None, "a structure has no segment", structure)
    labelmap = segment.GetRepresentation(LABELMAP)
    found = np.zeros(size[::-1], bool)
    scalars = labelmap.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfTuples():
        return found
    matrix = vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    chain = np.linalg.inv(to_world(node) @ from_vtk(matrix)) @ voxel_to_world(case.image.volume)
    index = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)], axis=-1).reshape(-1, 4)
    extent = np.array(labelmap.GetExtent()).reshape(3, 2)
    at = np.rint(index @ chain[:3].T).astype(int) - extent[:, 0]
    inside = ((at >= 0) & (at <= extent[:, 1] - extent[:, 0])).all(axis=1)
    voxels = vtk_to_numpy(scalars).reshape(labelmap.GetDimensions()[::-1])
    held = np.zeros(len(index), bool)
    held[inside] = voxels[tuple(at[inside].T[::-1])] == segment.GetLabelValue()
    return held.reshape(size).transpose(2, 1, 0)


def oriented(mask: NDArray[np.bool_], matrix: FloatArray, start_ijk: Sequence[int] = (0, 0, 0)) -> Any:
    """A mask (Z, Y, X) as Slicer's modules hand it on; ``matrix`` (4, 4) from its voxels to the node's coordinates."""
    import slicer

    data = slicer.vtkOrientedImageData()
    extent: list[int] = []
    for first, length in zip(start_ijk, mask.shape[::-1], strict=True):
        extent += [first, first + length - 1]
    data.SetExtent(extent)
    data.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    data.SetImageToWorldMatrix(to_vtk(matrix))
    return data


def sight(node: Node) -> tuple[Any, ...]:
    """What a person sees of a node of somebody else's."""
    seen: list[Any] = [node.GetName(), node.GetAttribute(FOREIGN)]
    if node.IsA("vtkMRMLTransformableNode"):
        seen.append(node.GetTransformNodeID())
    if node.IsA("vtkMRMLDisplayableNode"):
        display = node.GetDisplayNode()
        seen.append(display and (display.GetID(), display.GetVisibility(), display.GetOpacity(), display.GetColor()))
    if node.IsA("vtkMRMLLinearTransformNode"):
        matrix = vtkMatrix4x4()
        node.GetMatrixTransformToParent(matrix)
        seen.append(from_vtk(matrix).tobytes())
    if node.IsA("vtkMRMLMarkupsNode"):
        seen += [node.GetLocked(), node.GetFixedNumberOfControlPoints()]
        for n in range(node.GetNumberOfControlPoints()):
            seen += [node.GetNthControlPointLabel(n), node.GetNthControlPointPosition(n)]
            seen.append(node.GetNthControlPointPositionStatus(n))
    if node.IsA("vtkMRMLTextNode"):
        seen.append(node.GetText())
    if node.IsA("vtkMRMLVolumeNode"):
        matrix = vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        data = node.GetImageData()
        seen += [from_vtk(matrix).tobytes(), data and vtk_to_numpy(data.GetPointData().GetScalars()).tobytes()]
    if node.IsA(SEGMENTATION):
        for name in node.GetSegmentation().GetSegmentIDs():
            segment = node.GetSegmentation().GetSegment(name)
            seen += [name, segment.GetName(), segment.GetColor()]
    return tuple(seen)


# ---- the walk ----------------------------------------------------------------------------------------------------------


class Walk:
    """One person at a desk, in one scene at a time.

    Attributes
    ----------
    edits, refusals : how many were seen.
    taken : steps by kind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.user = folder, folder / "user"
        self.library = chest_library(folder, TEMPLATE, 2, SIZE)
        self.lines: list[str] = []
        self.taken: Counter[str] = Counter()
        self.edits = self.refusals = 0
        self._named = 0
        self.errors: list[str] = []
        self.sit_down(new_scene())
        self.add_foreign()
        self.seen = self.foreign()

    # What there is.

    def sit_down(self, scene: Any) -> None:
        """Begin to work in a scene."""
        import slicer

        # Every application of Slicer's has this logic: it registers how segments are converted. Without it an empty
        # segmentation, also one of somebody else's, ends the process when the scene is saved.
        self._logic = slicer.vtkSlicerSegmentationsModuleLogic()
        self._logic.SetMRMLScene(scene)
        self.scene, self.desk = scene, Desk(scene, "an annotator", self.lines.append, self.user)
        self.add_singletons()

    def add_singletons(self) -> None:
        """Nodes that every application of Slicer's has, as it comes to clicks that place points."""
        import slicer

        for node, name in (
            (slicer.vtkMRMLSelectionNode(), _SELECTION),
            (slicer.vtkMRMLInteractionNode(), _INTERACTION),
        ):
            if self.scene.GetNodeByID(name) is None:
                node.SetSingletonTag("Singleton")
                self.scene.AddNode(node)

    def library_case(self, n: int) -> LibraryCase:
        return self.library.case(self.library.cases()[n].id)

    def choose(self, rng: random.Random) -> CaseInScene:
        """A case that is open, or is opened, with landmarks."""
        case = rng.choice(self.desk.cases or [self.desk.open(self.library_case(rng.randrange(2)))])
        if case.session.state.answer is None:
            predict(case.session, TEMPLATE)
        self.desk.poll()
        return case

    def new_name(self) -> str:
        self._named += 1
        return f"new {self._named}"

    def tag(self, node: Node) -> Node:
        """``node`` is nobody's but the walk's."""
        self._named += 1
        node.SetAttribute(FOREIGN, str(self._named))
        return node

    def add_foreign(self) -> None:
        """Nodes like ours that are somebody else's."""
        add = lambda name: self.tag(self.scene.AddNewNodeByClass(name, "somebody else's"))  # noqa: E731
        turned = add("vtkMRMLLinearTransformNode")
        turned.SetMatrixTransformToParent(to_vtk(np.diag([-1.0, 1, -1, 1])))
        markups, segmentation = add(LIST), add(SEGMENTATION)
        markups.AddControlPoint(1.0, 2.0, 3.0, "right_lung_01")
        markups.AddControlPoint(-4.0, 2.5, 3.0, "mine")
        markups.SetAndObserveTransformNodeID(turned.GetID())
        segmentation.CreateDefaultDisplayNodes()
        segmentation.GetSegmentation().AddEmptySegment("heart", "heart")
        add("vtkMRMLTextNode").SetText("somebody else's")
        data = vtkImageData()
        data.SetDimensions(3, 4, 1)
        data.GetPointData().SetScalars(numpy_to_vtk(np.arange(12, dtype=np.uint8), deep=True))
        add("vtkMRMLScalarVolumeNode").SetAndObserveImageData(data)

    def foreign(self) -> dict[str, tuple[Any, ...]]:
        """What is seen of all nodes that are somebody else's, images at work aside."""
        nodes = [self.scene.GetNthNode(n) for n in range(self.scene.GetNumberOfNodes())]
        at_work = [case.image.volume for case in self.desk.cases]
        return {
            node.GetID(): sight(node)
            for node in nodes
            if node.GetAttribute(FOREIGN) is not None and not any(node is volume for volume in at_work)
        }

    def touch(self, node: Node) -> None:
        """The step itself changes, or removes, a node of somebody else's."""
        self.seen.pop(node.GetID(), None)

    def transforms(self) -> list[Node]:
        """Transforms of somebody else's that images can be put under."""
        return [node for node in nodes_of(self.scene, "vtkMRMLLinearTransformNode") if node.GetName() == "a transform"]

    # A step, and what everybody may rely on after it.

    def step(self, kind: str, number: int) -> bool:
        """Take a step and check everything; false where there was nothing to do it to. Raises :class:`BrokenRuleError`."""
        rng = random.Random(number)
        case = self.choose(rng)
        sessions = {id(other): (other, other.session, other.session._history) for other in self.desk.cases}
        told = len(self.lines)
        expected = STEPS[kind][1](self, case, rng)
        if expected is None:
            return False
        self.taken[kind] += 1
        self.desk.poll()
        was_refused = False
        for other, session, before in sessions.values():
            if other in self.desk.cases and other.session is session:
                done = self.done_since(other, before)
                if other is case and expected.or_refused and not done:
                    was_refused = True
                elif other is not case or expected.done is not None:
                    wanted = expected.done if other is case else ()
                    rule(done == wanted, "not the edit that was to be", done, "instead of", wanted, self.lines[told:])
        lines = [line for line in self.lines[told:] if not line.startswith("Looked up")]
        self.refusals += was_refused
        if expected.lines is not None:
            rule(len(lines) == expected.lines + was_refused, "not as many lines as were to be", lines)
        for line in self.lines[told:]:
            rule(line.strip() and "\n" not in line and "\r" not in line, "what is told is no line", repr(line))
        for other in self.desk.cases:
            check(other, self.lines)
        self.check_foreign()
        rule(not self.errors, "an error of VTK or in a callback", *self.errors)
        if number % 4 == 0:
            self.check_bundle()
        return True

    def done_since(self, case: CaseInScene, before: History) -> tuple[tuple[str, ...], ...]:
        """The edits of a case since its history was ``before``; without landmarks of others that were looked up."""
        after = case.session._history
        new = [] if after.edits == before.edits else list(after.edits[before.index :])
        self.edits += len(new)
        if new and isinstance(new[-1], edits.LookUp):
            new.pop()
        return tuple(described(edit) for edit in new)

    def check_foreign(self) -> None:
        """Nothing of somebody else's was touched, and of ours nothing is left where nothing is open."""
        now = self.foreign()
        at_work = [case.image.volume.GetID() for case in self.desk.cases]
        for key, seen in self.seen.items():
            if key not in at_work:
                rule(key in now, "somebody else's node is gone", key, seen[:1])
                rule(now[key] == seen, "somebody else's node was touched", key, seen, now[key])
        self.seen = now

    def check_nothing_left(self) -> None:
        """Without an open case there is nothing in the scene that is not somebody else's."""
        rule(not self.desk.cases, "a case is open")
        nodes = [self.scene.GetNthNode(n) for n in range(self.scene.GetNumberOfNodes())]
        theirs = [node for node in nodes if node.GetAttribute(FOREIGN) is not None]
        attached = {
            node.GetNthNodeReferenceID(role, n)
            for node in theirs
            for role in ("display", "storage")
            for n in range(node.GetNumberOfNodeReferences(role))
        }
        left = [
            node.GetID()
            for node in nodes
            if node not in theirs
            and node.GetID() not in (*attached, _SELECTION, _INTERACTION)
            and not node.IsA("vtkMRMLSubjectHierarchyNode")
        ]
        rule(not left, "a closed case left nodes", left)

    def check_bundle(self) -> None:
        """The scene can be saved, and holds every case to the last digit; saving it changes nothing."""
        save_scene(self.scene, self.folder / "checked.mrb")
        saved = {
            one.case_id: one for one in saved_cases(self.scene) if any(one.anchor is c.anchor for c in self.desk.cases)
        }
        for case in self.desk.cases:
            rule(case.session.case.id in saved, "a case has no record")
            record = saved[case.session.case.id]
            rule(same(record.state(), case.session.state), "the record is not the state")
            rule(
                (record.revision, record.unsaved) == (case.session.revision, case.session.unsaved), "the record is old"
            )
            check(case, self.lines)

    def leave(self) -> dict[str, tuple[CaseState, bool, int]]:
        """What ``kill -9`` leaves of all open cases: by case the state, whether it was unsaved, and its revision."""
        left = {}
        for case in self.desk.cases:
            session = case.session
            left[session.case.id] = session.state, session.unsaved, session.revision
            if session._journal is not None:
                session._journal._file.close()
            case._listening.end()
        return left

    def recover(self, session: Session, state: CaseState) -> None:
        """Go on where the work was; raises :class:`BrokenRuleError` where it is not there."""
        for work in session.recoverable:
            found = Session(session.case, "a look", data_folder=self.user)
            (it,) = [one for one in found.recoverable if one.path == work.path]
            found.recover(it)
            is_it = same(found.state, state)
            found._journal._file.close()  # type: ignore[union-attr]
            if is_it:
                session.recover(work)
                return
        rule(False, "unsaved work is not there any more")


def described(edit: Edit) -> tuple[str, ...]:
    """The kind of an edit, and the names in it."""
    match edit:
        case edits.Move(positions):
            return "Move", *(name for name, _ in positions)
        case edits.Absent(names) | edits.Accept(names) | edits.Reset(names) | edits.Unsure(names):
            return type(edit).__name__, *names
        case edits.Place(name):
            return "Place", name
        case edits.Paint(structure):
            return "Paint", structure
        case edits.Define(landmark):
            return "Define", landmark.name
    return (type(edit).__name__,)


def check(case: CaseInScene, lines: list[str]) -> None:
    """The scene says what the session says, and comparing them again changes nothing."""
    for again in (False, False, True):  # a matrix takes one more to be the same to the last bit
        state, history, told, times = case.session.state, case.session._history, len(lines), times_of(case)
        rule(case.settle(), "a case ended")
        rule(case.session.state is state and case.session._history is history, "settling again changed the case")
        rule(len(lines) == told, "settling again told a line", lines[told:])
        changed = {node for node, when in times_of(case).items() if times.get(node) != when}
        rule(not again or not changed, "settling again touched a node", changed)
        rule(not case._listening.touched, "what we do ourselves is heard")
    check_shown(case)


def times_of(case: CaseInScene) -> dict[str, int]:
    """When each node of a case was changed last, by VTK's clock."""
    nodes = [case.image.volume, *case.lists.nodes.values(), case.segments.node, case.ellipses.node, case.ghosts.node]
    nodes += [case.anchor, *case._showing.uv_volumes.nodes.values(), case._showing.record._record]
    return {node.GetID(): node.GetMTime() for node in nodes if node is not None}


def check_shown(case: CaseInScene) -> None:
    """Lists and segments are what the session says, at the place of the voxels."""
    state, image = case.session.state, case.image
    landmarks = state.landmarks
    rule(set(case.lists.nodes) == set(landmarks.structures), "not the lists of the structures")
    for structure, node in case.lists.nodes.items():
        rule(case._scene.IsNodePresent(node), "a list is not in the scene", structure)
        rows = landmarks.of_structure(structure)
        count = node.GetNumberOfControlPoints()
        labels = [node.GetNthControlPointLabel(n) for n in range(count)]
        rule(labels == [landmarks.names[row] for row in rows], "not the names of a list", structure, labels)
        shown = [node.GetNthControlPointPositionStatus(n) for n in range(count)]
        rule(shown == [STATUS[landmarks.presence[row]] for row in rows], "not what is present", structure, shown)
        rule(node.GetTransformNodeID() == image.volume.GetTransformNodeID(), "a list is under another transform")
        rule(node.GetFixedNumberOfControlPoints(), "points can be placed in a list", structure)
        rule(node.GetDisplayNode() is not None, "a list is not shown", structure)
        points = np.array([node.GetNthControlPointPosition(n) for n in range(count) if shown[n] == DEFINED])
        rule(np.isfinite(points).all(), "a glyph is nowhere", structure)
        selected = case._scene.GetNodeByID(_SELECTION).GetActivePlaceNodeID()
        rule(node.GetID() != selected, "the next point would be placed in a list", structure)
    rule(everything_is_on_its_voxel(case), "a glyph is off its voxel")
    rule(
        case.lists.gesture(state, image).is_nothing,
        "there is a gesture that nobody made",
        case.lists.gesture(state, image),
    )
    painted = case.segments.painted(state, image)
    rule(not painted, "there is paint that nobody painted", list(painted))
    rule(not case.segments.removed(state), "a segment is missing")
    if case.segments.node is not None:
        check_lattice(case)
    for structure in state.structures:
        expected, found = structure_mask(state, structure), mask_in_scene(case, structure)
        rule(np.array_equal(expected, found), "not the mask of a structure", structure, int((expected != found).sum()))


def check_lattice(case: CaseInScene) -> None:
    """What is painted next, and what Slicer merges when it saves, lies on the image's voxels."""
    import slicer

    segmentation, lattice, matrix = case.segments.node.GetSegmentation(), slicer.vtkOrientedImageData(), vtkMatrix4x4()
    said = segmentation.GetConversionParameter("Reference image geometry")
    rule(slicer.vtkSegmentationConverter.DeserializeImageGeometry(said, lattice), "segments have no lattice", said)
    lattice.GetImageToWorldMatrix(matrix)
    rule(
        np.allclose(from_vtk(matrix), case.image.index_to(case.segments.node), atol=1e-3),
        "what is painted is not painted on the image's voxels",
    )


# ---- steps: landmarks --------------------------------------------------------------------------------------------------

StepFunction = Callable[[Walk, CaseInScene, random.Random], "Expected | None"]
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


@step(8)
def drag(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    name = a_present(case, rng)
    if name is None:
        return None
    start, end = index_of(case, name), elsewhere(case, name, rng)
    node, _ = control_point(case, name)
    node.InvokeEvent(node.PointStartInteractionEvent)
    for part in np.linspace(0, 1, rng.randint(2, 5))[1:]:
        put(case, name, start + part * (end - start))
        case.poll()
    node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    is_at = index_of(case, name)
    rule(
        np.allclose(is_at[:2], end[:2], atol=1e-4) or np.allclose(is_at, start, atol=1e-6),
        "a landmark is not where it was dropped",
        *(name, start, end, is_at),
    )
    return one("Move", name)


@step(2)
def drag_and_back(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    name = a_present(case, rng)
    if name is None:
        return None
    node, n = control_point(case, name)
    where = node.GetNthControlPointPosition(n)
    node.InvokeEvent(node.PointStartInteractionEvent)
    put(case, name, elsewhere(case, name, rng))
    case.poll()
    node.SetNthControlPointPosition(n, *where)
    if rng.random() < 0.5:
        case.poll()
    node.InvokeEvent(node.PointEndInteractionEvent)
    return NOTHING


@step(2)
def drag_interrupted(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Somebody else does something while the mouse is down: a browser, a script, a keyboard short cut."""
    name, other = a_present(case, rng), a_present(case, rng)
    if name is None or other is None:
        return None
    node, _ = control_point(case, name)
    node.InvokeEvent(node.PointStartInteractionEvent)
    put(case, name, elsewhere(case, name, rng))
    if rng.random() < 0.7:
        case.poll()
    what = rng.choice(("accept", "absent", "undo", "save", "remove", "place", "spacing", "transform"))
    if what == "accept":
        case.session.accept(other)
    elif what == "absent":
        case.session.mark_absent(other)
    elif what == "undo":
        case.undo()
    elif what == "save":
        case.save()
    elif what == "remove":
        remove_node(walk.scene, node)
    elif what == "place":
        case.session.place(walk.new_name(), point_lps_mm(case, name) + 1, _of(case, name))
    elif what == "spacing":
        x, y, z = case.session.state.geometry.spacing_mm
        case.session.correct_spacing((x * 1.1, y * 1.1, z))
    else:
        case.image.volume.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    case.poll()
    if name in case.session.state.landmarks.names and walk.scene.IsNodePresent(node):
        with suppress(KeyError):  # it is in no list any more
            put(case, name, elsewhere(case, name, rng))
    case.poll()
    node.InvokeEvent(node.PointEndInteractionEvent)
    return ANYTHING


@step(1)
def drag_out_of_plane(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    name = a_present(case, rng)
    if name is None:
        return None
    put(case, name, index_of(case, name) + [0, 0, rng.uniform(-0.5, 0.5)])
    return NOTHING


@step(3)
def table_edit(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    name = a_present(case, rng)
    if name is None:
        return None
    put(case, name, elsewhere(case, name, rng))
    return one("Move", name)


@step(1)
def table_edit_of_two(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    landmarks = case.session.state.landmarks
    present = names_that_are(case, Presence.PRESENT)
    if len(present) < 20:
        return None
    names = rng.sample(present, 2)
    if any(sum(landmarks.structures[landmarks.names.index(n)] == s for n in present) < 5 for s in landmarks.structures):
        return None
    for name in names:
        put(case, name, elsewhere(case, name, rng))
    ordered = [name for of in case.lists.nodes for name in landmarks.names if name in names and _of(case, name) == of]
    return one("Move", *ordered)


def _of(case: CaseInScene, name: str) -> str:
    landmarks = case.session.state.landmarks
    return landmarks.structures[landmarks.names.index(name)]


@step(3)
def both_at_once(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """A landmark is moved in the scene, and before the timer ticks somebody else does something: both are kept."""
    name, other = a_present(case, rng), a_present(case, rng)
    if name is None or other is None or name == other:
        return None
    session, new = case.session, walk.new_name()
    end = index_of(case, name) + [rng.uniform(0.1, 1), rng.uniform(0.1, 1), 0]
    node, _ = control_point(case, name)
    is_drag = rng.random() < 0.5
    if is_drag:
        node.InvokeEvent(node.PointStartInteractionEvent)
    put(case, name, end)
    if is_drag:
        case.poll()
    commands: tuple[tuple[tuple[str, ...], Callable[[], None]], ...] = (
        (("Accept", other), lambda: session.accept(other)),
        (("Absent", other), lambda: session.mark_absent(other)),
        (("Unsure", other), lambda: session.mark_unsure(other)),
        (("Place", new), lambda: session.place(new, point_lps_mm(case, other) + 1, _of(case, name))),
        (("Paint", "heart"), lambda: session.paint("heart", a_stroke(np.zeros((1, SIZE, SIZE), bool), rng))),
        (("CorrectSpacing",), lambda: session.correct_spacing((rng.uniform(1, 9), rng.uniform(1, 9), 1.0))),
        (("SetStrength",), lambda: session.set_strength(rng.choice((0.0, 0.4, 1.0)))),
    )
    history = session._history
    command, act = rng.choice(commands)
    act()
    is_done = session._history is not history
    if is_drag:
        node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    done = [described(edit) for edit in session._history.edits[history.index :] if not isinstance(edit, edits.LookUp)]
    if not is_done:
        done = [command, *done] if session._history is not history else [command]
    moved = done[1:] == [("Move", name)]
    rule(done[:1] == [command] and (moved or not done[1:]), "not both that was done at once", command, name, done)
    if moved:
        rule(np.allclose(index_of(case, name)[:2], end[:2], atol=1e-4), "a landmark is not where it was dropped", name)
    return Expected(None, int(not moved))


@step(0.5)
def table_edit_of_nonsense(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    name = a_present(case, rng)
    if name is None:
        return None
    node, n = control_point(case, name)
    node.SetNthControlPointPosition(n, rng.choice((float("nan"), float("inf"))), 0.0, 0.0)
    return Expected((), None)


@step(2)
def list_moved(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, present = _a_list(case, rng)
    if node is None or len(present) < 5:
        return None
    offset = np.array([rng.uniform(-40, 40), rng.uniform(-40, 40), rng.choice((0.0, 3.0))])
    node.InvokeEvent(node.PointStartInteractionEvent)
    for _ in range(2):
        for n in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointPositionStatus(n) == DEFINED:
                node.SetNthControlPointPosition(n, *(np.array(node.GetNthControlPointPosition(n)) + offset / 2))
        case.poll()
    node.InvokeEvent(node.PointEndInteractionEvent)
    return Expected((), 1)


def _a_list(case: CaseInScene, rng: random.Random) -> tuple[Node | None, list[str]]:
    if not case.lists.nodes:
        return None, []
    structure = rng.choice(list(case.lists.nodes))
    present = [name for name in names_that_are(case, Presence.PRESENT) if _of(case, name) == structure]
    return case.lists.nodes[structure], present


@step(2)
def list_hardened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, present = _a_list(case, rng)
    if node is None or len(present) < 5:
        return None
    before = to_world(node)
    node.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    is_moved = not np.allclose(to_world(node), before)
    if rng.random() < 0.3:
        case.poll()  # it is put back, and hardening does nothing
        is_moved = False
    node.HardenTransform()
    return Expected((), int(is_moved))


@step(1)
def list_under_transform(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, _ = _a_list(case, rng)
    if node is None:
        return None
    node.SetAndObserveTransformNodeID(None if rng.random() < 0.3 else add_transform(walk, rng).GetID())
    return NOTHING


@step(4)
def delete(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The Delete key: Slicer removes the point that the mouse is over."""
    if not case.lists.nodes:
        return None
    name = rng.choice(case.session.state.landmarks.names)
    node, n = control_point(case, name)
    node.GetDisplayNode().SetActiveComponent(1, n)
    node.RemoveNthControlPoint(n)
    if rng.random() < 0.5:
        case.poll()
    if node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetActiveComponent(0, -1)
    return one("Absent", name) if name in names_that_are(case, Presence.PRESENT) else ANYTHING


@step(0.7)
def delete_all(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, present = _a_list(case, rng)
    if node is None or not present:
        return None
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    return one("Absent", *present)


@step(1.5)
def unset(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Slicer's own words for a point that is not there."""
    name = a_present(case, rng)
    if name is None:
        return None
    node, n = control_point(case, name)
    rng.choice((node.UnsetNthControlPointPosition, node.SetNthControlPointPositionMissing))(n)
    return one("Absent", name)


@step(2)
def placed_in_table(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    names = names_that_are(case, Presence.ABSENT, Presence.UNPLACED)
    if not names:
        return None
    name = rng.choice(names)
    node, n = control_point(case, name)
    if rng.random() < 0.3 and name in names_that_are(case, Presence.ABSENT):
        node.RestoreNthControlPointPosition(n)
        return one("Place", name)
    put(case, name, [rng.uniform(0, SIZE), rng.uniform(0, SIZE), 0])
    return one("Place", name)


@step(3)
def point_added(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, _ = _a_list(case, rng)
    if node is None:
        return None
    label = rng.choice((walk.new_name(), "heart_01", "", "  ", "clip", "a % é ☃ & <b>", "two\nlines"))
    node.SetFixedNumberOfControlPoints(False)
    before = set(case.session.state.landmarks.names)
    world = world_of(case, [rng.uniform(-5, SIZE), rng.uniform(-5, SIZE), 0])
    node.AddControlPointWorld(*world, label)
    history = case.session._history
    case.poll()
    after = case.session._history
    if after is history:
        return Expected((), 1)
    rule(len(after.edits[history.index :]) == 1, "a new point is not one edit")
    (name,) = set(case.session.state.landmarks.names) - before
    return one("Place", name)


@step(2)
def label_renamed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    if not case.lists.nodes:
        return None
    name = rng.choice(case.session.state.landmarks.names)
    node, n = control_point(case, name)
    node.SetNthControlPointLabel(n, rng.choice(("apex", "", "two\nlines", "heart_02 ")))
    return Expected((), 1)


@step(1)
def points_swapped(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Up and down in the table of the Markups module."""
    node, _ = _a_list(case, rng)
    if node is None or node.GetNumberOfControlPoints() < 2:
        return None
    n = rng.randrange(node.GetNumberOfControlPoints() - 1)
    node.SwapControlPoints(n, n + 1)
    return NOTHING


@step(1)
def looks_of_a_list(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    node, _ = _a_list(case, rng)
    if node is None:
        return None
    n = rng.randrange(node.GetNumberOfControlPoints())
    # No name with "&": Slicer saves such a node in a scene that it cannot read.
    node.SetName(rng.choice(("my list", "", "é ☃", "chest-1 right_lung")))
    node.SetNthControlPointLocked(n, True)
    node.SetNthControlPointSelected(n, rng.random() < 0.5)
    node.SetNthControlPointVisibility(n, rng.random() < 0.5)
    node.SetNthControlPointDescription(n, "looked at")
    node.SetLocked(rng.random() < 0.5)
    node.GetDisplayNode().SetGlyphScale(7)
    return NOTHING


@step(1)
def display_removed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    nodes = [*case.lists.nodes.values(), case.segments.node, case.image.volume, case.ellipses.node, case.ghosts.node]
    node = rng.choice([node for node in nodes if node is not None])
    if node.GetDisplayNode() is not None:
        walk.scene.RemoveNode(node.GetDisplayNode())
    return NOTHING


@step(3)
def node_removed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    nodes = [*case.lists.nodes.values(), case.segments.node, case.ellipses.node, case.ghosts.node, case.anchor]
    nodes += [
        *case._showing.uv_volumes.nodes.values(),
        case._showing.record._record,
        case._showing.active_name.node,
        case.ellipses._colours,
    ]
    nodes = [node for node in nodes if node is not None]
    for node in rng.sample(nodes, min(len(nodes), rng.choice((1, 1, 2, 4)))):
        remove_node(walk.scene, node)
    return NOTHING


@step(0.7)
def node_cloned(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The Data module's Clone: whatever is copied is somebody else's."""
    nodes = [
        *case.lists.nodes.values(),
        case.segments.node,
        case.image.volume,
        *case._showing.uv_volumes.nodes.values(),
    ]
    node = rng.choice([node for node in nodes if node is not None])
    made = walk.scene.AddNewNodeByClass(node.GetClassName(), "a clone")
    made.CopyContent(node)
    walk.tag(made)
    for name in node.GetAttributeNames():
        if name != FOREIGN:
            made.SetAttribute(name, node.GetAttribute(name))
    return NOTHING


@step(2)
def placed_by_click(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    absent = names_that_are(case, Presence.ABSENT, Presence.UNPLACED)
    name = rng.choice(absent) if absent and rng.random() < 0.5 else rng.choice((walk.new_name(), "heart_01"))
    case.place(name)
    placing = case._placing.node  # type: ignore[union-attr]
    what = rng.choice(("click", "click", "click", "give up", "look around", "remove", "leave"))
    if what == "give up":
        case.give_up_placing()
    elif what == "look around":
        walk.scene.GetNodeByID(_INTERACTION).SetCurrentInteractionMode(2)
    elif what == "remove":
        remove_node(walk.scene, placing)
    elif what == "click":
        placing.AddControlPointWorld(*world_of(case, [rng.uniform(0, SIZE), rng.uniform(0, SIZE), 0]))
        return one("Place" if name in case.session.state.landmarks.names else "Define", name)
    return NOTHING


# ---- steps: the image --------------------------------------------------------------------------------------------------


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


# ---- steps: structures -------------------------------------------------------------------------------------------------


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
    if how == "shifted" and shared:  # Slicer overwrites others in the same label map
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


# ---- steps: the session ------------------------------------------------------------------------------------------------


@step(5)
def command(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """What a browser or a script does."""
    session = case.session
    names = session.state.landmarks.names
    if not names:
        return None
    name, structure = rng.choice(names), rng.choice(TEMPLATE.structure_names)
    (point_lps_mm,) = lps_mm_from_index(
        session.state.geometry, np.array([[rng.uniform(0, SIZE), rng.uniform(0, SIZE), 0]])
    )
    commands: tuple[Callable[[], Any], ...] = (
        lambda: session.accept(name),
        lambda: session.accept_structure(structure),
        lambda: session.mark_absent(*rng.sample(names, min(3, len(names)))),
        lambda: session.mark_unsure(name),
        lambda: session.place(rng.choice((name, walk.new_name())), point_lps_mm, structure),
        lambda: session.place(walk.new_name(), point_lps_mm),
        lambda: session.reset(name),
        lambda: session.reset(*names),
        lambda: session.set_strength(rng.choice((0.0, 0.5, 1.0))),
        lambda: session.move({name: point_lps_mm}),
        lambda: session.define_landmark(walk.new_name(), point_lps_mm, structure),
        lambda: session.unpaint(structure),
        lambda: session.paint(structure, a_stroke(np.zeros((1, SIZE, SIZE), bool), rng)),
        lambda: session.correct_spacing((rng.uniform(1, 9), rng.uniform(1, 9), 1.0)),
        lambda: predict(session, TEMPLATE, shift_px=(rng.uniform(-2, 2), rng.uniform(-2, 2))),
        lambda: predict(session, TEMPLATE, lost=("heart",)),
        lambda: session.restore(session.case.load(rng.choice((0, *session.case.revision_numbers())))[0]),
    )
    try:
        rng.choice(commands)()
    except InputError as error:
        walk.refusals += 1
        rule("\n" not in str(error), "an error is not one line", repr(str(error)))
    return Expected(None, None)


@step(4)
def undo(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    for _ in range(rng.choice((1, 1, 3))):
        session, index = case.session, case.session._history.index
        case.undo()
        case.poll()
        rule(session._history.index == max(index - 1, 0), "an undo is not one step back")
    return Expected((), 0)


@step(3)
def redo(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    for _ in range(rng.choice((1, 1, 3))):
        history = case.session._history
        case.redo()
        case.poll()
        expected = min(history.index + 1, len(history.edits))
        rule(case.session._history.index == expected, "a redo is not one step forward")
    return Expected((), 0)


@step(1)
def undo_all(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """All the way back, all the way forward, and back to where it was: each state is what it was."""
    session, start = case.session, case.session._history.index
    states = {start: session.state}
    ways = [(case.undo, 0, -1), (case.redo, len(session._history.edits), 1), (case.undo, start, -1)]
    for go, end, by in ways:
        while session._history.index != end:
            index = session._history.index
            go()
            case.poll()
            rule(session._history.index == index + by, "undo or redo is not one step", index, session._history.index)
            check(case, walk.lines)
            rule(same(states.setdefault(index + by, session.state), session.state), "another state than before")
    return Expected((), 0)


# ---- steps: the desk ---------------------------------------------------------------------------------------------------


@step(3)
def save(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    state = case.session.state
    saved = case.save()
    rule(same(case.session.case.load(saved.number)[0], state), "not the state that was saved")
    rule(not case.session.unsaved, "what was saved is unsaved")
    return Expected((), None)


@step(2)
def other_opened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The other case beside it, sometimes with an image that is in the scene already."""
    library_case, volume = walk.library_case(rng.randrange(2)), None
    if any(other.session.case.id == library_case.id for other in walk.desk.cases):
        return None
    if rng.random() < 0.4:
        film, _ = library_case.read_image()
        volume = walk.tag(add_volume_node(walk.scene, film))
        volume.SetSpacing(0.7, 0.7, 2.0)
        if rng.random() < 0.3:
            volume.SetAndObserveTransformNodeID(add_transform(walk, rng).GetID())
    opened = walk.desk.open(library_case, volume)
    rule(volume is None or opened.image.volume is volume, "another image than the given one")
    return Expected((), None)


@step(1)
def closed(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Closed and opened again: what was unsaved can be recovered."""
    session = case.session
    state, unsaved = session.state, session.unsaved
    if rng.random() < 0.4:
        for other in walk.desk.cases:
            other.close()
        walk.check_nothing_left()
    else:
        case.close()
    opened = walk.desk.open(walk.library.case(session.case.id))
    if unsaved:
        walk.recover(opened.session, state)
    elif opened.session.revision == session.revision:
        rule(same(session.case.load(session.revision)[0], state), "a closed case is another")
    return Expected((), None)


@step(1)
def next_opened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    session, state = case.session, case.session.state
    following = walk.desk.open_next(case, rng.choice(("doubt", "order", "random")))
    rule(same(session.case.load(session.revision)[0], state), "work was lost on the way to the next case")
    rule(case.is_open == (following is None), "neither here nor there")
    rule(following is None or following.is_open, "the next case is closed")
    return Expected((), None)


@step(1)
def ended(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The application is killed; the next one begins with an empty scene."""
    left = walk.leave()
    begin_anew(walk, new_scene())
    for case_id, (state, unsaved, revision) in left.items():
        opened = walk.desk.open(walk.library.case(case_id))
        if unsaved:
            walk.recover(opened.session, state)
            rule(same(opened.session.state, state), "not what was recovered")
        else:
            rule(same(opened.session.case.load(revision)[0], state), "saved work was lost")
    forget_work(walk, rng)
    return Expected((), None)


def begin_anew(walk: Walk, scene: Any) -> None:
    """Work in another scene from now on, with somebody else's nodes in it."""
    walk.sit_down(scene)
    if not walk.foreign():
        walk.add_foreign()
    walk.seen = walk.foreign()


def forget_work(walk: Walk, rng: random.Random) -> None:
    """What can be recovered is not kept for ever."""
    for case in walk.desk.cases:
        for work in case.session.recoverable:
            if rng.random() < 0.7:
                case.session.discard(work)


@step(1.5)
def reopened(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The scene is saved; the application ends; the scene is opened in the next."""
    path = save_scene(walk.scene, walk.folder / "scene.mrb")
    left = walk.leave()
    begin_anew(walk, read_scene(path))
    opened = walk.desk.reopen()
    rule(len(opened) == len(left), "a case did not come back", walk.lines[-2:])
    for again in opened:
        state, unsaved, _ = left[again.session.case.id]
        if again.two_states is None:
            rule(same(again.session.state, state), "a reopened case is another")
            rule(again.session.unsaved == unsaved, "what is unsaved is not known any more")
        else:  # a colleague, or this person elsewhere, had saved in the meantime
            rule(same(again.two_states.scene_state, state), "the scene's state is another")
            choose_one(walk, again, rng)
    forget_work(walk, rng)
    return Expected((), None)


def choose_one(walk: Walk, case: CaseInScene, rng: random.Random) -> None:
    """Keep what the library has, or the scene; neither is lost."""
    two = case.two_states
    assert two is not None
    walk.desk.poll()
    check(case, walk.lines)
    library_state = case.session.state
    if rng.random() < 0.3:
        return  # the person goes on without choosing
    if rng.random() < 0.5:
        two.keep_scene()
        rule(same(case.session.state, two.scene_state), "the scene's state was not kept")
    else:
        two.keep_library()
        rule(same(case.session.state, library_state), "the library's state was not kept")


@step(1)
def reopened_after_the_library_went_on(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    case.save()
    if rng.random() < 0.5 and case.session.state.landmarks.names:
        case.session.accept(rng.choice(case.session.state.landmarks.names))
    path = save_scene(walk.scene, walk.folder / "scene.mrb")
    state = case.session.state
    for other in walk.desk.cases:
        other.session.set_strength(0.25 if other.session.state.strength != 0.25 else 0.75)
        other.save()
    library_state = case.session.state
    walk.leave()
    begin_anew(walk, read_scene(path))
    for again in walk.desk.reopen():
        if again.session.case.id == case.session.case.id:
            rule(again.two_states is not None, "an older scene is not told", walk.lines[-2:])
            rule(same(again.two_states.scene_state, state), "the scene's state is another")  # type: ignore[union-attr]
            rule(same(again.session.state, library_state), "the library's state is another")
        if again.two_states is not None:
            choose_one(walk, again, rng)
    forget_work(walk, rng)
    return Expected((), None)


@step(1.5)
def reopened_after_drags(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Points are dragged in a saved scene before the cases are reopened, as in a Slicer without us."""
    name = a_present(case, rng)
    if name is None:
        return None
    path = save_scene(walk.scene, walk.folder / "scene.mrb")
    state, case_id = case.session.state, case.session.case.id
    structure, here = _of(case, name), index_of(case, name)
    there = here + [rng.uniform(0.3, 2), rng.uniform(-2, 2), 0]
    world, row = world_of(case, list(there)), case.lists.names_of(structure).index(name)
    list_name = case.lists.nodes[structure].GetID()
    walk.leave()
    begin_anew(walk, read_scene(path))
    (record,) = [one for one in saved_cases(walk.scene) if one.case_id == case_id and one.record is not None][:1]
    nodes = [node for node in record.lists if node.GetAttribute("DenseLandmarks.Structure") == structure]
    if not nodes:
        return None
    del list_name
    nodes[0].SetNthControlPointPositionWorld(row, *world)
    walk.desk.reopen()
    again = next((one for one in walk.desk.cases if one.session.case.id == case_id), None)
    rule(again is not None, "a case did not come back", walk.lines[-2:])
    assert again is not None
    if again.two_states is not None:
        choose_one(walk, again, rng)
        return Expected((), None)
    if same(again.session.state, state):
        rule("expected a correction" in walk.lines[-1], "a drag before the reopening was lost", name)
        return Expected((), None)
    rule(np.allclose(index_of(again, name)[:2], there[:2], atol=1e-3), "not where it was dragged", name)
    last = again.session._history.edits[again.session._history.index - 1]
    rule(described(last) == ("Move", name), "more than the drag was done", described(last))
    return Expected((), None)


@step(0.4)
def cleared(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The scene is closed; nothing is lost."""
    before = {other.session: other.session.state for other in walk.desk.cases}
    walk.scene.Clear(rng.random() < 0.5)
    walk.desk.poll()
    rule(not walk.desk.cases, "a case is open in a scene that was closed")
    for session, state in before.items():
        rule(same(session.case.load(session.revision)[0], state), "work was lost with the scene")
    walk.seen = {}
    walk.check_nothing_left()
    walk.add_singletons()
    walk.add_foreign()
    walk.seen = walk.foreign()
    return Expected((), None)


@step(0.4)
def scene_added_again(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """The scene's own bundle is added to it: a line for each case that is open already."""
    path = save_scene(walk.scene, walk.folder / "again.mrb")
    before = {walk.scene.GetNthNode(n).GetID() for n in range(walk.scene.GetNumberOfNodes())}
    read_scene(path, walk.scene)
    rule(walk.desk.reopen() == (), "a case was opened twice")
    for n in range(walk.scene.GetNumberOfNodes()):
        node = walk.scene.GetNthNode(n)
        if node.GetID() not in before:
            walk.tag(node)
            if node.GetAttribute("DenseLandmarks.Anchor") is not None:
                node.RemoveAttribute("DenseLandmarks.Anchor")  # the person lets the double be
    return ANYTHING


@step(1)
def colleague_saves(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """Somebody else saves a revision, perhaps with a new landmark for the library."""
    theirs = Session(walk.library_case(rng.randrange(2)), "a colleague", data_folder=walk.folder / "colleague")
    state = theirs.state
    theirs.set_strength(0.3 if state.strength != 0.3 else 0.6)
    if state.answer is not None and rng.random() < 0.5:
        rows = state.landmarks.of_structure("heart")
        centre = np.nanmean(state.landmarks.points_lps_mm[rows], axis=0)
        try:
            theirs.define_landmark(walk.new_name(), centre + rng.uniform(-5, 5), "heart")
        except InputError:
            walk.refusals += 1
    theirs.save()
    theirs.close()
    return Expected((), None)


@step(0.7)
def batch(walk: Walk, case: CaseInScene, rng: random.Random) -> Expected | None:
    """What a module does while it says that the scene is busy."""
    name = a_present(case, rng)
    if name is None:
        return None
    walk.scene.StartState(walk.scene.BatchProcessState)
    put(case, name, index_of(case, name) + [0.5, 0.5, 0])
    case.poll()
    history = case.session._history
    walk.scene.EndState(walk.scene.BatchProcessState)
    rule(case.session._history is history, "something was done in the middle of a batch")
    return one("Move", name)


# ---- many walks --------------------------------------------------------------------------------------------------------


def draw(seed: int, count: int) -> list[Step]:
    """The steps of a walk."""
    rng = random.Random(seed)
    kinds, weights = list(STEPS), [weight for weight, _ in STEPS.values()]
    return [(rng.choices(kinds, weights)[0], rng.randrange(10**6)) for _ in range(count)]


@contextmanager
def hearing_errors(errors: list[str]) -> Iterator[None]:
    """Collect errors of VTK, errors in callbacks, which VTK only prints, and warnings of the library."""

    def heard(_: Any, __: Any, text: str) -> None:
        # Slicer makes surfaces anew when it empties a segment that has some, and then finds nothing to make them of.
        if "vtkDiscreteFlyingEdges3D" not in text:
            errors.append(text)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    heard.CallDataType = "string0"  # type: ignore[attr-defined]
    window, hook, handler = vtkOutputWindow.GetInstance(), sys.excepthook, Handler(logging.WARNING)
    mode = window.GetDisplayMode()
    window.SetDisplayMode(window.NEVER)  # warnings of a scene without a selection node, and what is packed in a bundle
    tag = window.AddObserver("ErrorEvent", heard)
    sys.excepthook = lambda kind, error, trace: errors.append("".join(traceback.format_exception(kind, error, trace)))
    logging.getLogger("DenseLandmarksLib").addHandler(handler)
    try:
        yield
    finally:
        window.RemoveObserver(tag)
        window.SetDisplayMode(mode)
        sys.excepthook = hook
        logging.getLogger("DenseLandmarksLib").removeHandler(handler)


def walk_along(steps: Sequence[Step]) -> tuple[Walk, int, Exception | None]:
    """Take steps in a library and a scene of their own; returns how many were taken, and what went wrong."""
    with tempfile.TemporaryDirectory(prefix="scene-machine-") as folder:
        walk = Walk(Path(folder))
        with hearing_errors(walk.errors):
            for n, (kind, number) in enumerate(steps):
                try:
                    walk.step(kind, number)
                except Exception as error:  # whatever it is, it is what the walk looks for
                    return walk, n + 1, error
            try:
                walk.desk.close()
                walk.check_nothing_left()
            except Exception as error:
                return walk, len(steps), error
        return walk, len(steps), None


def fault_of(error: Exception) -> tuple[str, ...]:
    """What is the same of two errors that have the same cause."""
    if isinstance(error, BrokenRuleError):
        return (str(error).split(":")[0],)
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__, frames[-1].name


def shortest(steps: Sequence[Step], error: Exception) -> list[Step]:
    """As few of the steps as lead to the same fault."""
    kept, fault = list(steps), fault_of(error)

    def fails(tried: list[Step]) -> bool:
        _, taken, again = walk_along(tried)
        del taken
        return again is not None and fault_of(again) == fault

    size = max(len(kept) // 2, 1)
    while True:
        n, cut = 0, False
        while n < len(kept):
            without = kept[:n] + kept[n + size :]
            if fails(without):
                kept, cut = without, True
            else:
                n += size
        if size == 1 and not cut:
            return kept
        size = max(size // 2, 1)


def main() -> int:
    """Walk until enough steps were taken; a fault is cut down and shown."""
    parser = argparse.ArgumentParser(prog="python -m Testing.scene.scene_machine", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps to take in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first walk; the others follow")
    parser.add_argument("--go-on", action="store_true", help="go on after a fault")
    arguments = parser.parse_args()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    started, taken, seed, faults = time.perf_counter(), 0, arguments.seed, 0
    kinds: Counter[str] = Counter()
    done = refused = 0
    known: set[tuple[str, ...]] = set()
    while taken < arguments.steps:
        steps = draw(seed, STEPS_OF_A_WALK)
        walk, count, error = walk_along(steps)
        taken += count
        kinds += walk.taken
        done, refused = done + walk.edits, refused + walk.refusals
        if error is not None:
            faults += 1
            print(f"seed {seed}: {''.join(traceback.format_exception(error))}", flush=True)
            if fault_of(error) not in known:
                known.add(fault_of(error))
                print(f"shortest: {shortest(steps[:count], error)}", flush=True)
            if not arguments.go_on:
                return 1
        seed += 1
    by_kind = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
    print(
        f"{taken} random steps, {done} edits, {refused} refusals, {faults} faults, {time.perf_counter() - started:.0f} s"
    )
    print(by_kind)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
