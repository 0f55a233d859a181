"""A clinician's Slicer is changed only where Predict was pressed and answered with yes; what went wrong is one line."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.errors import InputError
from Testing.host import Host

ROOT = Path(__file__).resolve().parents[2]
HELD = {name: metadata.version(name) for name in ("numpy", "scipy", "SimpleITK", "pydicom")}


@pytest.fixture
def packages(host: Host) -> Any:
    """The module, as the application loads it."""
    from DenseLandmarksLib.panel import packages

    return packages


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    """Two requirements that a fresh Slicer does not meet, and one that it does."""
    path = tmp_path / "requirements.txt"
    path.write_text("# why\nmonai>=1.5\nnot-there-at-all>=2\nnumpy>=1.26\n", encoding="utf-8")
    return path


@pytest.fixture
def fresh(host: Host, wanted: Path) -> Path:
    """A Slicer in which torch and MONAI are missing, with the PyTorch extension."""
    host.pip.versions = {"torch": None, "monai": None}
    host.install_pytorch()
    return wanted


def refused(install: Callable[[Path], bool], requirements: Path) -> str:
    """The line that a person gets."""
    with pytest.raises(InputError) as error:
        install(requirements)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_is_asked_or_installed_where_all_is_there(host: Host, packages: Any) -> None:
    host.install_pytorch()
    requirements = ROOT / "Resources" / "requirements.txt"
    assert packages.missing_packages(requirements) == []
    assert packages.install_packages(requirements) is False
    assert (host.pip.calls, host.recorded.messages) == ([], [])


def test_what_is_missing_is_known_without_asking_or_importing(host: Host, packages: Any, fresh: Path) -> None:
    before = set(sys.modules)
    assert packages.missing_packages(fresh) == ["torch>=2.5", "monai>=1.5", "not-there-at-all>=2"]
    assert not {"torch", "monai"} & (set(sys.modules) - before)
    assert (host.pip.calls, host.recorded.messages) == ([], [])


def test_torch_comes_from_its_extension_and_the_rest_from_pip_which_holds_what_slicer_needs(
    host: Host, packages: Any, fresh: Path
) -> None:
    assert packages.install_packages(fresh) is True
    torch, others = host.pip.calls
    assert torch == {"torch": ">=2.5", "askConfirmation": True}
    assert others["requirements"] == ["monai>=1.5", "not-there-at-all>=2"]
    assert others["requester"] == "DenseLandmarks"
    assert others["constraints"] == "".join(f"{name}=={version}\n" for name, version in HELD.items())
    assert packages.missing_packages(fresh) == []
    assert packages.install_packages(fresh) is False
    assert len(host.pip.calls) == 2


def test_what_slicer_does_not_have_is_not_held(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.versions["scipy"] = None
    packages.install_packages(fresh)
    assert "scipy" not in host.pip.calls[-1]["constraints"]
    assert f"SimpleITK=={HELD['SimpleITK']}\n" in host.pip.calls[-1]["constraints"]


def test_a_torch_that_is_there_stays(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.versions["torch"] = "2.6.0+cu124"
    assert packages.install_packages(fresh) is True
    assert ["torch" in call for call in host.pip.calls] == [False]


def test_an_old_torch_of_others_is_not_replaced(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.versions["torch"] = "2.2.1"
    line = refused(packages.install_packages, fresh)
    assert line.startswith("expected torch>=2.5, got torch 2.2.1. Other extensions may need that one")
    assert host.pip.calls == []


def test_without_the_pytorch_extension_it_is_named(host: Host, packages: Any, wanted: Path) -> None:
    host.pip.versions["torch"] = None
    line = refused(packages.install_packages, wanted)
    assert line == (
        "expected the extension PyTorch, which installs torch, found none. Install it with the Extensions Manager, "
        "restart 3D Slicer, then predict."
    )
    assert host.pip.calls == []


def test_torch_declined_is_one_line_and_nothing_else_happens(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.outcome = "declined"
    line = refused(packages.install_packages, fresh)
    assert line == "expected torch>=2.5 to predict with, got no leave to install. Predict again when you want it."
    assert len(host.pip.calls) == 1


def test_the_others_declined_are_named(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.outcome, host.pip.versions["torch"] = "declined", "2.11.0"
    line = refused(packages.install_packages, fresh)
    assert line.startswith("expected monai>=1.5, not-there-at-all>=2 to predict with, got no leave to install.")
    assert host.recorded.messages == []


def test_offline_says_how_to_install_without_the_network(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.outcome = "offline"
    line = refused(packages.install_packages, fresh)
    assert line.startswith(
        "expected to install torch>=2.5, monai>=1.5, not-there-at-all>=2, got pip with exit status 1; nothing was changed."
    )
    for how in ("HTTPS_PROXY", "PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels"):
        assert how in line


def test_a_network_that_goes_away_after_torch_does_not_hide_what_changed(
    host: Host, packages: Any, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import PyTorchUtils

    install = PyTorchUtils.PyTorchUtilsLogic.installTorch

    def then_offline(self: Any, askConfirmation: bool = False, torchVersionRequirement: str = "") -> Any:  # noqa: N803
        torch = install(self, askConfirmation, torchVersionRequirement=torchVersionRequirement)
        host.pip.outcome = "offline"
        return torch

    monkeypatch.setattr(PyTorchUtils.PyTorchUtilsLogic, "installTorch", then_offline)
    host.answer("error")  # Slicer's own dialog, with pip's output
    line = refused(packages.install_packages, fresh)
    assert line.startswith(
        "expected to install monai>=1.5, not-there-at-all>=2, got pip with exit status 1; torch>=2.5 was installed, "
        "nothing else changed."
    )


def test_a_replaced_package_that_is_in_use_wants_a_restart_before_a_prediction(
    host: Host, packages: Any, fresh: Path
) -> None:
    for answer, restarts in ((True, 1), (False, 1)):
        host.pip.satisfied.clear()
        host.pip.versions = {"torch": "2.11.0", "monai": None}
        host.pip.outcome = "restart"
        host.answer("yesNo", answer)
        with pytest.raises(packages.RestartAdvisedError) as error:
            packages.install_packages(fresh)
        assert str(error.value).endswith("which 3D Slicer has loaded. Restart 3D Slicer, then predict.")
        assert "new versions of packaging," in str(error.value)
        assert host.recorded.restarts == restarts
        assert packages.install_packages(fresh) is False  # whoever goes on without a restart may


def test_an_installation_under_way_is_waited_for(host: Host, packages: Any, fresh: Path) -> None:
    host.pip.in_progress = True
    line = refused(packages.install_packages, fresh)
    assert line.startswith("expected no other installation at the same time, got one under way.")
    assert host.pip.calls == []


def test_testing_mode_which_installs_nothing_does_not_pass_for_an_installation(
    host: Host, packages: Any, fresh: Path
) -> None:
    host.testing, host.pip.versions["torch"] = True, "2.11.0"
    line = refused(packages.install_packages, fresh)
    assert "got no error, but monai>=1.5, not-there-at-all>=2 still missing; nothing was changed." in line


@pytest.mark.parametrize(
    "keywords", ["", "askConfirmation=False", "askConfirmation=False, torchVersionRequirement=None"]
)
def test_only_keywords_that_the_extension_knows_are_passed(
    keywords: str, host: Host, packages: Any, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    source = f"def installTorch(self, {keywords}):\n got.update(locals()); return versions.update(torch='2.11.0') or 1"
    got: dict[str, Any] = {}
    exec(source, {"got": got, "versions": host.pip.versions}, made)
    logic = type("PyTorchUtilsLogic", (), made)
    # Undone before the host takes its own extension away.
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=logic))
        assert packages.install_packages(fresh) is True
    expected = {"askConfirmation": True, "torchVersionRequirement": ">=2.5"}
    assert {name: value for name, value in got.items() if name != "self"} == {
        name: value for name, value in expected.items() if name in keywords
    }


def test_a_torch_that_cannot_be_loaded_after_it_was_installed_is_one_line(
    host: Host, packages: Any, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import PyTorchUtils

    def broken(self: Any) -> Any:
        raise OSError("[WinError 126] The specified module could not be found.\nError loading c10.dll")

    monkeypatch.setattr(PyTorchUtils.PyTorchUtilsLogic, "installTorch", broken)
    line = refused(packages.install_packages, fresh)
    assert line.startswith(
        "expected torch from the PyTorch extension, got OSError: [WinError 126] The specified module"
    )
    assert "Restart 3D Slicer and predict again" in line


def test_a_slicer_whose_pip_cannot_be_started_is_one_line(
    host: Host, packages: Any, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer.packaging

    def no_python(*_: Any, **__: Any) -> None:
        raise RuntimeError("PythonSlicer executable not found")

    host.pip.versions["torch"] = "2.11.0"
    monkeypatch.setattr(slicer.packaging, "pip_ensure", no_python)
    assert "got PythonSlicer executable not found; nothing was changed." in refused(packages.install_packages, fresh)
