"""A window opens and works with what Slicer already has: numpy, scipy, SimpleITK and pydicom, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from DenseLandmarksLib.landmarks.template import Template
from Testing.bare_environment import ABSENT, PRESENT, SCENE_STEPS, STEPS

ROOT = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("bare_environment.py")


def link(folder: Path, name: str) -> None:
    """Link what a distribution installed, its libraries and metadata, and nothing of another one in the same folder."""
    installed = distribution(name)
    files = [file for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")]
    assert files
    for file in files:
        top = folder / file.parts[0]
        shared = file.parts[0] == "slicer"  # several distributions put modules there
        link, target = (folder / file, file) if shared else (top, Path(file.parts[0]))
        if not link.is_symlink() and "__pycache__" not in file.parts:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(installed.locate_file(str(target)))))


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to the four packages as they are installed, and no other."""
    folder = tmp_path_factory.mktemp("packages")
    for name in PRESENT:
        link(folder, name)
    return folder


@pytest.fixture(scope="session")
def packages_with_slicer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four packages, slicer-core and the VTK that it needs, and no other."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: there is no scene", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("packages_with_slicer")
    for name in (*PRESENT, "slicer-core", "vtk"):
        link(folder, name)
    return folder


def run_step(packages: Path, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Isolated and without site: no packages but those of the folder, no user's paths, no environment variables.
    command = [sys.executable, "-I", "-S", str(CHILD), str(ROOT), str(packages), name, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", STEPS)
def test_without_other_packages(name: str, packages: Path, tmp_path: Path) -> None:
    run = run_step(packages, name, tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", SCENE_STEPS)
def test_with_slicers_packages_and_without_others(name: str, packages_with_slicer: Path, tmp_path: Path) -> None:
    run = run_step(packages_with_slicer, name, tmp_path)
    assert run.returncode == 0, run.stderr


def test_a_saved_scene_is_opened_where_nothing_of_ours_is(
    packages_with_slicer: Path, tmp_path: Path, chest_template: Template
) -> None:
    from DenseLandmarksLib.scene.desk import Desk
    from Testing.scene.open_cases import chest_library, predict
    from Testing.scene.saved_scene import new_scene, save_scene

    library, scene = chest_library(tmp_path, chest_template), new_scene()
    desk = Desk(scene, "an annotator", print, tmp_path / "user")
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.save()
    path = save_scene(scene, tmp_path / "scene.mrb")
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", OPEN_WITH_SLICER_ALONE, str(packages_with_slicer), str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    landmarks = case.session.state.landmarks
    said = json.loads(run.stdout.splitlines()[-1])
    assert said["segments"] == list(chest_template.structure_names)
    assert list(said["points"]) == list(landmarks.names)
    for name, point in zip(landmarks.names, landmarks.points_lps_mm, strict=True):
        assert said["points"][name] == pytest.approx((-point[0], -point[1], point[2]), abs=1e-4)
    assert said["confidence"] == pytest.approx(landmarks.confidence.tolist())
    assert said["model"] == case.session.state.answer.prediction.model_name  # type: ignore[union-attr]


OPEN_WITH_SLICER_ALONE = """
import sys; sys.path.insert(0, sys.argv[1])
import json, os, slicer
scene = slicer.vtkMRMLScene()
scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())
cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
cache.SetRemoteCacheDirectory(os.getcwd()); manager.SetCacheManager(cache)
scene.SetCacheManager(cache); scene.SetDataIOManager(manager)
assert scene.ReadFromMRB(sys.argv[2])
points, confidence = {}, []
for n in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")):
    node = scene.GetNthNodeByClass(n, "vtkMRMLMarkupsFiducialNode")
    values = node.GetMeasurement("confidence").GetControlPointValues()
    for i in range(node.GetNumberOfControlPoints()):
        points[node.GetNthControlPointLabel(i)] = node.GetNthControlPointPosition(i)
        confidence.append(values.GetValue(i))
segmentation = scene.GetNthNodeByClass(0, "vtkMRMLSegmentationNode").GetSegmentation()
segments = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
texts = [scene.GetNthNodeByClass(n, "vtkMRMLTextNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode"))]
(provenance,) = [json.loads(node.GetText()) for node in texts if node.GetName().endswith("provenance")]
print(json.dumps({"points": points, "confidence": confidence, "segments": segments, "model": provenance["model"]["name"]}))
"""


def test_the_packages_that_must_not_be_needed_are_known_here() -> None:
    """Or the child would not find them for the wrong reason: a name that is spelt otherwise."""
    import importlib.util

    known = {name for name in ABSENT if importlib.util.find_spec(name) is not None}
    assert {"torch", "trame_slicer", "PIL", "contourpy", "safetensors", "matplotlib", "pytest"} <= known


def test_a_step_that_needs_more_would_fail(packages: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(packages)!r}]; import numpy, SimpleITK; import PIL"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'PIL'" in run.stderr
