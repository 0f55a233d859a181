"""What a module finds around it: installing, sample data, the slice view."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.host import Host, session


def test_requirements_are_read_with_slicers_rules(host: Host, tmp_path: Path) -> None:
    import slicer
    from packaging.requirements import InvalidRequirement

    path = tmp_path / "requirements.txt"
    path.write_text("# why\n--index-url x\nnumpy>=1.0\n\nnot-there-at-all>=2\n", encoding="utf-8")
    wanted = slicer.packaging.load_requirements(path)
    assert [str(one) for one in wanted] == ["numpy>=1.0", "not-there-at-all>=2"]
    assert [slicer.packaging.pip_check(one) for one in wanted] == [True, False]
    assert not slicer.packaging.pip_check("numpy>=999")
    path.write_text("numpy>=1.0  # inline\n", encoding="utf-8")
    with pytest.raises(InvalidRequirement):
        slicer.packaging.load_requirements(path)


def test_installing_is_declined_offline_or_wants_a_restart(host: Host, tmp_path: Path) -> None:
    import slicer

    held = tmp_path / "constraints.txt"
    held.write_text("numpy==2.0\n", encoding="utf-8")
    ensure = slicer.packaging.pip_ensure
    ensure("numpy", requester="Example")
    assert host.pip.calls == []
    host.pip.outcome = "declined"
    with pytest.raises(RuntimeError, match="declined"):
        ensure(["absent>=1"], constraints=held, requester="Example")
    host.pip.outcome = "offline"
    host.answer("error")  # Slicer says so itself, with pip's output
    with pytest.raises(subprocess.CalledProcessError):
        ensure(["absent>=1"])
    host.pip.outcome = "restart"
    host.answer("yesNo", True)
    ensure(["absent>=1"])
    ensure(["absent>=1"])
    assert host.recorded.restarts == 1
    assert host.pip.calls[0] == {"requirements": ["absent>=1"], "constraints": "numpy==2.0\n", "requester": "Example"}
    assert len(host.pip.calls) == 3
    host.testing = True
    ensure("other")
    assert len(host.pip.calls) == 3


def test_the_pytorch_extension_may_be_there_or_not(host: Host) -> None:
    import slicer

    with pytest.raises(ModuleNotFoundError):
        import PyTorchUtils
    assert not slicer.app.moduleManager().factoryManager().isLoaded("PyTorchUtils")
    host.install_pytorch()
    assert slicer.app.moduleManager().factoryManager().isLoaded("PyTorchUtils")
    import PyTorchUtils

    host.pip.versions["torch"] = None
    assert not slicer.packaging.pip_check("torch>=2.0")
    PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.11")
    assert slicer.packaging.pip_check("torch>=2.0")
    assert host.pip.calls == [{"torch": ">=2.11", "askConfirmation": True}]


def test_the_worker_is_started_by_slicers_own_python(host: Host) -> None:
    found = shutil.which("PythonSlicer")
    assert found is not None
    assert found.startswith(host.app.temporaryPath)
    run = subprocess.run(
        [found, "-c", "import sys; print(sys.prefix, sys.argv[1])", "a b"], capture_output=True, text=True
    )
    assert run.stdout == f"{sys.prefix} a b\n"


def test_nothing_is_left_of_what_the_host_says_of_packages_and_paths() -> None:
    from importlib import metadata

    path, version = os.environ["PATH"], metadata.version
    with session() as host:
        host.pip.versions["torch"] = None
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.version("torch")
        assert os.environ["PATH"] != path
    assert (os.environ["PATH"], metadata.version) == (path, version)
    assert not shutil.which("PythonSlicer")


def test_sample_data_is_loaded_from_a_local_file(host: Host, tmp_path: Path) -> None:
    import SampleData
    import SimpleITK as sitk
    import slicer

    path = tmp_path / "a phantom.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource

    def sample(name: str, checksum: str) -> dict[str, Any]:
        return {
            "category": "Example",
            "sampleName": name,
            "uris": path.as_uri(),
            "fileNames": "phantom.nrrd",
            "nodeNames": "Phantom",
            "checksums": checksum,
        }

    register(**sample("Phantom", f"SHA256:{digest}"))
    register(**sample("Phantom", f"SHA256:{digest}"))
    register(**sample("Broken", f"SHA256:{'0' * 64}"))
    assert len(slicer.modules.sampleDataSources["Example"]) == 2
    node = SampleData.SampleDataLogic().downloadSample("Phantom")
    assert node.GetName() == "Phantom"
    assert slicer.util.arrayFromVolume(node).sum() == 276
    with pytest.raises(RuntimeError, match="checksum"):
        SampleData.SampleDataLogic().downloadSample("Broken")
    with pytest.raises(ValueError, match="no thumbnail"):
        register(**sample("Other", f"SHA256:{digest}"), thumbnailFileName=str(tmp_path / "none.png"))


def test_the_red_view_is_real(host_with_view: Host) -> None:
    import slicer

    host = host_with_view
    assert host.screen is not None
    volume = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ramp")
    volume.CreateDefaultDisplayNodes()
    slicer.util.updateVolumeFromArray(volume, np.tile(np.arange(64, dtype=np.int16), (1, 64, 1)))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    whole = host.screen.view._view_node.GetFieldOfView()
    host.screen.zoom(4, (32, 32, 0))
    slicer.util.resetSliceViews()
    assert host.screen.view._view_node.GetFieldOfView() == pytest.approx(whole)
    layout = slicer.app.layoutManager()
    red = layout.sliceWidget("Red")
    assert red.sliceLogic().GetBackgroundLayer().GetVolumeNode() is volume
    assert np.ptp(host.screen.pixels()[128].astype(int)) > 50
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    assert red.mrmlSliceNode().GetName() == "Red"
    assert red.sliceView().displayableManagerByClassName("vtkMRMLMarkupsDisplayableManager") is not None
    with pytest.raises(AttributeError, match="there is no"):
        layout.sliceWidget("Yellow")
    assert slicer.modules.markups.logic().IsA("vtkSlicerMarkupsLogic")


def test_a_landmark_dragged_in_the_view_reaches_the_panel(host_with_view: Host, tmp_path: Path) -> None:
    import slicer

    from Testing.host.example_module import write_example

    host = host_with_view
    panel = host.create_widget(write_example(tmp_path), "Example")
    volume = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "flat")
    volume.CreateDefaultDisplayNodes()
    slicer.util.updateVolumeFromArray(volume, np.zeros((1, 64, 64), np.int16))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    host.pick(panel.ui.image, volume)
    points = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    points.CreateDefaultDisplayNodes()
    points.AddControlPoint((32, 32, 0))
    panel.addObserver(points, points.PointEndInteractionEvent, lambda *_: panel.ui.table.item(0, 1).setText("moved"))
    host.screen.render()
    host.screen.drag(host.screen.display_xy((32, 32, 0)), host.screen.display_xy((40, 20, 0)))
    host.process()
    moved = np.zeros(3)
    points.GetNthControlPointPosition(0, moved)
    assert np.allclose(moved[:2], (40, 20), atol=1.0)
    assert panel.ui.table.item(0, 1).text() == "moved"
