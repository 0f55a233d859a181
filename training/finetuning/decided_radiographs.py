"""What people decided in the radiographs of a library, on a model's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import VIEWS, View
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.other_side import names_of_other_side
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.expectation import Expectation, choose_view
from training.finetuning.decided_view import view_of_decided
from training.grid_cases import GridCases

FloatArray = NDArray[np.float64]
SPLIT = "train"


@dataclass(frozen=True)
class DecidedRadiographs:
    """The cases as :class:`GridCases` with weights, absent landmarks and masks, their ids, and a line for each left out."""

    cases: GridCases
    case_ids: tuple[str, ...]
    lines: tuple[str, ...]


def nothing_to_learn(decided: Decisions) -> InputError:
    """That a case is left out, for want of anything that the model could learn."""
    return InputError(
        f"expected landmarks or structures of the model in case {decided.name}, got none that were decided. It is left out."
    )


def only_absences(decided: Decisions) -> InputError:
    """That a case is left out, in which all that was decided is absent, and the model is not taught absence."""
    return InputError(
        f"expected a landmark that is there or a structure in case {decided.name}, got only absent landmarks, which this "
        "model's recipe does not teach (loss.absent_weight is 0). It is left out."
    )


def no_case(lines: Sequence[str]) -> InputError:
    """That all cases were left out, and why the first one was."""
    why = lines[0] if lines else "Correct some."
    return InputError(f"expected at least one case with decisions and its image, got none. {why}")


@dataclass(frozen=True)
class _OnGrid:
    """One case: image (H, W), landmarks (L, 2) in grid pixels, weights and absent (L,), masks, mm per grid pixel.

    Where the spacing of the image is unknown ``mm_per_pixel`` is NaN: its errors are no millimetres.
    ``too_small`` names structures whose mask has pixels in the image and none on the grid.
    """

    image: NDArray[np.float16]
    points: FloatArray
    weights: NDArray[np.float32]
    absent: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    mm_per_pixel: float
    too_small: tuple[str, ...]


def read_decided_radiographs(
    decisions: Sequence[Decisions],
    library: Library,
    template: Template,
    grid_size: tuple[int, int],
    expectation: Expectation,
    weight_of: Callable[[Review], float],
    either_side: bool = False,
    teaches_absence: bool = True,
    between_cases: Callable[[], None] = lambda: None,
) -> DecidedRadiographs:
    """All decisions about the landmarks and structures of ``template``, on a grid of ``grid_size`` (height, width).

    ``weight_of`` says what a review teaches; what teaches nothing is as if nobody had decided it. A model that knows
    ``either_side`` sees the other one mirrored, and calls its landmarks what they are there.

    A case whose image is gone, or is none of a radiograph, or in which nothing of the model's was decided, is left out with a
    line; so is one of absent landmarks alone unless the run ``teaches_absence``. A mask that covers no pixel of the grid is left
    out with a line too: it would teach that the structure is not there. ``between_cases`` is called before each case is read
    and may raise what ends it. Raises :class:`InputError` where none is left.
    """
    found: list[tuple[Decisions, _OnGrid]] = []
    lines = list[str]()
    for decided in decisions:
        between_cases()
        try:
            image, _ = library.case(decided.case_id).read_image(decided.geometry)
            if not image.is_radiograph:
                raise InputError(f"expected a radiograph in case {decided.name}, got a volume. It is left out.")
            one = _on_grid(decided, image, template, grid_size, expectation, weight_of, either_side)
            lines += [
                f"{decided.name}: the mask of {name} covers no pixel; only its points teach" for name in one.too_small
            ]
            if not one.weights.any() and not one.masks:
                raise nothing_to_learn(decided)
            if not teaches_absence and not one.weights[~one.absent].any() and not one.masks:
                raise only_absences(decided)
            found.append((decided, one))
        except InputError as error:
            lines.append(str(error))
    if not found:
        raise no_case(lines)
    ones = [one for _, one in found]
    cases = GridCases(
        library.name,
        tuple(decided.name for decided, _ in found),
        (SPLIT,) * len(found),
        np.stack([one.image for one in ones]),
        np.stack([one.points for one in ones]),
        np.array([one.mm_per_pixel for one in ones]),
        template.landmark_names,
        tuple(structure.name for structure in template.structures for _ in structure.landmark_names),
        np.stack([one.weights for one in ones]),
        np.stack([one.absent for one in ones]),
        tuple(one.masks for one in ones),
        tuple(
            {name: weight_of(Review.CORRECTED if name in decided.painted else Review.VERIFIED) for name in one.masks}
            for decided, one in found
        ),
    )
    return DecidedRadiographs(cases, tuple(decided.case_id for decided, _ in found), tuple(lines))


def _on_grid(
    decided: Decisions,
    image: MedicalImage,
    template: Template,
    grid_size: tuple[int, int],
    expectation: Expectation,
    weight_of: Callable[[Review], float],
    either_side: bool,
) -> _OnGrid:
    """One case through the view in which the model knows what is in it."""
    taught = {decision.name: decision for decision in decided.landmarks if weight_of(decision.review) > 0}

    def names_in(view: View) -> tuple[str, ...]:
        return names_of_other_side(template) if either_side and view.flip else template.landmark_names

    def points_in(grid: Grid) -> FloatArray:
        points = np.full((len(template.landmark_names), 2), np.nan)
        for row, name in enumerate(names_in(grid.view)):
            index_ijk = taught[name].index_ijk if name in taught else None
            if index_ijk is not None:
                points[row] = grid.from_pixels([index_ijk[:2]])[0]
        return points

    def size_of(grid: Grid) -> float:
        return float(grid.pixel_size(image.volume.GetSpacing()[:2])[0])

    def points_mm(view: View) -> FloatArray:
        grid = fit_grid(image, grid_size, view)
        return points_in(grid) * size_of(grid)

    view = decided.view
    if view is None:
        stated = choose_view(expectation, image.acquisition)[0]
        view = view_of_decided(stated, template, points_mm, [view for view in VIEWS if view.turn_deg])
    grid = fit_grid(image, grid_size, view)
    rows = [taught.get(name) for name in names_in(view)]
    on_image = {name: mask[0] for name, mask in decided.masks.items() if name in template.structure_names}
    masks = {name: grid.mask_from_image(mask) for name, mask in on_image.items()}
    too_small = tuple(name for name, mask in masks.items() if on_image[name].any() and not mask.any())
    return _OnGrid(
        grid.resample(image.pixels_yx).astype(np.float16),
        points_in(grid),
        np.array([0.0 if row is None else weight_of(row.review) for row in rows], np.float32),
        np.array([row is not None and row.index_ijk is None for row in rows], bool),
        {name: mask for name, mask in masks.items() if name not in too_small},
        float("nan") if image.spacing_source is SpacingSource.UNKNOWN else size_of(grid),
        too_small,
    )
