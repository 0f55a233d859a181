"""Steps: opening, leaving, saving and reopening."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.saved_case import same, saved_cases
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.saved_scene import new_scene, read_scene, save_scene
from Testing.scene.walk.person import Walk, check, described
from Testing.scene.walk.places import world_of
from Testing.scene.walk.rules import ANYTHING, Expected, one, rule
from Testing.scene.walk.steps import a_present, add_transform, index_of, put, step, the_structure_of


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
    structure, here = the_structure_of(case, name), index_of(case, name)
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
