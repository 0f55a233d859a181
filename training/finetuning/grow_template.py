"""Landmarks that people defined in a library become landmarks of the template that a model is trained to find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template


class GrownTemplate(NamedTuple):
    """The template, the names of its ``new_landmarks``, and a line for each landmark that people placed and that is not learned.

    That is one that was defined on another template, or on none.
    """

    template: Template
    new_landmarks: tuple[str, ...]
    lines: tuple[str, ...]


def grown_template(
    template: Template, extension: Sequence[NewLandmark], decisions: Sequence[Decisions]
) -> GrownTemplate:
    """The template with the landmarks of a library's ``extension`` that somebody placed in one of the cases at least."""
    placed = {one.name for case in decisions for one in case.landmarks if one.index_ijk is not None}
    grown, new, lines = template, list[str](), list[str]()
    keys = {structure.name: structure.key for structure in template.structures}
    defined = {landmark.name: landmark for landmark in extension}
    for name in (name for name in defined if name in placed and name not in template.landmark_names):
        landmark = defined[name]
        if keys.get(landmark.structure) != landmark.template_key:
            lines.append(
                f"{name!r} was defined on another template of {landmark.structure}: it is not learned. Define it again in a "
                "case that this model predicted."
            )
            continue
        grown = grown.with_landmark(landmark.structure, name, landmark.uv)
        new.append(name)
    lines += [
        f"{name!r} is not on the template, and nobody defined it in the library: it is not learned. Define it as a new landmark."
        for name in sorted(placed - set(defined) - set(template.landmark_names))
    ]
    return GrownTemplate(grown, tuple(new), tuple(lines))
