"""What programs that do not weigh a file's tags take for its pixel size."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from DenseLandmarksLib.geometry.formats.dicom_data_set import open_data_set
from DenseLandmarksLib.geometry.formats.dicom_tags import tag_numbers
from DenseLandmarksLib.geometry.formats.reading import quiet_readers
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of

_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def unweighed_spacings_mm(path: Path) -> tuple[tuple[float, float], ...]:
    """Every pixel size (x, y) that a reader may take from a file: the default, ITK's, and that of each DICOM tag.

    ITK takes one tag for each class of DICOM, and in pictures the resolution for printing. An image that has one of
    these was loaded; one with another was given it by somebody.
    """
    found = [(1.0, 1.0)]
    with quiet_readers():
        try:
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            found.append(reader.GetSpacing()[:2])
            with path.open("rb") as file:
                is_dicom = format_of(file.read(HEAD_BYTES)) == "DICOM"
            if is_dicom:
                with open_data_set(path, _TAGS) as (dataset, _, _):
                    pairs = (tag_numbers(dataset, keyword) for keyword in _TAGS)
                    found += [(pair[1], pair[0]) for pair in pairs if len(pair) == 2]
        except Exception:  # parsers raise anything on damaged data; who reads the image is told
            pass
    return tuple(found)
