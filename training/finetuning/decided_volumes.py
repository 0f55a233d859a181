"""What people decided in the volumes of a library, at the levels of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.intensity import IntensityRecipe
from training.finetuning.decided_radiographs import no_case, nothing_to_learn
from training.read_volumes import pyramid_of
from training.stored_pyramid import StoredPyramid
from training.volume_cases import VolumeCases

SPLIT = "train"


@dataclass(frozen=True)
class DecidedVolumes:
    """The cases with their weights, their ids, and a line for each that was left out."""

    cases: VolumeCases
    case_ids: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Landmarks:
    """Of one case: ``points_lps_mm`` (L, 3) NaN where unknown, ``absent`` (L,) and ``weights`` (L,)."""

    points_lps_mm: NDArray[np.float64]
    absent: NDArray[np.bool_]
    weights: NDArray[np.float64]


def grown_names(
    names: Sequence[str], structures: Sequence[str], decisions: Sequence[Decisions]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Landmarks and their structures: those of a model and, behind them, those that people placed under another name."""
    found = dict(zip(names, structures, strict=True))
    for case in decisions:
        for decision in case.landmarks:
            if decision.index_ijk is not None:
                # Placed where no structure is to choose from: listed under its own name.
                found.setdefault(decision.name, decision.structure or decision.name)
    return tuple(found), tuple(found.values())


def read_decided_volumes(
    decisions: Sequence[Decisions],
    library: Library,
    names: tuple[str, ...],
    structures: tuple[str, ...],
    spacings_mm: Sequence[float],
    intensity: IntensityRecipe,
    weight_of: Callable[[Review], float],
) -> DecidedVolumes:
    """All decisions about the landmarks ``names``; ``weight_of`` says what a review teaches.

    What teaches nothing is as if nobody had decided it. A case whose image is gone, or is a radiograph, or in which nothing of
    the model's was decided, is left out with a line. Raises :class:`InputError` where none is left.
    """
    found: list[tuple[Decisions, StoredPyramid, _Landmarks]] = []
    lines = []
    for decided in decisions:
        try:
            landmarks = _landmarks(decided, names, weight_of)
            if not landmarks.weights.any():
                raise nothing_to_learn(decided)
            image, _ = library.case(decided.case_id).read_image(decided.geometry)
            if image.is_radiograph:
                raise InputError(f"expected a volume in case {decided.name}, got a radiograph. It is left out.")
            found.append((decided, pyramid_of(image, spacings_mm, intensity), landmarks))
        except InputError as error:
            lines.append(str(error))
    if not found:
        raise no_case(lines)
    cases = VolumeCases(
        library.name,
        tuple(decided.name for decided, _, _ in found),
        (SPLIT,) * len(found),
        tuple(pyramid for _, pyramid, _ in found),
        np.stack([landmarks.points_lps_mm for _, _, landmarks in found]),
        np.stack([landmarks.absent for _, _, landmarks in found]),
        names,
        structures,
        intensity,
        np.stack([landmarks.weights for _, _, landmarks in found]),
    )
    return DecidedVolumes(cases, tuple(decided.case_id for decided, _, _ in found), tuple(lines))


def _landmarks(decided: Decisions, names: tuple[str, ...], weight_of: Callable[[Review], float]) -> _Landmarks:
    """What one case says of the landmarks ``names``."""
    said = _Landmarks(np.full((len(names), 3), np.nan), np.zeros(len(names), bool), np.zeros(len(names)))
    for decision in decided.landmarks:
        if decision.name not in names or not weight_of(decision.review) > 0:
            continue
        row = names.index(decision.name)
        said.weights[row] = weight_of(decision.review)
        if decision.index_ijk is None:
            said.absent[row] = True
        else:
            said.points_lps_mm[row] = lps_mm_from_index(decided.geometry, [decision.index_ijk])[0]
    return said


def with_replayed(cases: VolumeCases, original: VolumeCases) -> VolumeCases:
    """The library's cases and then the original ones, in which nobody knows of landmarks that they lack.

    Raises :class:`InputError` where they share none.
    """
    if not set(cases.landmark_names) & set(original.landmark_names):
        raise InputError(
            f"expected data of the model's landmarks to replay, {original.data_name} has none of them. Give the data that "
            "the model was trained on."
        )
    assert cases.weights is not None
    points = np.full((len(original), len(cases.landmark_names), 3), np.nan)
    absent = np.zeros(points.shape[:2], bool)
    for row, name in enumerate(cases.landmark_names):
        if name in original.landmark_names:
            column = original.landmark_names.index(name)
            points[:, row], absent[:, row] = original.points_lps_mm[:, column], original.absent[:, column]
    weights: NDArray[np.float64] = np.ones(absent.shape)
    return VolumeCases(
        cases.data_name,
        cases.names + original.names,
        cases.splits + original.splits,
        cases.pyramids + original.pyramids,
        np.concatenate([cases.points_lps_mm, points]),
        np.concatenate([cases.absent, absent]),
        cases.landmark_names,
        cases.landmark_structures,
        cases.intensity,
        np.concatenate([cases.weights, weights]),
    )
