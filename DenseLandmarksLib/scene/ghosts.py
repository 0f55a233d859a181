"""Where the model had seen what a person then moved: a faint ring there, and a thin line from it to the point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_masks import structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.scene.eyes_only import EyesOnlyModel
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.outline import UNIT

# A prediction less than this from where the point is now would only blur it.
_MOVED_PIXELS = 0.5
# Radius of the ring as a part of the image's longest side: a little more than the glyph of a landmark.
_RADIUS = 0.004
# Radius of the ball in a volume in voxels, at least: one that falls between two slices is never seen.
_SMALLEST = 0.75


class Ghosts(EyesOnlyModel):
    """The predictions of landmarks that a person corrected, in the colours of their structures."""

    _what = "prediction"
    _line_opacity, _surface_opacity = 0.6, 0.3

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Bring the ghosts to what the case says; nothing is touched where nothing changed."""
        node = self._ensure_node(image)
        landmarks, geometry = state.landmarks, state.geometry
        rows = _rows_that_moved(state)
        predicted_ijk = index_from_lps_mm(geometry, landmarks.predicted_lps_mm[rows])
        points_ijk = state.index_ijk[rows]
        structures = list(dict.fromkeys(landmarks.structures))
        colours = np.array([structure_style(state, name).colour for name in structures])
        of_structure = np.array([structures.index(landmarks.structures[row]) for row in rows], np.float64)
        now = predicted_ijk, points_ijk, colours, of_structure, image.index_to(node)
        if self._is_shown(now):
            return
        if structures:
            self._set_colours(colours, (-0.5, len(structures) - 0.5))
        spacing_mm = np.array(geometry.spacing_mm)
        radius_ijk = _RADIUS * (spacing_mm * geometry.size).max() / spacing_mm
        if not geometry.is_radiograph:
            radius_ijk = np.maximum(radius_ijk, _SMALLEST)
        outline = UNIT[2 if geometry.is_radiograph else 3]
        ring_ijk = np.zeros((len(outline.points), 3))
        ring_ijk[:, : outline.points.shape[1]] = outline.points
        rings_ijk = predicted_ijk[:, None] + ring_ijk * radius_ijk
        # The line starts on the ring, so that nothing covers the pixels in it; a point inside has no line.
        way_ijk = points_ijk - predicted_ijk
        to_ring = np.minimum(1 / np.linalg.norm(way_ijk / radius_ijk, axis=1, keepdims=True), 1)
        ends_ijk = np.stack([predicted_ijk + way_ijk * to_ring, points_ijk], axis=1)
        lines, triangles = outline.cells_of(len(rows))
        ends = np.arange(2 * len(rows)).reshape(-1, 2) + len(rows) * len(ring_ijk)
        self._draw(
            image.local_ras_mm(node, np.concatenate([rings_ijk.reshape(-1, 3), ends_ijk.reshape(-1, 3)])),
            np.concatenate([np.repeat(of_structure, len(ring_ijk)), np.repeat(of_structure, 2)]),
            np.concatenate([lines, ends]),
            triangles,
        )
        self._shown = now


def _rows_that_moved(state: CaseState) -> NDArray[np.intp]:
    landmarks = state.landmarks
    corrected = [
        presence is Presence.PRESENT and review is Review.CORRECTED
        for presence, review in zip(landmarks.presence, landmarks.review, strict=True)
    ]
    moved_mm = np.linalg.norm(landmarks.points_lps_mm - landmarks.predicted_lps_mm, axis=1)
    pixel_mm = min(state.geometry.spacing_mm[: 2 if state.geometry.is_radiograph else 3])
    # What is NaN, without a prediction, is not far away.
    return np.flatnonzero(np.array(corrected, bool) & (moved_mm > _MOVED_PIXELS * pixel_mm))
