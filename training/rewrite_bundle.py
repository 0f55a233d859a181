"""What is measured later, written into a bundle that there is: its configuration and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from DenseLandmarksLib.models.bundle import LICENSE, Bundle, load_bundle, save_bundle
from training.export_dense_shape import dense_shape_card
from training.export_heatmap import heatmap_card
from training.export_volume import volume_card
from training.finetuning.inherit_calibration import CALIBRATION_OF


def record_measurement(folder: Path, report: dict[str, Any]) -> None:
    """Write the figures of an evaluation report into the bundle's metadata and model card."""
    bundle = load_bundle(folder)
    measured = {key: report[key] for key in ("data", "split", "cases", "spacing", "average", "groups", "structures")}
    # Where landmarks are few and each of interest.
    if bundle.family.name != "dense_shape":
        measured |= {key: report[key] for key in ("landmarks", "all_landmarks", "spearman_uncertainty_error")}
    rewrite_bundle(bundle, metadata={"measured": measured})


def rewrite_bundle(
    bundle: Bundle, metadata: dict[str, Any] | None = None, inference: dict[str, Any] | None = None
) -> None:
    """The same bundle with some entries of its configuration replaced, and a card that says so."""
    # A model that is calibrated anew has a calibration of its own.
    kept = {name: value for name, value in bundle.metadata.items() if not (inference and name == CALIBRATION_OF)}
    new_metadata, new_inference = {**kept, **(metadata or {})}, {**bundle.inference, **(inference or {})}
    write_card = {
        "dense_shape": dense_shape_card,
        "multi_scale": volume_card,
        "heatmap": heatmap_card,
        "heatmap_volume": volume_card,
    }[bundle.family.name]
    card = write_card(new_metadata, new_inference)
    license_text = (bundle.folder / LICENSE).read_text()
    files = bundle.family_files()
    save_bundle(bundle.folder, new_metadata, new_inference, files, bundle.weights, card, license_text)
