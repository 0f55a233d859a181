"""Which landmarks say where a structure went: those that are there, and most of all those that a person placed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.plane import plane_mm_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.structure_warp import structure_warp

COSINE, SINE = np.cos(0.3), np.sin(0.3)
DIRECTION = (COSINE, 0.0, SINE, SINE, 0.0, -COSINE, 0.0, -1.0, 0.0)
RADIOGRAPH = ImageGeometry((400, 300, 1), (0.5, 0.8, 1.0), (-20.0, 35.0, 4.0), DIRECTION, SpacingSource.CALIBRATED)
VOLUME = replace(RADIOGRAPH, size=(100, 100, 80))
COUNT = 12


def landmarks_in(geometry: ImageGeometry) -> LandmarkSet:
    """A ring on the heart, and one more landmark on the lung."""
    angle = np.linspace(0, 2 * np.pi, COUNT, endpoint=False)
    depth = np.zeros(COUNT) if geometry.is_radiograph else 5 * angle
    index = np.column_stack([50 + 20 * np.cos(angle), 50 + 20 * np.sin(angle), depth])
    points = lps_mm_from_index(geometry, np.vstack([index, [[10, 10, 0]]]))
    names = tuple(f"heart_{i}" for i in range(COUNT))
    return replace(
        LandmarkSet.unplaced((*names, "lung"), (*["heart"] * COUNT, "lung")),
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT,) * (COUNT + 1),
    )


def dragged(
    landmarks: LandmarkSet, row: int, by_lps_mm: NDArray[np.float64], review: Review = Review.CORRECTED
) -> LandmarkSet:
    points, reviews = landmarks.points_lps_mm.copy(), list(landmarks.review)
    points[row] += by_lps_mm
    reviews[row] = review
    return replace(landmarks, points_lps_mm=points, review=tuple(reviews))


def in_plane(geometry: ImageGeometry, x: float, y: float) -> NDArray[np.float64]:
    """A step of millimetres along the axes of the image, in LPS."""
    return geometry.axes_lps @ np.array([x, y, 0.0])


def test_a_structure_that_nobody_touched_stays_to_the_last_bit() -> None:
    landmarks = dragged(landmarks_in(RADIOGRAPH), COUNT, in_plane(RADIOGRAPH, 5, 5))
    assert structure_warp(landmarks, "heart", RADIOGRAPH).is_identity
    assert not structure_warp(landmarks, "lung", RADIOGRAPH).is_identity
    assert structure_warp(landmarks, "spine", RADIOGRAPH).is_identity


def test_a_dragged_landmark_takes_its_place_along_in_the_plane() -> None:
    landmarks = dragged(landmarks_in(RADIOGRAPH), 3, in_plane(RADIOGRAPH, 2, -1))
    warp = structure_warp(landmarks, "heart", RADIOGRAPH)
    before = plane_mm_from_lps_mm(RADIOGRAPH, landmarks.predicted_lps_mm[[3]])
    np.testing.assert_allclose(warp.forward(before), before + np.array([2, -1]), atol=1e-9)


def test_in_a_volume_it_is_a_warp_of_space() -> None:
    landmarks = dragged(landmarks_in(VOLUME), 3, np.array([1.0, -2.0, 3.0]))
    warp = structure_warp(landmarks, "heart", VOLUME)
    np.testing.assert_allclose(
        warp.forward(landmarks.predicted_lps_mm[[3]]), landmarks.points_lps_mm[[3]], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("review", [Review.CORRECTED, Review.PLACED, Review.VERIFIED])
def test_what_a_person_fixed_is_met_exactly_and_the_rest_nearly(review: Review) -> None:
    landmarks = dragged(landmarks_in(RADIOGRAPH), 3, in_plane(RADIOGRAPH, 4, 0), review)
    warp = structure_warp(landmarks, "heart", RADIOGRAPH)
    predicted = plane_mm_from_lps_mm(RADIOGRAPH, landmarks.predicted_lps_mm[:COUNT])
    now = plane_mm_from_lps_mm(RADIOGRAPH, landmarks.points_lps_mm[:COUNT])
    missed = np.linalg.norm(warp.backward(now) - predicted, axis=1)
    assert missed[3] < 1e-9
    assert 1e-3 < np.delete(missed, 3).max() < 2


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.UNPLACED])
def test_a_landmark_that_is_not_there_says_nothing(presence: Presence) -> None:
    landmarks = dragged(landmarks_in(RADIOGRAPH), 3, in_plane(RADIOGRAPH, 30, 0))
    presences = list(landmarks.presence)
    presences[3] = presence
    assert structure_warp(replace(landmarks, presence=tuple(presences)), "heart", RADIOGRAPH).is_identity


def test_a_landmark_that_no_model_predicted_says_nothing() -> None:
    landmarks = dragged(landmarks_in(RADIOGRAPH), 3, in_plane(RADIOGRAPH, 30, 0), Review.PLACED)
    predicted = landmarks.predicted_lps_mm.copy()
    predicted[3] = np.nan
    assert structure_warp(replace(landmarks, predicted_lps_mm=predicted), "heart", RADIOGRAPH).is_identity
