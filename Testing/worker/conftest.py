"""A client of the one warm worker, and models that take their time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import NETWORK_MODULE, load_bundle, save_bundle
from DenseLandmarksLib.worker.client import Client, Worker
from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image

SLOW_GRID = (256, 256)


@pytest.fixture
def client(warm_worker: Worker) -> Iterator[Client]:
    """A client of the warm worker."""
    client = warm_worker.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def chest(chest_template: Template) -> MedicalImage:
    """A small phantom."""
    return phantom_image(draw_phantom(chest_template, DEMO_SEEDS[0], (128, 128)))


def write_untrained(folder: Path, like: Path, channels: tuple[int, ...], grid: tuple[int, int]) -> None:
    """A bundle with an untrained network of full resolution that takes every image for a turned one: two passes."""
    import torch

    from DenseLandmarksLib.models.networks.dense_shape import DenseSegNet

    bundle = load_bundle(like)
    torch.manual_seed(0)
    network = DenseSegNet(len(bundle.template.structures), channels, views=True)
    assert network.view_head is not None
    torch.nn.init.zeros_(network.view_head[-1].weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(network.view_head[-1].bias)  # type: ignore[arg-type]
    with torch.no_grad():
        network.view_head[-1].bias[1] = 1.0  # type: ignore[index]
    definition = {
        "_target_": f"{NETWORK_MODULE}.DenseSegNet",
        "structures": network.structures,
        "channels": list(channels),
        "views": True,
    }
    inference = {**bundle.inference, "network_def": definition, "grid_size": list(grid)}
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    metadata = {**bundle.metadata, "name": folder.name}
    save_bundle(folder, metadata, inference, bundle.family_files(), weights, "Untrained.", "None.")


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A model whose two passes take about a second on one core."""
    folder = tmp_path_factory.mktemp("bundles") / "slow"
    write_untrained(folder, tiny_bundle, (64, 128), SLOW_GRID)
    return folder
