"""All landmarks of a template in one image, from its uv field: found ones read out, lost ones guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from DenseLandmarksLib.landmarks.border import REACH, draw_to_border
from DenseLandmarksLib.landmarks.template import Template, umeyama
from DenseLandmarksLib.landmarks.uv_field import UvField

# Confidence is the probability of lying within this distance of the truth, were the covariance right.
CONFIDENCE_RADIUS_MM = 5.0
# A guessed landmark is as uncertain as the mean shape placed without looking at the image (18.9 mm on chests).
GUESS_SD_MM = 20.0


@dataclass(frozen=True)
class Located:
    """The template's L landmarks in one image, in its order, in grid pixels.

    ``points`` (L, 2); ``covariance`` (L, 2, 2) in grid pixels^2; ``found`` (L,) bool, false where the landmark's
    structure is not in the image and ``points`` holds the best guess; ``confidence`` (L,) in 0..1.
    """

    points: NDArray[np.float64]
    covariance: NDArray[np.float64]
    found: NDArray[np.bool_]
    confidence: NDArray[np.float64]


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Only the largest connected part of a mask (h, w): an island elsewhere would draw landmarks to it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    labels, count = label(mask[box])
    if count == 1:
        return mask
    kept = np.zeros_like(mask)
    kept[box] = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return kept


def reduce_masks(masks: NDArray[np.bool_], stride: int) -> NDArray[np.bool_]:
    """Masks (S, H, W) on a ``stride`` times coarser grid whose pixel centres align: half or more of each block."""
    if stride == 1:
        return masks
    # Strided slices added up: over the short axes of blocks numpy sums ten times more slowly.
    whole = masks.astype(np.uint16)
    rows = np.stack([whole[:, i::stride] for i in range(stride)]).sum(axis=0, dtype=np.uint16)
    blocks = np.stack([rows[:, :, i::stride] for i in range(stride)]).sum(axis=0, dtype=np.uint16)
    return np.asarray(2 * blocks >= stride**2)


def locate_landmarks(field: UvField, template: Template, grid_size: tuple[int, int]) -> Located:
    """Read every landmark of ``template`` out of ``field``, whose grid has ``grid_size`` (height, width) pixels.

    A structure with too few pixels is not found: its landmarks get the place that the found structures suggest (the
    template under the similarity that fits them best), or the template's mean pose where there is none.
    """
    count = [len(structure.landmark_names) for structure in template.structures]
    start = np.concatenate([[0], np.cumsum(count)])
    points = np.full((start[-1], 2), np.nan)
    covariance = np.zeros((start[-1], 2, 2))
    found = np.zeros(start[-1], bool)
    for s, structure in enumerate(template.structures):
        read = field.read(structure.name, structure.landmark_uv) if count[s] else None
        if read is not None:
            rows = slice(start[s], start[s + 1])
            points[rows], covariance[rows], found[rows] = read.points, read.covariance, True
            if field.borders:
                contour = slice(start[s], start[s] + len(structure.points_mm))
                points[contour] = draw_to_border(points[contour], field.borders[s], REACH * grid_size[0])
    return with_guesses(points, covariance, found, template, grid_size)


def with_guesses(
    points: NDArray[np.float64],
    covariance: NDArray[np.float64],
    found: NDArray[np.bool_],
    template: Template,
    grid_size: tuple[int, int],
) -> Located:
    """What was ``found`` (L,) of points (L, 2) and covariances (L, 2, 2), grid pixels; the others where those suggest them."""
    mm_per_pixel = template.field_of_view_mm[0] / grid_size[0]
    if not found.all():
        points, covariance = points.copy(), covariance.copy()
        guess = template.landmarks_mm / mm_per_pixel - 0.5
        points[~found] = guess_points(guess[~found], guess[found], points[found])
        covariance[~found] = guess_covariance(mm_per_pixel)
    return Located(points, covariance, found, confidence_of(covariance, mm_per_pixel))


def guess_points(
    mean_pose: NDArray[np.float64], found_mean_pose: NDArray[np.float64], found: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where points (N, 2) of the mean pose are expected in an image: under the similarity that brings those of the
    found landmarks (M, 2) closest to where they were ``found`` (M, 2); as they are when none was, and only shifted when
    those that were found lie in one place."""
    if not len(found):
        return mean_pose
    if np.ptp(found_mean_pose, axis=0).max() < 1e-6:
        return np.asarray(mean_pose + found.mean(axis=0) - found_mean_pose.mean(axis=0))
    scale, rotation, shift = umeyama(found_mean_pose, found)
    return scale * mean_pose @ rotation.T + shift


def guess_covariance(mm_per_pixel: float) -> NDArray[np.float64]:
    """Covariance (2, 2) in grid pixels^2 of a guessed landmark."""
    covariance: NDArray[np.float64] = (GUESS_SD_MM / mm_per_pixel) ** 2 * np.eye(2)
    return covariance


def confidence_of(covariance: NDArray[np.float64], mm_per_pixel: float) -> NDArray[np.float64]:
    """Confidence (N,) of landmarks with covariances (N, 2, 2) in grid pixels^2."""
    variance = np.maximum(np.trace(covariance, axis1=1, axis2=2) / 2, 1e-12)
    confidence: NDArray[np.float64] = 1 - np.exp(-((CONFIDENCE_RADIUS_MM / mm_per_pixel) ** 2) / (2 * variance))
    return confidence
