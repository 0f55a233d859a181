"""The warp of one structure of a case: from where its landmarks were predicted to where they are now."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.plane import plane_mm_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.landmarks.propagation import FIXED
from DenseLandmarksLib.landmarks.warp import Warp


def structure_warp(landmarks: LandmarkSet, structure: str, geometry: ImageGeometry) -> Warp:
    """The warp that everything of ``structure`` follows: its mask, its uv map, and what is looked up in it.

    In millimetres in the plane of a radiograph (:mod:`DenseLandmarksLib.geometry.plane`), of LPS in a volume. What a
    person verified, corrected or placed is met exactly, what was moved along as closely as a smooth map can. Landmarks
    that are not present, or were never predicted, say nothing; the identity where none is left.
    """
    rows = landmarks.of_structure(structure)
    present = np.array([landmarks.presence[i] is Presence.PRESENT for i in rows], bool)
    predicted, now = landmarks.predicted_lps_mm[rows], landmarks.points_lps_mm[rows]
    usable = present & np.isfinite(predicted).all(axis=1) & np.isfinite(now).all(axis=1)
    fixed = np.array([landmarks.review[i] in FIXED for i in rows], bool)
    predicted, now, fixed = predicted[usable], now[usable], fixed[usable]
    if geometry.is_radiograph:
        predicted, now = plane_mm_from_lps_mm(geometry, predicted), plane_mm_from_lps_mm(geometry, now)
    return Warp.between(predicted, now, fixed)
