"""Models that learned badly, what people corrected of them, and runs that are whole; nobody changes any of these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from DenseLandmarksLib.models.bundle import Bundle
from Testing.training.blob_radiographs import write_blob_radiographs
from Testing.training.blob_volumes import write_blob_volumes
from Testing.training.finetuning import heatmap_cases, volume_cases
from Testing.training.finetuning.chest_library import LEARN, copy_of, run
from Testing.training.finetuning.corrected_cases import Annotator

Runs = pytest.TempPathFactory


@contextmanager
def _one_thread() -> Iterator[None]:
    """What a session shares is made before the fixture ``one_thread`` of a module, and is compared to the last bit too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def library(corrected_chests: Annotator) -> Annotator:
    """Three corrected cases; nobody changes them."""
    return corrected_chests


@pytest.fixture
def annotator(corrected_chests: Annotator, tmp_path: Path) -> Annotator:
    """The same library, to change, with versions of its own."""
    return copy_of(corrected_chests, tmp_path / "own")


@pytest.fixture(scope="session")
def whole(corrected_chests: Annotator, tmp_path_factory: Runs) -> Path:
    """The folder of a run of few steps that nobody stopped."""
    folder = tmp_path_factory.mktemp("runs")
    with _one_thread():
        return run(corrected_chests, folder / "whole", data_folder=folder / "versions")


@pytest.fixture(scope="session")
def learned(corrected_chests: Annotator, phantom_folder: Path, tmp_path_factory: Runs) -> Path:
    """The folder of a run that learned for long enough to see it, and saw the old cases again; ``versions`` lie beside it."""
    folder = tmp_path_factory.mktemp("runs")
    with _one_thread():
        return run(corrected_chests, folder / "learned", LEARN, data_folder=folder / "versions", replay=phantom_folder)


@pytest.fixture(scope="session")
def blob_radiographs(tmp_path_factory: Runs) -> Path:
    """The data that :func:`heatmap_parent` learned from."""
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="session")
def heatmap_parent(blob_radiographs: Path, tmp_path_factory: Runs) -> Bundle:
    """A heatmap model of radiographs as a run leaves it, and calibrated."""
    return heatmap_cases.make_parent(blob_radiographs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def noses(heatmap_parent: Bundle, tmp_path_factory: Runs) -> heatmap_cases.Run:
    """The nose of three people was corrected; the bundle that came out."""
    with _one_thread():
        return heatmap_cases.learn_noses(heatmap_parent, tmp_path_factory.mktemp("noses"))


@pytest.fixture(scope="session")
def blob_volumes(tmp_path_factory: Runs) -> Path:
    """The data that the models of volumes learned from."""
    return write_blob_volumes(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="session", params=list(volume_cases.RECIPES))
def volume_parent(request: pytest.FixtureRequest, blob_volumes: Path, tmp_path_factory: Runs) -> Bundle:
    """Of each family of models of volumes one, as a run leaves it, and calibrated."""
    return volume_cases.make_parent(request.param, blob_volumes, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def chins(volume_parent: Bundle, tmp_path_factory: Runs) -> volume_cases.Run:
    """The chin of three people was corrected; the bundle that came out."""
    with _one_thread():
        return volume_cases.learn_chins(volume_parent, tmp_path_factory.mktemp("chins"))


@pytest.fixture(scope="session")
def multi_scale(blob_volumes: Path, tmp_path_factory: Runs) -> Bundle:
    """A model of volumes that hardly learned anything, where nothing else is asked of it."""
    return volume_cases.make_parent("multi_scale", blob_volumes, tmp_path_factory.mktemp("runs"), epochs=1)


@pytest.fixture
def noses_corrected(heatmap_parent: Bundle, tmp_path: Path) -> Annotator:
    """In two radiographs somebody dragged the nose."""
    annotator = Annotator.begin(tmp_path, heatmap_parent.folder)
    for seed in range(2):
        annotator.work_on(
            heatmap_cases.write_image(tmp_path, seed), heatmap_cases.correct_nose(seed), heatmap_cases.SPACING
        )
    return annotator
