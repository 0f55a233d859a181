"""A trained network for volumes as a bundle, with its model card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from DenseLandmarksLib.models.bundle import Bundle, save_bundle
from DenseLandmarksLib.models.family import JOINT_SHAPE
from DenseLandmarksLib.models.measured import figure
from training.bundle_metadata import (
    LICENSE_TEXT,
    bundle_metadata,
    card_head,
    data_format,
    length_text,
    presence_lines,
    trained_on_text,
)
from training.finetuning.inherit_calibration import inherited_lines

if TYPE_CHECKING:
    from training.heatmap_volume_task import HeatmapVolumeTask
    from training.volume_task import VolumeTask

_TASKS = {"multi_scale": "landmarks of volumes, coarse to fine", "heatmap_volume": "landmarks of volumes by heatmaps"}
# More landmarks than these are not named one by one in a card.
_LISTED = 8

PHANTOM_LICENSE_TEXT = """These weights come under the licence of the program they are part of, Apache-2.0.

They were trained on synthetic images only and show how things work. They are no medical device and must not be used to
diagnose or treat patients. Provided "as is", without warranty of any kind.
"""


def export_volume_bundle(
    folder: Path, task: VolumeTask | HeatmapVolumeTask, network: nn.Module, parent: Bundle | None
) -> None:
    """Write ``folder`` as a bundle whose model was trained by ``task``, from ``parent`` on if given."""
    metadata, inference = volume_configuration(task, parent)
    shape = {} if task.joint_shape is None else task.joint_shape.to_dict()
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    text = PHANTOM_LICENSE_TEXT if task.recipe.demonstration else LICENSE_TEXT
    card = volume_card(metadata, inference)
    save_bundle(folder, metadata, inference, {JOINT_SHAPE: json.dumps(shape)}, weights, card, text)


def volume_configuration(
    task: VolumeTask | HeatmapVolumeTask, parent: Bundle | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and inference of a model that ``task`` trains, from ``parent`` on if given."""
    recipe, cases = task.recipe, task.cases
    looks = task.inference()
    size = looks["tile"][::-1] if "tile" in looks else [looks["network_def"]["crop_size"]] * 3
    is_phantom = recipe.demonstration
    names = list(cases.landmark_names)
    points = {
        "type": "tuples",
        "format": "points",
        "spatial_shape": [len(names), 3],
        "channel_def": dict(enumerate(names)),
    }
    metadata: dict[str, Any] = {
        **bundle_metadata(recipe, cases.data_name, len(cases), parent),
        "task": _TASKS[recipe.family],
        **({"license": "Apache-2.0"} if is_phantom else {}),
        "demonstration": is_phantom,
        "structures": [],
        "landmark_names": names,
        "landmark_structures": list(cases.landmark_structures),
        "network_data_format": data_format(
            {"points": points}, modality="CT", spatial_shape=size, value_range=[-1, 1], is_patch_data=True
        ),
    }
    inference = {
        "dimensions": 3,
        "is_mixed": recipe.optimiser.precision == "bfloat16",
        "intensity": dataclasses.asdict(recipe.intensity),
        **looks,
        "uses_shape": False,
        "confidence_radius_mm": recipe.confidence_radius_mm,
        "expects": dataclasses.asdict(recipe.expects),
    }
    return metadata, inference


def volume_card(metadata: dict[str, Any], inference: dict[str, Any]) -> str:
    """The bundle's ``docs/README.md``."""
    training, measured = metadata["training"], metadata.get("measured")
    names = metadata["landmark_names"]
    listed = ", ".join(names) if len(names) <= _LISTED else f"{names[0]} to {names[-1]}"
    lines = [
        *card_head(metadata),
        f"Finds {len(names)} landmarks of volumes: {listed}.",
        "",
        f"{trained_on_text(training)}; {_network_text(inference)}, {length_text(training)}. "
        + ("All images were synthetic. " if metadata["demonstration"] else "")
        + "The data are not part of the bundle.",
        "",
        "Input: a volume of any spacing, direction, size and type. Output: landmarks in LPS mm, each with its covariance.",
    ]
    lines += inherited_lines(metadata)
    calibration = inference.get("ellipsoids")
    if calibration:
        on = calibration["measured"]
        lines += [
            "",
            f"The 90 % ellipsoids were calibrated on {on['cases']} training cases by models that had not seen them; over "
            f"random halves of these they hold {on['coverage']:.1%} of the landmarks.",
        ]
    lines += presence_lines(inference.get("presence"), "volumes")
    if measured:
        lines += ["", f"## Measured on {measured['cases']} cases of `{measured['data']}` {measured['split']}", ""]
        lines += ["| | TRE (mm) |", "|---|---|"]
        rows = measured["landmarks"] if len(names) <= _LISTED else measured["groups"]
        lines += [f"| {name} | {figure(values, 'tre_mm')} |" for name, values in rows.items()]
        pooled = measured["all_landmarks"]
        lines.append(f"| all {pooled['count']} landmarks | {figure(pooled, 'tre_mm')} |")
        inside = measured["average"]["in_ellipse_90_share"]["mean"]
        lines += [
            "",
            f"{pooled['over_10_mm_share']:.1%} of the errors are over 10 mm"
            + (f"; {inside:.1%} of the landmarks lie in their 90 % ellipsoid." if inside is not None else "."),
        ]
    return "\n".join(lines) + "\n"


def _network_text(inference: dict[str, Any]) -> str:
    """Which network it is and what it looks at."""
    network = inference["network_def"]
    if "tile" in inference:
        tile = " x ".join(map(str, inference["tile"]))
        return f"{network['_target_'].split('.')[-1]} on tiles of {tile} voxels of {inference['spacing_mm']:g} mm"
    spacings = ", ".join(f"{spacing:g}" for spacing in network["spacings_mm"])
    return f"a Loc-Net at each of the levels {spacings} mm, crops of {network['crop_size']} voxels"
