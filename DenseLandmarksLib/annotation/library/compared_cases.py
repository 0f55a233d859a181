"""Which cases two versions of a model are compared on: one rule for the comparison, its curve, and what a person is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from DenseLandmarksLib.annotation.library.comparison import for_comparison
from DenseLandmarksLib.annotation.library.decisions import Decision, Decisions
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.models.bundle import BundleDescription


class ComparedCases(NamedTuple):
    """The ``cases``, and by id a line for each that was ``left_out``."""

    cases: tuple[Decisions, ...]
    left_out: dict[str, str]


def decided_blind(decisions: Sequence[Decisions]) -> tuple[Decisions, ...]:
    """Cases with something blind in them, of patients who are there for comparison, whatever the model."""
    patients = for_comparison(decisions)
    return tuple(case for case in decisions if case.person in patients and case.blind)


def persons_of(entries: Sequence[CaseEntry]) -> dict[str, str]:
    """By the ids of all cases of a library the person, as :attr:`Decisions.person` names them."""
    return {entry.id: entry.patient or entry.id for entry in entries}


def compared_cases(
    blind: Sequence[Decisions],
    persons: Mapping[str, str],
    model: BundleDescription,
    known: Collection[str],
    taught: Collection[str],
) -> ComparedCases:
    """Of the cases that were :func:`decided_blind` those that can say which version is better.

    Parameters
    ----------
    persons : see :func:`persons_of`.
    model : any of the versions.
    known : landmarks that all versions know.
    taught : ids of cases that one of them learnt from; it is not compared on their patients.
    """
    learnt = {persons.get(case_id, case_id) for case_id in taught}
    cases, left_out = [], {}
    for case in blind:
        if reason := _why_not(case, model, known, learnt):
            left_out[case.case_id] = f"{case.name}: left out; {reason}"
        else:
            cases.append(case)
    return ComparedCases(tuple(cases), left_out)


def placed_blind(case: Decisions, known: Collection[str]) -> list[tuple[Decision, tuple[float, float, float]]]:
    """Landmarks that were placed without a prediction in sight and are ``known``, with their continuous voxels (i, j, k)."""
    return [
        (landmark, landmark.index_ijk)
        for landmark in case.landmarks
        if landmark.index_ijk is not None and landmark.name in case.blind and landmark.name in known
    ]


def _why_not(case: Decisions, model: BundleDescription, known: Collection[str], learnt: Collection[str]) -> str:
    slices = case.geometry.size[2]
    if model.is_for_radiographs != (slices == 1):
        expected = "a radiograph" if model.is_for_radiographs else "a volume"
        return f"expected {expected} for {model.name}, got {'one slice' if slices == 1 else f'{slices} slices'}"
    if case.person in learnt:
        return "one of the versions learnt from an image of its patient"
    if case.left_to_place:
        return f"{case.left_to_place} of the landmarks that were asked for are not decided yet"
    if case.geometry.spacing_source is SpacingSource.UNKNOWN:
        return "the spacing of its image is unknown, so that there are no millimetres; measure it once"
    if not placed_blind(case, known):
        return "no landmark that both versions know was placed in it without a prediction in sight"
    return ""
