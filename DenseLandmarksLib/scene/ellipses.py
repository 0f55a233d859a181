"""How sure the model is of each landmark: the region that holds it with 90 %, coloured by confidence.

On a radiograph that is an ellipse in the image's plane, in a volume the surface of an ellipsoid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.scene.eyes_only import EyesOnlyModel
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.outline import UNIT
from DenseLandmarksLib.scene.ras import FloatArray

# 90 % quantiles of the chi-square distribution with 2 and 3 degrees of freedom: scipy.stats.chi2.ppf(0.9, [2, 3]).
_CHI2_90 = {2: 4.605, 3: 6.251}
# Where a person said where the point is, the model's doubt is of no interest any more.
_NOT_SET_BY_A_PERSON = (Review.PREDICTED, Review.UNSURE)
# Half the thickness of the flattest region in the smallest spacing: without any, an ellipsoid has no outline in its plane.
_FLATTEST = 0.05
_COLOURS = 256
# From 0 to 1: stops of the plasma ramp (S. van der Walt and N. Smith, 2015) from its bright end down. Its lightness falls
# all the way, which the colour-blind see as well, and no colour of it is a grey. Its own ends would drown on a film.
_RAMP = (
    (0.995, 0.729, 0.172),
    (0.918, 0.454, 0.340),
    (0.798, 0.280, 0.470),
    (0.631, 0.108, 0.608),
    (0.418, 0.001, 0.658),
)


class Ellipses(EyesOnlyModel):
    """The 90 % regions of a case's predicted landmarks."""

    _what = "confidence"
    _line_pixels = 2

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Bring the regions to what the case says; nothing is touched where nothing changed."""
        node = self._ensure_node(image)
        if not self._shown:
            self._set_colours(confidence_colours(np.linspace(0, 1, _COLOURS)), (0.0, 1.0))
        rows = rows_with_region(state.landmarks)
        centres_ijk = state.index_ijk[rows]
        along_axes = np.linalg.inv(state.geometry.axes_lps)
        covariance_mm2 = along_axes @ state.landmarks.covariance_mm2[rows] @ along_axes.T
        confidence = np.nan_to_num(state.landmarks.confidence[rows])
        now = centres_ijk, covariance_mm2, confidence, image.index_to(node)
        if self._is_shown(now):
            return
        axes = 2 if state.geometry.is_radiograph else 3
        outline = UNIT[axes]
        spacing_mm = np.array(state.geometry.spacing_mm)
        offsets_mm = np.zeros((len(rows), len(outline.points), 3))
        offsets_mm[:, :, :axes] = _region_mm(
            covariance_mm2[:, :axes, :axes], outline.points, _FLATTEST * spacing_mm[:axes].min()
        )
        points_ijk = (centres_ijk[:, None] + offsets_mm / spacing_mm).reshape(-1, 3)
        scalars = np.repeat(confidence, len(outline.points))
        self._draw(image.local_ras_mm(node, points_ijk), scalars, *outline.cells_of(len(rows)))
        self._shown = now


def confidence_colours(confidence: FloatArray) -> FloatArray:
    """Colours (N, 3), 0 to 1, of confidences (N,); one that is not known is none."""
    stops = np.linspace(0, 1, len(_RAMP))
    known = np.nan_to_num(confidence)
    return np.stack([np.interp(known, stops, channel) for channel in np.transpose(_RAMP)], axis=1)


def rows_with_region(landmarks: LandmarkSet) -> NDArray[np.intp]:
    """The landmarks whose doubt is of interest: the model placed them, and no person said where they are."""
    here = [
        presence is Presence.PRESENT and review in _NOT_SET_BY_A_PERSON
        for presence, review in zip(landmarks.presence, landmarks.review, strict=True)
    ]
    known = np.isfinite(landmarks.covariance_mm2).all((1, 2)) & np.isfinite(landmarks.points_lps_mm).all(1)
    return np.flatnonzero(np.array(here, bool) & known)


def _region_mm(covariance_mm2: FloatArray, unit: FloatArray, flattest_mm: float) -> FloatArray:
    """Offsets (N, P, D) on the borders of the 90 % regions of covariances (N, D, D), for points (P, D) of a unit sphere.

    Those of a normal distribution: ``x.T @ inv(covariance) @ x`` is the chi-square quantile on the border. No region is
    flatter than ``flattest_mm`` to each side.
    """
    # What has no extent in some direction may come out below zero by a rounding.
    variance, axes = np.linalg.eigh(covariance_mm2)
    half_axes = np.maximum(np.sqrt(_CHI2_90[unit.shape[1]] * np.maximum(variance, 0)), flattest_mm)
    return np.asarray(np.einsum("nij,nj,pj->npi", axes, half_axes, unit))
