"""Landmarks that no model was trained on: one click defines one, and it is found in every case without the network.

A click is brought back through the warp of its structure, from the corrected image to the predicted one, and gets the
template coordinate that the uv map has there. A coordinate is read out of the uv map and brought forward. Where there is
no uv map, or it does not reach, the template's mean shape is warped through the structure's landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.plane import plane_mm_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import confidence_of
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_look_up import NEAREST_MM, Method, StructureLookUp, template_mm_per_pixel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Definition:
    """The template coordinate of a point: ``uv`` on ``structure``, which ``method`` finds again; ``outside_mm`` of its border.

    The unit is the image's, of its template where the spacing is unknown.
    """

    structure: str
    uv: tuple[float, float]
    method: Method
    outside_mm: float


@dataclass(frozen=True)
class Found:
    """N new landmarks in one image.

    Attributes
    ----------
    points_lps_mm : (N, 3); the best guess where not found.
    covariance_mm2 : (N, 3, 3), zero across the plane of a radiograph.
    confidence : (N,) in 0..1; 0 where not found, and in an implausible prediction.
    found : (N,) bool, false where the landmark's structure is not in the image.
    method : N :class:`Method`.
    error_mm : (N,) the expected error, root of the trace of the covariance.
    """

    points_lps_mm: FloatArray
    covariance_mm2: FloatArray
    confidence: FloatArray
    found: NDArray[np.bool_]
    method: tuple[Method, ...]
    error_mm: FloatArray

    def as_landmarks(self, new: Sequence[NewLandmark]) -> LandmarkSet:
        """As landmarks that nobody has looked at yet; ``new`` are those that were looked up, in their order."""
        return LandmarkSet(
            names=tuple(landmark.name for landmark in new),
            structures=tuple(landmark.structure for landmark in new),
            points_lps_mm=self.points_lps_mm,
            predicted_lps_mm=self.points_lps_mm.copy(),
            presence=tuple(Presence.PRESENT if found else Presence.ABSENT for found in self.found),
            review=(Review.PREDICTED,) * len(new),
            confidence=self.confidence,
            covariance_mm2=self.covariance_mm2,
            template_uv=np.array([landmark.uv for landmark in new], np.float64).reshape(-1, 2),
        )


def define(
    prediction: Prediction,
    geometry: ImageGeometry,
    template: Template | None,
    point_lps_mm: ArrayLike,
    structure: str | None = None,
    corrected: LandmarkSet | None = None,
) -> Definition:
    """The template coordinate of a point (3,) that a person clicked in a radiograph.

    Without a ``structure`` it belongs to the one in which it lies deepest, outside of all to the nearest.
    ``corrected`` are the case's landmarks as they are now, which bend mask and uv map.

    Raises
    ------
    InputError : in one line, for a point farther than :data:`NEAREST_MM` from any structure or from the named one, for a
        structure that is not in the image or not the model's, and for a model that finds landmarks only.
    """
    prediction.need_grid()
    click_mm = plane_mm_from_lps_mm(geometry, np.asarray(point_lps_mm, np.float64).reshape(1, 3))
    landmarks = prediction.landmarks if corrected is None else corrected
    names = _structures(prediction, template)
    if structure is not None and structure not in names:
        raise InputError(f"expected a structure out of {', '.join(names)}, got {structure!r}. Name one of these.")
    candidates = [
        StructureLookUp(prediction, geometry, template, landmarks, name)
        for name in (names if structure is None else (structure,))
    ]
    depth_mm = [candidate.depth_mm(click_mm) for candidate in candidates]
    chosen, deepest = max(zip(candidates, depth_mm, strict=True), key=lambda pair: pair[1], default=(None, -np.inf))
    if chosen is None or deepest == -np.inf:
        what = f"{structure} in this image" if structure else "a structure in this image"
        raise InputError(f"expected {what}, got none that was found. Define the landmark in another case.")
    outside_mm = max(-deepest, 0.0)
    if outside_mm > NEAREST_MM:
        raise InputError(
            f"expected a point on {chosen.name} or at most {NEAREST_MM:g} mm outside, got one {outside_mm:.1f} mm "
            "outside. Click on the structure to which the landmark belongs."
        )
    uv, method = chosen.uv_of(click_mm)
    return Definition(chosen.name, (float(uv[0]), float(uv[1])), method, outside_mm)


def find(
    prediction: Prediction,
    geometry: ImageGeometry,
    template: Template | None,
    new: Sequence[NewLandmark],
    corrected: LandmarkSet | None = None,
) -> Found:
    """Where new landmarks lie in a radiograph that was predicted, in milliseconds.

    With ``corrected``, the case's landmarks as they are now, they are where the corrections bring them; without, as the
    model sees them. A landmark on a structure that was not found gets the place that the other structures suggest.

    Raises
    ------
    InputError : in one line, for a structure that the model does not have, and for a model that finds landmarks only.
    """
    grid = prediction.need_grid()
    landmarks = prediction.landmarks if corrected is None else corrected
    names = _structures(prediction, template)
    by_structure: dict[str, list[int]] = {}
    for row, landmark in enumerate(new):
        if landmark.structure not in names:
            raise InputError(
                f"expected the structure of {landmark.name!r} to be one of {', '.join(names)}, got "
                f"{landmark.structure!r}. Look it up with the model that it was defined on."
            )
        by_structure.setdefault(landmark.structure, []).append(row)
    points, covariance = np.full((len(new), 2), np.nan), np.zeros((len(new), 2, 2))
    method = [Method.GUESS] * len(new)
    for structure, rows in by_structure.items():
        look_up = StructureLookUp(prediction, geometry, template, landmarks, structure)
        points[rows], covariance[rows], methods = look_up.locate(np.array([new[row].uv for row in rows], np.float64))
        for row, how in zip(rows, methods, strict=True):
            method[row] = how
    found = np.array([how is not Method.GUESS for how in method], bool)
    believed = found & prediction.plausibility.plausible
    confidence = confidence_of(covariance, template_mm_per_pixel(prediction, geometry, template))
    per_pixel = grid.pixels_per_grid
    covariance_mm2 = lps_mm2_from_pixel_covariance(geometry, per_pixel @ covariance @ per_pixel.T)
    return Found(
        points_lps_mm=lps_mm_from_pixels(geometry, grid.to_pixels(points)),
        covariance_mm2=covariance_mm2,
        confidence=np.where(believed, confidence, 0.0),
        found=found,
        method=tuple(method),
        error_mm=np.sqrt(np.trace(covariance_mm2, axis1=1, axis2=2)),
    )


def with_landmarks(
    prediction: Prediction, geometry: ImageGeometry, template: Template | None, new: Sequence[NewLandmark]
) -> Prediction:
    """The prediction with new landmarks looked up in it and appended to its own.

    Raises :class:`InputError` as :func:`find` does, and for a name that is taken.
    """
    known = set(prediction.landmarks.names)
    for landmark in new:
        if landmark.name in known:
            raise InputError(f"expected a name that is not taken, got {landmark.name!r} again. Choose another.")
        known.add(landmark.name)
    found = find(prediction, geometry, template, new).as_landmarks(new)
    return replace(prediction, landmarks=prediction.landmarks.joined(found))


def _structures(prediction: Prediction, template: Template | None) -> tuple[str, ...]:
    return prediction.structures if template is None else template.structure_names
