"""The two images in Slicer's Sample Data, with which anybody can try the extension; they come with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CATEGORY = "DenseLandmarks"
FOLDER = "SampleData"


@dataclass(frozen=True)
class SampleImage:
    """A file ``<stem>.nrrd`` with its thumbnail ``<stem>.png``; ``title`` is the name of the sample, for all languages."""

    stem: str
    title: str
    sha256: str


# Drawn by Testing.extension.draw_samples, which says the checksums.
SAMPLES = (
    SampleImage(
        "chest-phantom",
        "Chest radiograph (phantom)",
        "07c6c527838e244d52a08b4e1247b8be7638de7d111880cd40a19a8f5c0ce042",
    ),
    SampleImage(
        "chest-phantom-on-its-side",
        "Chest radiograph on its side, spacing unknown (phantom)",
        "6df89fef6a4ede9d0d3d37d1827e36cf3c2a0d4850dddc6c299220e3f970ff89",
    ),
)


def register_sample_data(resource_folder: Path) -> None:
    """Show the samples in Slicer's module Sample Data; once is enough, twice does no harm.

    To be called when the application has started, as that module may be loaded after this one. ``resource_folder`` is the
    extension's folder ``Resources``. Nothing is downloaded: Sample Data copies the files into its cache, where the
    checksum tells a copy of an older version.
    """
    import SampleData

    folder = Path(resource_folder).resolve() / FOLDER
    for sample in SAMPLES:
        image = folder / f"{sample.stem}.nrrd"
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.title,
            uris=image.as_uri(),
            # All extensions share the cache.
            fileNames=f"{CATEGORY}-{image.name}",
            nodeNames=sample.stem,
            thumbnailFileName=str(image.with_suffix(".png")),
            loadFileTypes="VolumeFile",
            loadFiles=True,
            checksums=f"SHA256:{sample.sha256}",
        )
