"""Confidence, review and template coordinate of landmarks as measurements of their list, which Slicer saves with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Review
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.slicer_classes import class_beside

CONFIDENCE, REVIEW, TEMPLATE_U, TEMPLATE_V = "confidence", "review", "template u", "template v"
REVIEW_CODES = {review: float(code) for code, review in enumerate(Review)}
"""What stands for a review: 0 predicted, 1 verified, 2 corrected, 3 placed, 4 unsure."""
# JSON knows no NaN: Slicer writes one, and then other programs cannot read the file.
UNKNOWN = -99.0


def show_measurements(node: Node, landmarks: LandmarkSet, rows: Sequence[int]) -> None:
    """Have a list say what is known of its control points, which are the landmarks ``rows``; what differs is touched."""
    which = list(rows)
    values = {
        CONFIDENCE: landmarks.confidence[which],
        REVIEW: np.array([REVIEW_CODES[landmarks.review[row]] for row in which]),
        TEMPLATE_U: landmarks.template_uv[which, 0],
        TEMPLATE_V: landmarks.template_uv[which, 1],
    }
    for name, of_points in values.items():
        known = np.nan_to_num(of_points.astype(np.float64), nan=UNKNOWN)
        measurement = node.GetMeasurement(name)
        if measurement is None:
            measurement = class_beside(node, "vtkMRMLStaticMeasurement")()
            measurement.SetName(name)
            node.AddMeasurement(measurement)
        elif np.array_equal(_values(measurement), known):
            continue
        array = numpy_to_vtk(known, deep=True)
        array.SetName(name)
        measurement.SetControlPointValues(array)


def read_measurement(node: Node, name: str) -> FloatArray:
    """What a list says of its control points (N,); NaN where it is not known, empty where the list says nothing."""
    measurement = node.GetMeasurement(name)
    values = np.empty(0) if measurement is None else _values(measurement)
    return np.where(values == UNKNOWN, np.nan, values)


def _values(measurement: Node) -> FloatArray:
    values = measurement.GetControlPointValues()
    return np.empty(0) if values is None else np.array(vtk_to_numpy(values), np.float64)
