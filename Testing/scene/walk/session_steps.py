"""Steps: commands, undo and redo."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.saved_case import same
from Testing.scene.open_cases import predict
from Testing.scene.walk.person import Walk, check
from Testing.scene.walk.rules import SIZE, TEMPLATE, Expected, rule
from Testing.scene.walk.steps import step
from Testing.scene.walk.structure_steps import a_stroke


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
