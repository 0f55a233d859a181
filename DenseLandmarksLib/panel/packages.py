"""Installing what the worker needs, by Slicer's own ways: when a person predicts, never before, never unasked."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import slicer.packaging
from packaging.requirements import Requirement
from slicer.i18n import tr as _

from DenseLandmarksLib.errors import InputError

logger = logging.getLogger(__name__)

REQUESTER = "DenseLandmarks"
# In the folder Resources.
REQUIREMENTS = "requirements.txt"
# What the library needs of torch is there since 2.5 (torch.OutOfMemoryError); a newer one is not forced on other
# extensions, nor on the drivers of older graphics cards.
TORCH = Requirement("torch>=2.5")
# Slicer's own builds, or what its own modules were tested with: pip must leave them as they are.
HELD = ("numpy", "scipy", "SimpleITK", "pydicom")


class RestartAdvisedError(InputError):
    """All is installed, but packages that the application has loaded were replaced: it is to be started again first."""


def missing_packages(requirements: Path) -> list[str]:
    """Requirements that are not met, torch first; only the packages' metadata is read, nothing is imported or asked."""
    wanted = [TORCH, *slicer.packaging.load_requirements(requirements)]
    return [str(one) for one in wanted if not slicer.packaging.pip_check(one)]


def install_packages(requirements: Path) -> bool:
    """Install what is missing, asking the person first; whether anything was installed.

    A worker that runs does not see what is new: restart it when this returns true or raises
    :class:`RestartAdvisedError`. To be called from the main thread, by the handler of a button.

    Raises :class:`InputError` with one line when the person declines and for whatever goes wrong; then nothing can be
    predicted yet.
    """
    missing = missing_packages(requirements)
    if not missing:
        return False
    if slicer.packaging.isPipInstallInProgress():
        raise InputError(
            _("expected no other installation at the same time, got one under way. Predict when it has finished.")
        )
    in_use = _versions_in_use()
    try:
        if not slicer.packaging.pip_check(TORCH):
            _install_torch()
        _install_others(requirements)
    except subprocess.CalledProcessError as error:
        raise _failed(requirements, missing, _("pip with exit status {code}").format(code=error.returncode)) from error
    left = missing_packages(requirements)
    if left:
        raise _failed(requirements, missing, _("no error, but {left} still missing").format(left=", ".join(left)))
    replaced = [name for name, version in in_use.items() if _version(name) != version]
    if replaced:
        raise RestartAdvisedError(
            _(
                "expected packages that are not in use, got new versions of {names}, which 3D Slicer has loaded. "
                "Restart 3D Slicer, then predict."
            ).format(names=", ".join(replaced))
        )
    return True


def _install_torch() -> None:
    """By the PyTorch extension, which knows the build that fits the graphics card."""
    there = _version("torch")
    if there is not None:
        raise InputError(
            _(
                "expected {wanted}, got torch {version}. Other extensions may need that one: if none does, replace it in "
                "the module PyTorch Utils."
            ).format(wanted=TORCH, version=there)
        )
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise InputError(
            _(
                "expected the extension PyTorch, which installs torch, found none. Install it with the Extensions "
                "Manager, restart 3D Slicer, then predict."
            )
        ) from error
    install = PyTorchUtilsLogic().installTorch
    # Its keywords have changed more than once.
    known = inspect.signature(install).parameters
    wanted = {"askConfirmation": True, "torchVersionRequirement": str(TORCH.specifier)}
    try:
        torch = install(**{name: value for name, value in wanted.items() if name in known})
    except subprocess.CalledProcessError:
        raise
    except Exception as error:  # it imports what it installed, which is whatever a foreign library does
        logger.exception("the PyTorch extension could not install torch")
        raise InputError(
            _(
                "expected torch from the PyTorch extension, got {error}. Restart 3D Slicer and predict again, or install "
                "it in the module PyTorch Utils."
            ).format(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])
        ) from error
    if torch is None:
        raise _declined([str(TORCH)])


def _install_others(requirements: Path) -> None:
    """With pip, which may neither replace nor move what Slicer itself needs."""
    held = [f"{name}=={version}\n" for name in HELD if (version := _version(name)) is not None]
    with tempfile.TemporaryDirectory(prefix="dense-landmarks-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(held), encoding="utf-8")
        try:
            slicer.packaging.pip_ensure(
                slicer.packaging.load_requirements(requirements), constraints=str(constraints), requester=REQUESTER
            )
        except RuntimeError as error:
            if "declined" in str(error).lower():
                raise _declined(missing_packages(requirements)) from error
            raise _failed(requirements, missing_packages(requirements), str(error)) from error


def _declined(wanted: list[str]) -> InputError:
    return InputError(
        _("expected {wanted} to predict with, got no leave to install. Predict again when you want it.").format(
            wanted=", ".join(wanted)
        )
    )


def _failed(requirements: Path, before: list[str], what: str) -> InputError:
    """What to tell where an installation came to nothing, or to a part only."""
    left = missing_packages(requirements)
    done = [name for name in before if name not in left]
    changed = _("{names} was installed, nothing else changed").format(names=", ".join(done)) if done else ""
    return InputError(
        _(
            "expected to install {wanted}, got {what}; {changed}. Behind a proxy, set HTTPS_PROXY; without a network, set "
            "PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels; then start 3D Slicer again and predict."
        ).format(wanted=", ".join(left), what=what, changed=changed or _("nothing was changed"))
    )


def _version(name: str) -> str | None:
    """The version of a distribution, ``None`` where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _versions_in_use() -> dict[str, str]:
    """Versions of the distributions of which something is imported in this process."""
    found: dict[str, str] = {}
    for package, names in metadata.packages_distributions().items():
        for name in names if package in sys.modules else ():
            version = _version(name)
            if version is not None:
                found[name] = version
    return found
