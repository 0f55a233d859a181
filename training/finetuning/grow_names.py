"""Landmarks that people placed in volumes under a name that a model does not know become landmarks that it is trained to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import BundleDescription
from training.finetuning.decided_landmarks import decided_landmarks
from training.finetuning.grow_shape import shown_with_shape
from training.finetuning.own_cases import is_of_model


class GrownNames(NamedTuple):
    """The ``names`` of all landmarks, the model's first, and their ``structures``; a line for each that is not learned."""

    names: tuple[str, ...]
    structures: tuple[str, ...]
    lines: tuple[str, ...]


def grown_names(
    parent: BundleDescription, decisions: Sequence[Decisions], weight_of: Callable[[Review], float]
) -> GrownNames:
    """The landmarks of ``parent`` and, behind them, those that people placed under another name in volumes that are its own.

    What another model predicted and a person accepted or moved is that model's, and none of this one's. Where the parent has a
    joint shape, a new landmark needs a place in it: it is learned only where a case shows it beside as many of the parent's
    landmarks as make a pose.
    """
    volumes = [case for case in decisions if not case.geometry.is_radiograph]
    placed: dict[str, str] = {}
    for decision in (one for case in volumes if is_of_model(case, parent) for one in case.landmarks):
        if decision.review is Review.PLACED and decision.index_ijk is not None:
            # Placed where no structure is to choose from: listed under its own name.
            placed.setdefault(decision.name, decision.structure or decision.name)
    new = [name for name in placed if name not in parent.landmark_names]
    without_place = list[str]()
    if new and parent.joint_shape:
        names = (*parent.landmark_names, *new)
        points = np.stack([decided_landmarks(case, names, weight_of).points_lps_mm for case in volumes])
        shown = shown_with_shape(points, range(len(parent.landmark_names)))
        without_place = [name for name, is_shown in zip(names, shown, strict=True) if name in new and not is_shown]
    lines = tuple(
        f"{name!r} is not learned: no case shows it beside three landmarks that {parent.name} knows. Verify them where it was "
        "placed."
        for name in without_place
    )
    learned = [name for name in new if name not in without_place]
    return GrownNames(
        (*parent.landmark_names, *learned),
        (*parent.landmark_structures, *(placed[name] for name in learned)),
        lines,
    )
