"""What people decided in the volumes of a library, at the levels of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.intensity import IntensityRecipe
from training.finetuning.decided_landmarks import decided_landmarks
from training.finetuning.decided_radiographs import no_case, nothing_to_learn
from training.finetuning.grow_names import grown_names
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


def read_decided_volumes(
    decisions: Sequence[Decisions],
    library: Library,
    parent: BundleDescription,
    spacings_mm: Sequence[float],
    intensity: IntensityRecipe,
    weight_of: Callable[[Review], float],
    between_cases: Callable[[], None] = lambda: None,
) -> DecidedVolumes:
    """All decisions about the landmarks of ``parent`` and those that are new; ``weight_of`` says what a review teaches.

    What teaches nothing is as if nobody had decided it. A case whose image is gone, or is a radiograph, or in which nothing of
    the model's was decided, is left out with a line. A new landmark is one of :func:`grown_names` in the cases that are left.
    ``between_cases`` is called before each case is read and may raise what ends it. Raises :class:`InputError` where none is
    left.
    """
    grown = grown_names(parent, decisions, weight_of)
    read: list[tuple[Decisions, StoredPyramid]] = []
    lines = list(grown.lines)
    for decided in decisions:
        between_cases()
        try:
            if not decided_landmarks(decided, grown.names, weight_of).weights.any():
                raise nothing_to_learn(decided)
            image, _ = library.case(decided.case_id).read_image(decided.geometry)
            if image.is_radiograph:
                raise InputError(f"expected a volume in case {decided.name}, got a radiograph. It is left out.")
            read.append((decided, pyramid_of(image, spacings_mm, intensity)))
        except InputError as error:
            lines.append(str(error))
    # Of a landmark that was placed only in cases which are left out there is nothing to learn from.
    names, structures, _ = grown_names(parent, [decided for decided, _ in read], weight_of)
    taught = [(decided, pyramid, decided_landmarks(decided, names, weight_of)) for decided, pyramid in read]
    lines += [str(nothing_to_learn(decided)) for decided, _, landmarks in taught if not landmarks.weights.any()]
    found = [one for one in taught if one[2].weights.any()]
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
