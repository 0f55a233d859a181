"""A length is in millimetres only where the file proves it: every class, every way of stating a spacing.

``python -m Testing.geometry.test_read_dicom_spacing`` prints the table as Markdown.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import CR, CT, DX, PIXELS, RF, SC, XA, write_dicom

CLASSES = {"CR": CR, "DX": DX, "RF": RF, "XA": XA, "SC": SC, "CT": CT}
PROJECTIONS, OTHERS = ("CR", "DX", "RF", "XA"), ("SC", "CT")
# Stored as (between rows = y, between columns = x).
PIXEL, DETECTOR = {"PixelSpacing": [0.3, 0.2]}, {"ImagerPixelSpacing": [0.3, 0.2]}
FINER, MAGNIFIED = {"PixelSpacing": [0.15, 0.1]}, {"EstimatedRadiographicMagnificationFactor": "1.25"}
TYPED = {"PixelSpacingCalibrationType": "GEOMETRY"}

STATED: dict[str, dict[str, Any]] = {
    "only PixelSpacing .3, .2": PIXEL,
    "only PixelSpacing .3, .2 with calibration type": PIXEL | TYPED,
    "only PixelSpacing .3, .2 and magnification 1.25": PIXEL | MAGNIFIED,
    "only ImagerPixelSpacing .3, .2": DETECTOR,
    "only ImagerPixelSpacing .3, .2 and magnification 1.25": DETECTOR | MAGNIFIED,
    "both equal .3, .2": PIXEL | DETECTOR,
    "both equal .3, .2 with calibration type": PIXEL | DETECTOR | TYPED,
    "both equal .3, .2 and magnification 1.25": PIXEL | DETECTOR | MAGNIFIED,
    "PixelSpacing .15, .1 and imager .3, .2": FINER | DETECTOR,
    "PixelSpacing .15, .1 and imager .3, .2 with calibration type": FINER | DETECTOR | TYPED,
    "PixelSpacing .15, .1 and imager .3, .2 and magnification 1.25": FINER | DETECTOR | MAGNIFIED,
    "only NominalScannedPixelSpacing .3, .2": {"NominalScannedPixelSpacing": [0.3, 0.2]},
    "none": {},
    "none and magnification 1.25": MAGNIFIED,
    "no numbers: imager 0, 0 and PixelSpacing of one value": {"ImagerPixelSpacing": [0, 0], "PixelSpacing": "0.2"},
}
# x, y and source, by hand, for projections and for other classes.
AT_DETECTOR, BEHIND, UNKNOWN = (0.2, 0.3, "detector"), (0.16, 0.24, "detector"), (1.0, 1.0, "unknown")
COARSE, FINE = (0.2, 0.3, "calibrated"), (0.1, 0.15, "calibrated")
EXPECTED = {
    "only PixelSpacing .3, .2": (AT_DETECTOR, COARSE),
    "only PixelSpacing .3, .2 with calibration type": (COARSE, COARSE),
    "only PixelSpacing .3, .2 and magnification 1.25": (BEHIND, COARSE),
    "only ImagerPixelSpacing .3, .2": (AT_DETECTOR, AT_DETECTOR),
    "only ImagerPixelSpacing .3, .2 and magnification 1.25": (BEHIND, BEHIND),
    "both equal .3, .2": (AT_DETECTOR, AT_DETECTOR),
    "both equal .3, .2 with calibration type": (COARSE, COARSE),
    "both equal .3, .2 and magnification 1.25": (BEHIND, BEHIND),
    "PixelSpacing .15, .1 and imager .3, .2": (FINE, FINE),
    "PixelSpacing .15, .1 and imager .3, .2 with calibration type": (FINE, FINE),
    "PixelSpacing .15, .1 and imager .3, .2 and magnification 1.25": (FINE, FINE),
    "only NominalScannedPixelSpacing .3, .2": (AT_DETECTOR, AT_DETECTOR),
    "none": (UNKNOWN, UNKNOWN),
    "none and magnification 1.25": (UNKNOWN, UNKNOWN),
    "no numbers: imager 0, 0 and PixelSpacing of one value": (UNKNOWN, UNKNOWN),
}


def _spacing(folder: Path, name: str, stated: str, photometric: str, given: tuple[float, float] | None = None) -> Any:
    path = write_dicom(folder / "a.dcm", CLASSES[name], PhotometricInterpretation=photometric, **STATED[stated])
    image = read_image(path, given)
    return image.volume.GetSpacing()[:2], str(image.spacing_source), image


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("name", CLASSES)
def test_a_dicom_file_is_measured_with_the_spacing_it_can_prove(
    tmp_path: Path, name: str, stated: str, photometric: str
) -> None:
    x, y, source = EXPECTED[stated][0 if name in PROJECTIONS else 1]
    spacing_xy, found, image = _spacing(tmp_path, name, stated, photometric)
    assert spacing_xy == pytest.approx((x, y))
    assert found == source
    assert image.unit == ("px" if source == "unknown" else "mm")
    np.testing.assert_array_equal(image.pixels_yx, PIXELS if photometric == "MONOCHROME2" else 4095 - PIXELS)


@pytest.mark.parametrize("stated", STATED)
def test_a_given_spacing_counts_only_where_the_file_proves_none(tmp_path: Path, stated: str) -> None:
    x, y, source = EXPECTED[stated][0]
    spacing_xy, found, _ = _spacing(tmp_path, "DX", stated, "MONOCHROME2", (0.5, 0.6))
    assert (spacing_xy, found) == (((0.5, 0.6), "given") if source == "unknown" else (pytest.approx((x, y)), source))


def spacing_table() -> str:
    """What :func:`read_image` makes of every class and way of stating a spacing, x, y in mm, as Markdown."""
    rows = ["| the file states (y, x) | " + " | ".join(CLASSES) + " |", "|---" * (len(CLASSES) + 1) + "|"]
    with tempfile.TemporaryDirectory() as folder:
        for stated in STATED:
            cells = []
            for name in CLASSES:
                cell = {_spacing(Path(folder), name, stated, p)[:2] for p in ("MONOCHROME1", "MONOCHROME2")}
                cells.append(" or ".join(f"{round(x, 6):g}, {round(y, 6):g} {source}" for (x, y), source in cell))
            rows.append(f"| {stated} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(spacing_table())
