"""Which models are for which images: said before a worker is asked, in one line that names those that fit."""

from __future__ import annotations

from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.versions import is_demonstration, model_names


def misfit(model: BundleDescription, image_name: str, slices: int, data_folder: Path | None = None) -> str:
    """Why a model is not for an image of that many slices, one line; empty for one that is."""
    if model.is_for_radiographs == (slices == 1):
        return ""
    expected = "a radiograph (one slice)" if model.is_for_radiographs else "a volume"
    got = "one slice" if slices == 1 else f"{slices} slices"
    fitting = ", ".join(models_for(slices == 1, data_folder))
    choose = f"Choose a model for {'radiographs' if slices == 1 else 'volumes'}"
    return (
        f"expected {expected} for the model {model.name}, got {image_name!r} with {got}. "
        f"{f'{choose}: {fitting}' if fitting else choose}; or choose another image."
    )


def refuse_misfit(model: BundleDescription, image_name: str, slices: int, data_folder: Path | None = None) -> None:
    """Raise :class:`InputError` with what :func:`misfit` says, where it says something."""
    problem = misfit(model, image_name, slices, data_folder)
    if problem:
        raise InputError(problem)


def models_for(radiographs: bool, data_folder: Path | None = None) -> tuple[str, ...]:
    """The models for radiographs, or for volumes, in the order of :func:`~.versions.model_names`."""
    described = ((name, chosen_model(name, data_folder).description) for name in model_names(data_folder))
    return tuple(name for name, model in described if model is not None and model.is_for_radiographs == radiographs)


def fitting_instead(model: BundleDescription, body_part: str, slices: int, data_folder: Path | None = None) -> str:
    """The model that knows the body part which an image's file states, where ``model`` is for other images.

    Empty where the file states none, where ``model`` knows it or does not say what it knows, and where not just one other
    knows it.
    """
    part, knows = body_part.upper(), model.expectation.body_parts
    is_of_kind = model.is_for_radiographs == (slices == 1)
    if not part or (is_of_kind and (part in knows or not knows)):
        return ""
    others = [
        name
        for name in models_for(slices == 1, data_folder)
        if part in _known_parts(name, data_folder) and not is_demonstration(name, data_folder)
    ]
    return others[0] if len(others) == 1 else ""


def _known_parts(name: str, data_folder: Path | None) -> tuple[str, ...]:
    model = chosen_model(name, data_folder).description
    return () if model is None else model.expectation.body_parts
