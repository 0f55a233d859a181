"""A trained dense-shape network as a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import NETWORK_MODULE, Bundle, save_bundle
from DenseLandmarksLib.models.family import TEMPLATE
from DenseLandmarksLib.models.measured import HEADLINE, figure
from training.bundle_metadata import (
    LICENSE_TEXT,
    bundle_metadata,
    card_head,
    length_text,
    radiograph_format,
    spacing_lines,
    trained_on_text,
)
from training.dense_shape_recipe import DenseShapeRecipe
from training.finetuning.inherit_calibration import inherited_lines
from training.grid_cases import GridCases
from training.structure_styles import structure_styles

UV_FRAMES = {
    "cartesian": "u, v; per structure the mean shape's bounding box scaled to [-1, 1], u right, v down",
    "polar": "u, v; per structure the centroid at 0 and the contour on the border of the square [-1, 1], u right, v down",
}


def export_bundle(
    folder: Path,
    recipe: DenseShapeRecipe,
    template: Template,
    network: nn.Module,
    cases: GridCases,
    parent: Bundle | None = None,
) -> None:
    """Write ``folder`` as a bundle whose model was trained with ``recipe`` on ``cases``, from ``parent`` on if given."""
    metadata, inference = dense_shape_configuration(recipe, template, cases, parent)
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    files = {TEMPLATE: template.to_json()}
    save_bundle(folder, metadata, inference, files, weights, dense_shape_card(metadata, inference), LICENSE_TEXT)


def dense_shape_configuration(
    recipe: DenseShapeRecipe, template: Template, cases: GridCases, parent: Bundle | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and inference of a model that is trained with ``recipe`` on ``cases``, from ``parent`` on if given."""
    real = [name for name, split in zip(cases.names, cases.splits, strict=True) if split != "phantom"]
    names = template.structure_names
    metadata = {
        **bundle_metadata(recipe, cases.data_name, len(real), parent),
        "task": "joint segmentation and dense landmarks on radiographs",
        "uv_frame": UV_FRAMES[recipe.target.chart],
        "structures": structure_styles(names),
        "landmark_names": list(template.landmark_names),
        "network_data_format": radiograph_format(
            recipe.target.grid,
            {
                "mask_logits": {"type": "image", "format": "segmentation", "channel_def": dict(enumerate(names))},
                "uv": {"type": "image", "format": "magnitude", "value_range": [-1, 1]},
            },
        ),
    }
    inference = {
        "network_def": {
            "_target_": f"{NETWORK_MODULE}.{recipe.network.name}",
            "structures": len(names),
            "channels": list(recipe.network.channels),
            "uncertainty": recipe.network.uncertainty,
            "views": recipe.network.views,
        },
        "grid_size": list(recipe.target.grid),
        "read_out": recipe.target.read_out,
        "expects": dataclasses.asdict(recipe.expects),
    }
    return metadata, inference


def dense_shape_card(metadata: dict[str, Any], inference: dict[str, Any]) -> str:
    """The bundle's ``docs/README.md``."""
    plausibility = inference.get("plausibility")
    views = inference["network_def"].get("views", False)
    training, measured = metadata["training"], metadata.get("measured")
    recipe = training["recipe"]
    parent = f", begun with the weights of {training['started_from']}" if training.get("started_from") else ""
    phantoms = f", {recipe['phantom_share']:.0%} of each batch synthetic phantoms" if recipe["phantom_share"] else ""
    lines = [
        *card_head(metadata),
        f"Finds: {', '.join(s['name'] for s in metadata['structures'])}, with {len(metadata['landmark_names'])} landmarks.",
        "",
        f"{trained_on_text(training)}{phantoms}; "
        f"network {recipe['network']['name']}, {length_text(training)}{parent}. The data are not part of the bundle.",
        "",
        "Input: one radiograph, fitted with true proportions into a grid of "
        f"{recipe['target']['grid'][1]} x {recipe['target']['grid'][0]} pixels. Output: masks, uv maps, landmarks in LPS mm.",
        "",
        "Upright images of the kind of the training data are expected. "
        + ("Turned and mirrored ones are noticed. " if views else "Nothing detects turned or mirrored ones. ")
        + (
            "Other images are noticed by the shape that the landmarks form, by masks and landmarks that contradict each "
            f"other, and by vague uv maps; the limits were set on {plausibility['cases']} training cases by models that "
            f"had not seen them, {plausibility['above']} of which lie above."
            if plausibility
            else "Nothing detects images of another kind."
        ),
    ]
    lines += inherited_lines(metadata)
    if measured:
        lines += ["", f"## Measured on {measured['cases']} cases of `{measured['data']}` {measured['split']}", ""]
        lines += ["| | " + " | ".join(HEADLINE.values()) + " | missed |", "|---" * (len(HEADLINE) + 2) + "|"]
        for name, row in [*measured["groups"].items(), ("average", measured["average"])]:
            cells = [figure(row, metric) for metric in HEADLINE]
            cells.append("-" if row["missed_share"]["mean"] is None else f"{row['missed_share']['mean']:.1%}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += spacing_lines(measured)
    return "\n".join(lines) + "\n"
