"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib import cli, cli_library
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.launch import Launch

# These rooms need VTK, which comes with slicer-core, and trame; neither is there for every machine.
_NEEDS = {"scene": ("vtkmodules",), "web": ("vtkmodules", "trame")}
collect_ignore = [room for room, modules in _NEEDS.items() if not all(map(find_spec, modules))]


def pytest_report_header() -> str:
    """Say which tests are left out as a whole, and why."""
    rooms = " and ".join(collect_ignore)
    return f"the tests of {rooms} are left out: slicer-core, its VTK or trame are not installed" if rooms else ""


def _lung(centre_x: float, medial: int) -> NDArray[np.float64]:
    """An egg that widens downwards, flatter toward the heart (``medial`` is the sign of that side)."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False) - np.pi / 2
    across, down = np.cos(angle), np.sin(angle)
    width = np.where(across * medial > 0, 46, 58) * (1 + 0.15 * down)
    return np.stack([centre_x + width * across, 165 + np.where(down < 0, 130, 110) * down], axis=1)


def _heart() -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 26, endpoint=False)
    long, short = 68 * np.cos(angle), 48 * np.sin(angle)
    turn = np.deg2rad(30)
    turned = np.stack([long * np.cos(turn) - short * np.sin(turn), long * np.sin(turn) + short * np.cos(turn)], axis=1)
    return turned + np.array([205, 218])


def _clavicle(side: int) -> NDArray[np.float64]:
    """A band 14 mm wide along an S-shaped arc; ``side`` is the sign of x away from the midline."""
    t = np.linspace(0, 1, 12)
    along = np.stack([179 + side * (22 + 78 * t), 66 - 22 * t - 3 * np.sin(2 * np.pi * t)], axis=1)
    return np.vstack([along + np.array([0, 7]), along[::-1] - np.array([0, 7])])


@pytest.fixture(scope="session")
def chest_template() -> Template:
    """Five chest structures in a field of view of 358.4 mm, from ellipses and arcs: no patient's shape."""
    shapes = {
        "right_lung": _lung(104, 1),
        "left_lung": _lung(256, -1),
        "heart": _heart(),
        "right_clavicle": _clavicle(-1),
        "left_clavicle": _clavicle(1),
    }
    names = {name: [f"{name}_{i + 1:02d}" for i in range(len(points))] for name, points in shapes.items()}
    return build_template({name: points[None] for name, points in shapes.items()}, names, (358.4, 358.4))


def _real(name: str) -> Path:
    """A folder of real images; they may not be passed on, so a clone elsewhere skips what needs them."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DENSELANDMARKS_DATA") or beside) / name
    if not (folder / "dataset.json").is_file():
        pytest.skip(f"needs the real images of {name}, not found at {folder}; set DENSELANDMARKS_DATA")
    return folder


@pytest.fixture(scope="session")
def jsrt_folder() -> Path:
    """The folder of real chest radiographs."""
    return _real("jsrt")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set of that name."""
    return _real


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, chest_template: Template) -> Path:
    """A whole bundle of the chest template with a tiny network that was never trained. Copy it before damaging it."""
    # Torch and MONAI take seconds to import; most tests never need them.
    import torch

    from DenseLandmarksLib.models.networks.dense_shape import CompactDenseSegNet
    from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe, TargetRecipe
    from training.export_dense_shape import export_bundle
    from training.grid_cases import GridCases

    torch.manual_seed(0)
    recipe = DenseShapeRecipe(
        "tiny", "Untrained.", network=NetworkRecipe(channels=(4, 8)), target=TargetRecipe(grid=(64, 64))
    )
    structures = [s.name for s in chest_template.structures for _ in s.landmark_names]
    cases = GridCases(
        "nothing",
        (),
        (),
        np.zeros((0, 64, 64), np.float16),
        np.zeros((0, len(structures), 2)),
        np.zeros(0),
        chest_template.landmark_names,
        tuple(structures),
    )
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    export_bundle(folder, recipe, chest_template, CompactDenseSegNet(5, (4, 8)), cases)
    return folder


@pytest.fixture(scope="session")
def volume_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle for volumes that finds what :func:`~Testing.models.neck_finder.marked_volume` shows."""
    from Testing.models.neck_finder import write_neck_finder

    return write_neck_finder(tmp_path_factory.mktemp("bundles") / "neck-finder")


@pytest.fixture(scope="session")
def heatmap_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole heatmap bundle that finds what :func:`~Testing.models.disc_finder.marked_hand` shows; it has no masks."""
    from Testing.models.disc_finder import write_disc_finder

    return write_disc_finder(tmp_path_factory.mktemp("bundles") / "disc-finder")


@pytest.fixture(scope="session")
def neck_phantom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A neck CTA phantom of 64^3 voxels of 2 mm, called as our phantoms are."""
    import SimpleITK as sitk

    from training.neck_phantoms import neck_phantom

    path = tmp_path_factory.mktemp("phantoms") / "neck-phantom-3.nrrd"
    sitk.WriteImage(neck_phantom(3, (64, 64, 64), 2.0)[0], path)
    return path


@pytest.fixture(scope="session", autouse=True)
def _no_test_touches_the_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What an installation keeps for itself goes into a temporary folder, in child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("user_data"))
        patch.setenv("XDG_DATA_HOME", folder)
        patch.setenv("LOCALAPPDATA", folder)
        yield


@pytest.fixture(scope="session")
def launch() -> Launch:
    """How tests start workers: with one thread, so that they leave the other cores to others and repeat themselves."""
    return Launch.with_interpreter(environment={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="session")
def warm_worker(launch: Launch) -> Iterator[Worker]:
    """One worker for many tests, as each start takes seconds; whoever ends its process leaves it to start the next."""
    with Worker(launch) as worker:
        keeper = worker.client()  # whoever else closes a client is not the last
        yield worker
        keeper.close()


@pytest.fixture(autouse=True)
def _commands_share_a_worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line called in this process finds the warm worker; programs of their own start their own."""
    for commands in (cli, cli_library):
        monkeypatch.setattr(commands, "Worker", lambda: request.getfixturevalue("warm_worker"))


@pytest.fixture
def read_in_slicer() -> Callable[[str, str, Path], Any]:
    """``read_in_slicer(node class, storage class, path)``: the node as Slicer's own storage node fills it."""
    slicer = pytest.importorskip(
        "slicer",
        reason="slicer-core or a library it needs is not installed: Slicer cannot be asked",
        exc_type=ImportError,
    )
    scene = slicer.vtkMRMLScene()

    def read(node_class: str, storage_class: str, path: Path) -> Any:
        node = scene.AddNewNodeByClass(node_class)
        storage = getattr(slicer, storage_class)()
        scene.AddNode(storage)
        node.SetAndObserveStorageNodeID(storage.GetID())
        storage.SetFileName(str(path))
        assert storage.ReadData(node), storage.GetUserMessages().GetAllMessagesAsString()
        return node

    return read
