"""A trained heatmap network as a bundle, with its model card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from DenseLandmarksLib.models.bundle import Bundle, save_bundle
from DenseLandmarksLib.models.family import TEMPLATE
from DenseLandmarksLib.models.measured import figure, rate
from training.bundle_metadata import (
    LICENSE_TEXT,
    bundle_metadata,
    card_head,
    length_text,
    presence_lines,
    radiograph_format,
    spacing_lines,
    trained_on_text,
)
from training.finetuning.inherit_calibration import inherited_lines
from training.metrics import FAR_MM
from training.structure_styles import structure_styles

if TYPE_CHECKING:
    from training.heatmap_recipe import HeatmapLossRecipe
    from training.heatmap_task import HeatmapTask

_TAUGHT = {
    "sum": "heights of a Gaussian, by the sum of squared differences",
    "heat_reg": "heights of a Gaussian, by the mean of squared differences",
    "distribution": "a distribution over all positions, by cross-entropy",
}


def taught(loss: HeatmapLossRecipe) -> dict[str, Any]:
    """What a network of heights was taught, for its predictor to tell how high a peak is; nothing for distributions."""
    if loss.kind == "distribution":
        return {}
    height = loss.gamma if loss.kind == "sum" else loss.height
    return {"target": {"height": height, "is_normalised": loss.kind == "sum"}}


def export_heatmap_bundle(folder: Path, task: HeatmapTask, network: nn.Module, parent: Bundle | None) -> None:
    """Write ``folder`` as a bundle whose model was trained by ``task``, from ``parent`` on if given."""
    metadata, inference = heatmap_configuration(task, parent)
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    files = {TEMPLATE: task.template.to_json()}
    save_bundle(folder, metadata, inference, files, weights, heatmap_card(metadata, inference), LICENSE_TEXT)


def heatmap_configuration(task: HeatmapTask, parent: Bundle | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and inference of a model that ``task`` trains, from ``parent`` on if given."""
    recipe, cases, template = task.recipe, task.cases, task.template
    names = list(template.landmark_names)
    heat = {"type": "image", "format": "magnitude", "channel_def": dict(enumerate(names))}
    metadata: dict[str, Any] = {
        **bundle_metadata(recipe, cases.data_name, len(cases), parent),
        "task": "landmarks of radiographs by heatmaps" + (", and segmentation" if task.structures else ""),
        "structures": structure_styles(task.structures),
        "landmark_names": names,
        "landmark_structures": list(cases.landmark_structures),
        "network_data_format": radiograph_format(recipe.target.grid, {"heat": heat}),
    }
    inference = {
        "network_def": task.network_definition(),
        "is_mixed": recipe.optimiser.precision == "bfloat16",
        "grid_size": list(recipe.target.grid),
        "heat": recipe.heat,
        **taught(recipe.loss),
        "sub_pixel": recipe.sub_pixel,
        "passes": recipe.passes,
        "present_above": recipe.present_above,
        "either_side": recipe.either_side,
        "expects": dataclasses.asdict(recipe.expects),
    }
    return metadata, inference


def heatmap_card(metadata: dict[str, Any], inference: dict[str, Any]) -> str:
    """The bundle's ``docs/README.md``."""
    training, measured = metadata["training"], metadata.get("measured")
    recipe, plausibility = training["recipe"], inference.get("plausibility")
    reason = recipe["network"].get("reason")
    height_width = inference["grid_size"]
    parent = f", begun with the weights of {training['started_from']}" if training.get("started_from") else ""
    masks = f", with masks of {', '.join(s['name'] for s in metadata['structures'])}" if metadata["structures"] else ""
    lines = [
        *card_head(metadata),
        f"Finds {len(metadata['landmark_names'])} landmarks of radiographs{masks}.",
        "",
        f"{trained_on_text(training)}; network {recipe['network']['name']}, "
        f"taught {_TAUGHT[recipe['loss']['kind']]}, {length_text(training)}{parent}. The data are not part of the bundle.",
        *(["", reason] if reason else []),
        "",
        f"Input: one radiograph, fitted with true proportions into a grid of {height_width[1]} x {height_width[0]} pixels. Output: "
        "landmarks in LPS mm, each with its covariance; absent where the heatmap has no peak, with a best guess.",
        "",
        "Upright images of the kind of the training data are expected. "
        + ("One of the other side is mirrored and then as good. " if inference["either_side"] else "")
        + (
            "Other images are noticed by the shape that the landmarks form and by weak peaks; the limits were set on "
            f"{plausibility['cases']} training cases by models that had not seen them, {plausibility['above']} of which lie above."
            if plausibility
            else "Nothing detects images of another kind."
        ),
    ]
    lines += inherited_lines(metadata)
    calibration = inference.get("ellipses", {}).get("measured")
    if calibration:
        lines += [
            "",
            f"The 90 % ellipses were calibrated on {calibration['cases']} training cases by models that had not seen them; over "
            f"random halves of these they hold {calibration['coverage']:.1%} of the landmarks. The error of these models was "
            f"{calibration['tre_mm']:.2f} mm, {calibration['from_10_mm_share']:.2%} at 10 mm or more.",
        ]
    lines += presence_lines(inference.get("presence"), "images")
    if measured:
        lines += _measured_lines(measured)
    return "\n".join(lines) + "\n"


def _measured_lines(measured: dict[str, Any]) -> list[str]:
    """The figures of an evaluation report, as a table."""
    lines = ["", f"## Measured on {measured['cases']} cases of `{measured['data']}` {measured['split']}", ""]
    lines += ["| | TRE (mm) |", "|---|---|"]
    lines += [f"| {name} | {figure(values, 'tre_mm')} |" for name, values in measured["groups"].items()]
    pooled = measured.get("all_landmarks")
    if pooled:
        lines.append(f"| all {pooled['count']} landmarks | {figure(pooled, 'tre_mm')} |")
        lines += ["", f"Errors of {FAR_MM:g} mm or more: {rate(pooled, 'outliers', FAR_MM)}."]
    return lines + spacing_lines(measured)
