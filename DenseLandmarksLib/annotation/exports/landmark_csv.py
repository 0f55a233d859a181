"""Landmarks as a CSV table, one row each, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.files import write_text
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence

_PIXELS = ("x_px", "y_px")
_LPS_MM = ("l_lps_mm", "p_lps_mm", "s_lps_mm")
_LPS_PX = ("l_lps_px", "p_lps_px", "s_lps_px")


def write_landmark_csv(path: Path, landmarks: LandmarkSet, geometry: ImageGeometry) -> None:
    """Write one row for each landmark; the names of the columns say frame and unit.

    ``name, structure, presence, review, confidence``, then ``x_px, y_px`` on a radiograph (pixel centres at integers),
    ``l_lps_mm, p_lps_mm, s_lps_mm`` where the spacing is known (``l_lps_px, ...`` on a volume without), and
    ``spacing_source``. An absent or unplaced landmark has no position, so that nobody measures a guess; doubt is in
    ``review`` and ``confidence``.
    """
    frames: list[tuple[tuple[str, ...], NDArray[np.float64]]] = []
    if geometry.is_radiograph:
        frames.append((_PIXELS, pixels_from_lps_mm(geometry, landmarks.points_lps_mm)))
    if geometry.unit == "mm" or not geometry.is_radiograph:
        frames.append((_LPS_MM if geometry.unit == "mm" else _LPS_PX, landmarks.points_lps_mm))
    columns = [column for names, _ in frames for column in names]
    values = np.concatenate([points for _, points in frames], axis=1)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "structure", "presence", "review", "confidence", *columns, "spacing_source"])
    for i, presence in enumerate(landmarks.presence):
        confidence = landmarks.confidence[i]
        present = presence is Presence.PRESENT
        table.writerow(
            [
                landmarks.names[i],
                landmarks.structures[i],
                presence,
                landmarks.review[i],
                f"{confidence:.4f}" if np.isfinite(confidence) else "",
                *(f"{value:.6f}" if present else "" for value in values[i]),
                geometry.spacing_source,
            ]
        )
    write_text(path, text.getvalue())
