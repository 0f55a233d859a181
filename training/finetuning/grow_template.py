"""Landmarks that people defined in a library become landmarks of the template that a model is trained to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import BundleDescription
from training.finetuning.decided_radiographs import DecidedRadiographs
from training.finetuning.own_cases import is_of_model


class GrownTemplate(NamedTuple):
    """The template, the names of its ``new_landmarks``, and a line for each landmark that people placed and that is not learned.

    That is one that was defined on another template, or on none, in a radiograph of the model's.
    """

    template: Template
    new_landmarks: tuple[str, ...]
    lines: tuple[str, ...]


def grown_template(
    parent: BundleDescription, extension: Sequence[NewLandmark], decisions: Sequence[Decisions]
) -> GrownTemplate:
    """The parent's template with the landmarks of a library's ``extension`` that somebody placed in one of the cases at least."""
    radiographs = [case for case in decisions if case.geometry.is_radiograph]
    placed = _placed(radiographs)
    # Of what other models find there is nothing to say.
    own = _placed([case for case in radiographs if is_of_model(case, parent)])
    template = parent.need_template()
    grown, new, lines = template, list[str](), list[str]()
    keys = {structure.name: structure.key for structure in template.structures}
    defined = {landmark.name: landmark for landmark in extension}
    for name in (name for name in defined if name in placed and name not in template.landmark_names):
        landmark = defined[name]
        if keys.get(landmark.structure) == landmark.template_key:
            grown = grown.with_landmark(landmark.structure, name, landmark.uv)
            new.append(name)
        elif name in own:
            lines.append(
                f"{name!r} was defined on another template of {landmark.structure}: it is not learned. Define it again in a "
                "case that this model predicted."
            )
    lines += [
        f"{name!r} is not on the template, and nobody defined it in the library: it is not learned. Define it as a new landmark."
        for name in sorted(own - set(defined) - set(template.landmark_names))
    ]
    return GrownTemplate(grown, tuple(new), tuple(lines))


def read_with_new_landmarks(
    parent: BundleDescription,
    extension: Sequence[NewLandmark],
    decisions: Sequence[Decisions],
    read: Callable[[Template], DecidedRadiographs],
) -> tuple[GrownTemplate, DecidedRadiographs]:
    """The grown template, and what ``read`` finds of it; a landmark is new only where a case that was read has it."""
    grown = grown_template(parent, extension, decisions)
    found = read(grown.template)
    left = grown_template(parent, extension, [case for case in decisions if case.case_id in found.case_ids])
    if left.new_landmarks != grown.new_landmarks:
        found = read(left.template)
    return left._replace(lines=grown.lines), found


def _placed(cases: Sequence[Decisions]) -> set[str]:
    """Names that somebody says are somewhere."""
    return {one.name for case in cases for one in case.landmarks if one.index_ijk is not None}
