"""Which models there are, and opening one by name or folder."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import METADATA, Bundle, broken, load_bundle
from DenseLandmarksLib.models.versions import active_bundle, model_names

if TYPE_CHECKING:
    from DenseLandmarksLib.models.prediction import OpenPredictor

logger = logging.getLogger(__name__)


def find_bundle(name_or_folder: str, data_folder: Path | None = None) -> Path:
    """The folder of the active version of a model, by its name, or the folder itself.

    ``data_folder`` holds the user's own versions, by default where this user's data lies. Raises :class:`InputError`
    when there is neither.
    """
    active = active_bundle(name_or_folder, data_folder)
    if active is not None:
        return active
    if (Path(name_or_folder) / METADATA).is_file():
        return Path(name_or_folder)
    if Path(name_or_folder).is_dir():
        raise broken(Path(name_or_folder), f"{METADATA} is missing")
    names = ", ".join(model_names(data_folder)) or "none"
    raise InputError(
        f"expected the name of a model or a bundle folder, got {name_or_folder!r}. Models here: {names}. Give one of these or a folder."
    )


def choose_device(device: str) -> str:
    """``"cuda"`` or ``"cpu"`` for a wish of ``"auto"``, ``"cuda"`` or ``"cpu"``."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "expected a CUDA device because --device cuda was asked for, found none. Use --device auto or cpu."
        )
    return device


def open_bundle(bundle: Bundle, device: str = "auto") -> OpenPredictor:
    """The predictor of a checked bundle, of whichever family; raises :class:`InputError` when weights and network do not fit.

    ``device`` as :func:`choose_device` takes it.
    """
    family = bundle.family
    opener = getattr(import_module(family.predictor_module), family.opener)
    predictor: OpenPredictor = opener(bundle, choose_device(device))
    logger.info("model %s %s runs on %s", predictor.name, predictor.version, predictor.device)
    return predictor


def open_predictor(name_or_folder: str, device: str = "auto") -> OpenPredictor:
    """Open the active version of a model, by its name, or a bundle, by its folder."""
    return open_bundle(load_bundle(find_bundle(name_or_folder)), device)
