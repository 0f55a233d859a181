"""Whoever installed the extension can try it at once: two phantoms in Sample Data, without a network."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle, open_predictor
from DenseLandmarksLib.panel.sample_data import CATEGORY, FOLDER, SAMPLES, SampleImage, register_sample_data
from Testing.extension import draw_samples
from Testing.host import Host

RESOURCES = Path(__file__).parents[2] / "Resources"
SAMPLE_LIMIT_BYTES = 300_000


def path_of(sample: SampleImage) -> Path:
    return RESOURCES / FOLDER / f"{sample.stem}.nrrd"


def test_both_samples_are_loaded_from_where_the_extension_lies(host: Host, tmp_path: Path) -> None:
    import SampleData
    import slicer

    # A folder as Windows and people name them.
    resources = tmp_path / "Slicer 5.12 ä#%20" / "Resources"
    shutil.copytree(RESOURCES / FOLDER, resources / FOLDER)
    register_sample_data(resources)
    register_sample_data(resources)
    sources = slicer.modules.sampleDataSources[CATEGORY]
    assert [source.sampleName for source in sources] == [sample.title for sample in SAMPLES]
    for sample in SAMPLES:
        node = SampleData.SampleDataLogic().downloadSample(sample.title)
        stored = read_image(path_of(sample))
        assert node.GetName() == sample.stem
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node)[0], stored.pixels_yx)
        assert node.GetSpacing() == pytest.approx(stored.geometry.spacing_mm)


def test_a_sample_that_was_changed_is_not_loaded(host: Host, tmp_path: Path) -> None:
    import SampleData

    shutil.copytree(RESOURCES / FOLDER, tmp_path / FOLDER)
    with (tmp_path / FOLDER / path_of(SAMPLES[0]).name).open("ab") as file:
        file.write(b"\0")
    register_sample_data(tmp_path)
    with pytest.raises(RuntimeError, match="checksum"):
        SampleData.SampleDataLogic().downloadSample(SAMPLES[0].title)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_is_small_and_the_one_that_was_registered(sample: SampleImage) -> None:
    stored = path_of(sample).read_bytes()
    assert len(stored) < SAMPLE_LIMIT_BYTES
    assert hashlib.sha256(stored).hexdigest() == sample.sha256
    with Image.open(path_of(sample).with_suffix(".png")) as thumbnail:
        assert thumbnail.size == draw_samples.THUMBNAIL_SIZE


def test_every_sample_that_lies_there_is_registered() -> None:
    assert {path.name for path in (RESOURCES / FOLDER).glob("*.nrrd")} == {path_of(sample).name for sample in SAMPLES}


@pytest.mark.parametrize("sample", draw_samples.SAMPLES, ids=lambda sample: sample.name)
def test_the_samples_are_the_phantoms_that_their_script_draws(sample: draw_samples.Sample) -> None:
    """Synthetic, so they may be passed on; another processor may round a grey value otherwise."""
    template = read_description(find_bundle(draw_samples.MODEL)).template
    drawn = draw_samples.pixels_of(sample, template).astype(int)
    stored = read_image(RESOURCES / FOLDER / f"{sample.name}.nrrd").pixels_yx.astype(int)
    assert np.abs(stored - drawn).max() <= 1


def test_the_shipped_model_finds_all_landmarks_on_the_first_sample() -> None:
    image = read_image(path_of(SAMPLES[0]))
    prediction = open_predictor(draw_samples.MODEL, "cpu").predict(image)
    assert image.spacing_source is SpacingSource.GIVEN
    assert prediction.plausibility.doubts == ()
    assert len(prediction.landmarks.names) == 166
    assert set(prediction.landmarks.presence) == {Presence.PRESENT}


def test_the_second_sample_shows_what_the_panel_says_of_a_film_on_its_side() -> None:
    image = read_image(path_of(SAMPLES[1]))
    predictor = open_predictor(draw_samples.MODEL, "cpu")
    unasked = predictor.predict(image)
    assert image.spacing_source is SpacingSource.UNKNOWN
    assert unasked.plausibility.doubts
    assert unasked.plausibility.suggested_view == draw_samples.SAMPLES[1].view
    advised = predictor.predict(image, unasked.plausibility.suggested_view)
    assert advised.plausibility.doubts == ()
    assert set(advised.landmarks.presence) == {Presence.PRESENT}
