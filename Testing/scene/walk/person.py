"""One person at a desk, and what is checked after each step."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.history import History
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import from_vtk, to_vtk
from DenseLandmarksLib.scene.saved_case import same, saved_cases
from Testing.scene.open_cases import chest_library, everything_is_on_its_voxel, predict
from Testing.scene.saved_scene import new_scene, nodes_of, save_scene
from Testing.scene.walk.places import mask_in_scene, sight
from Testing.scene.walk.rules import (
    DEFINED,
    FOREIGN,
    INTERACTION,
    LIST,
    SEGMENTATION,
    SELECTION,
    SIZE,
    STATUS,
    TEMPLATE,
    Node,
    rule,
)
from Testing.scene.walk.steps import STEPS


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
            (slicer.vtkMRMLSelectionNode(), SELECTION),
            (slicer.vtkMRMLInteractionNode(), INTERACTION),
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
            and node.GetID() not in (*attached, SELECTION, INTERACTION)
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
        selected = case._scene.GetNodeByID(SELECTION).GetActivePlaceNodeID()
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
