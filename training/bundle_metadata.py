"""What the metadata and cards of all bundles say alike, whatever the family."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from DenseLandmarksLib.models.bundle import Bundle
from training.recipe import AnyRecipe, recipe_to_dict

LICENSE_TEXT = """These weights may be used for research only.

They were trained on data whose owners allow research use; see docs/README.md for the training data. They are no
medical device and must not be used to diagnose or treat patients. Provided "as is", without warranty of any kind.
"""


def bundle_metadata(recipe: AnyRecipe, data_name: str, cases: int, parent: Bundle | None) -> dict[str, Any]:
    """Which model it is, and what it was trained with, on so many cases of the data, from ``parent`` on if given."""
    return {
        "name": recipe.name,
        "version": recipe.version,
        "family": recipe.family,
        "description": recipe.description,
        "license": "research use only",
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"safetensors": version("safetensors"), "scipy": version("scipy")},
        "coordinate_system": "LPS",
        "units": "mm",
        "training": {
            "data": data_name,
            "cases": cases,
            "recipe": recipe_to_dict(recipe),
            "started_from": None if parent is None else f"{parent.name} {parent.version}",
        },
    }


def card_head(metadata: Mapping[str, Any]) -> list[str]:
    """How every model card begins."""
    return [
        f"# {metadata['name']} {metadata['version']}",
        "",
        "**Research use only. Not a medical device.**",
        "",
        metadata["description"],
        "",
    ]


def presence_lines(presence: Mapping[str, Any] | None, images: str) -> list[str]:
    """What a model card says of how often landmarks of such ``images`` are called present; none without a calibration."""
    if not presence:
        return []
    on = presence["measured"]
    return [
        "",
        f"In training {images} that it had not seen, whole and cut, it calls {on['sensitivity']:.1%} of {on['present']} landmarks "
        f"present that are there, and {on['false_alarms']:.1%} of {on['absent']} that lie more than 10 mm outside.",
    ]


def data_format(outputs: dict[str, Any], **image: Any) -> dict[str, Any]:
    """MONAI's ``network_data_format`` of a network that takes one grey image; ``image`` is what is special about it."""
    grey = {"type": "image", "format": "magnitude", "num_channels": 1, "dtype": "float32"}
    return {"inputs": {"image": {**grey, "channel_def": {"0": "image"}, **image}}, "outputs": outputs}


def radiograph_format(grid: tuple[int, int], outputs: dict[str, Any]) -> dict[str, Any]:
    """:func:`data_format` of a network that takes a whole radiograph on a grid (height, width)."""
    return data_format(
        outputs,
        modality="radiograph",
        spatial_shape=list(grid),
        value_range="z-normalised per image",
        is_patch_data=False,
    )


def finetuned_training(
    training: dict[str, Any], parent: Bundle, steps: int, replayed: str | None, replayed_cases: int
) -> dict[str, Any]:
    """Entry ``training`` of a model that was made from ``parent`` by fine-tuning, which took so many steps.

    Optimiser and seed of the recipe are the parent's, so that the next fine-tuning takes its shares of them and not of shares.
    """
    first = parent.metadata["training"]["recipe"]
    kept = {name: first[name] for name in ("optimiser", "seed") if name in first}
    finetuned = {"steps": steps, "replayed": replayed, "replayed_cases": replayed_cases}
    return {**training, "recipe": {**training["recipe"], **kept}, "finetuned": finetuned}


def trained_on_text(training: dict[str, Any]) -> str:
    """What a model was trained on, for a card: the beginning of a sentence."""
    finetuned = training.get("finetuned")
    if finetuned is None:
        return f"Trained on the {training['cases']} `train` cases of `{training['data']}`"
    replay = finetuned["replayed"]
    also = f", {finetuned['replayed_cases']} `train` cases of `{replay}` replayed" if replay else ""
    return f"Finetuned on what people decided in {training['cases']} cases of the library `{training['data']}`{also}"


def length_text(training: dict[str, Any]) -> str:
    """How long a model was trained, for a card; recipes of before counted epochs alone."""
    if "finetuned" in training:
        return f"{training['finetuned']['steps']} steps"
    optimiser = training["recipe"]["optimiser"]
    return f"{optimiser['steps']} steps" if optimiser.get("steps") else f"{optimiser['epochs']} epochs"


def spacing_lines(measured: dict[str, Any]) -> list[str]:
    """What must be known of the millimetres of a recorded evaluation, for a card; measurements of before do not say."""
    note = (measured.get("spacing") or {}).get("note")
    return ["", note] if note else []
