"""Steps: what a person does to landmarks."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.nodes import remove_node
from Testing.scene.open_cases import control_point, point_lps_mm
from Testing.scene.walk.person import Walk, described
from Testing.scene.walk.places import to_world, world_of
from Testing.scene.walk.rules import ANYTHING, DEFINED, FOREIGN, INTERACTION, NOTHING, SIZE, Expected, Node, one, rule
from Testing.scene.walk.steps import (
    a_present,
    add_transform,
    elsewhere,
    index_of,
    names_that_are,
    put,
    step,
    the_structure_of,
)
from Testing.scene.walk.structure_steps import a_stroke


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
        case.session.place(walk.new_name(), point_lps_mm(case, name) + 1, the_structure_of(case, name))
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
    ordered = [
        name
        for of in case.lists.nodes
        for name in landmarks.names
        if name in names and the_structure_of(case, name) == of
    ]
    return one("Move", *ordered)


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
        (("Place", new), lambda: session.place(new, point_lps_mm(case, other) + 1, the_structure_of(case, name))),
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
    present = [name for name in names_that_are(case, Presence.PRESENT) if the_structure_of(case, name) == structure]
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
    kind, name = described(after.edits[history.index])
    rule(kind == "Place" and name not in before, "a new point is no new landmark", kind, name)
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
        walk.scene.GetNodeByID(INTERACTION).SetCurrentInteractionMode(2)
    elif what == "remove":
        remove_node(walk.scene, placing)
    elif what == "click":
        placing.AddControlPointWorld(*world_of(case, [rng.uniform(0, SIZE), rng.uniform(0, SIZE), 0]))
        return one("Place" if name in case.session.state.landmarks.names else "Define", name)
    return NOTHING
