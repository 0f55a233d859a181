"""A model on disk, in MONAI's bundle layout, with frames and units stated and weights that load without pickle.

::

    LICENSE                     terms of the weights
    configs/metadata.json       what it is, finds and was measured at; checksums of the other files
    configs/inference.json      network, grid, the images it expects, limits of plausibility
    configs/template.json       the template (mean shapes, uv, landmarks)
    models/model.safetensors    float16 weights
    docs/README.md              model card
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename, write_json, write_text
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.structure_style import StructureStyle

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
TEMPLATE = "configs/template.json"
WEIGHTS = "models/model.safetensors"
CARD = "docs/README.md"
LICENSE = "LICENSE"
DESCRIBING = (INFERENCE, TEMPLATE)
CHECKED = (*DESCRIBING, WEIGHTS)
NETWORK_MODULE = "DenseLandmarksLib.models.networks.dense_shape"


@dataclass(frozen=True)
class BundleDescription:
    """All of a bundle but its weights: what shows its results, and looks up landmarks in them, needs no more.

    ``metadata`` and ``inference`` are the JSON files.
    """

    folder: Path
    metadata: dict[str, Any]
    inference: dict[str, Any]
    template: Template

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        """Version of the model."""
        return str(self.metadata["version"])

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height and width of the model's grid."""
        height, width = self.inference["grid_size"]
        return int(height), int(width)

    @property
    def is_for_radiographs(self) -> bool:
        """Whether the model sees one slice: its grid has two axes."""
        return len(self.inference["grid_size"]) == 2

    @property
    def read_out(self) -> ReadOutMethod:
        """How landmarks are read out of the uv map."""
        method: ReadOutMethod = self.inference.get("read_out", "border")
        if method not in get_args(ReadOutMethod):
            raise broken(self.folder, f"it asks for the unknown read-out {method!r}")
        return method

    @property
    def expectation(self) -> Expectation:
        """The images that the model was trained on, as far as a file can state it."""
        return Expectation.from_dict(self.inference.get("expects", {}))

    @property
    def limits(self) -> dict[str, float]:
        """Limits of the measures of plausibility; empty for a model that was not calibrated."""
        return {
            str(name): float(limit) for name, limit in self.inference.get("plausibility", {}).get("limits", {}).items()
        }

    @property
    def styles(self) -> tuple[StructureStyle, ...]:
        """Colour and terminology of each structure."""
        return tuple(StructureStyle.from_dict(style) for style in self.metadata["structures"])


@dataclass(frozen=True)
class Bundle(BundleDescription):
    """A checked bundle; ``weights`` maps parameter names to float16 arrays."""

    weights: dict[str, NDArray[np.float16]]


def broken(folder: Path, what: str) -> InputError:
    """The one line said about a bundle that cannot be used."""
    return InputError(f"expected a model bundle in {folder}, but {what}. Restore the folder from where it came.")


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_bundle(
    folder: Path,
    metadata: dict[str, Any],
    inference: dict[str, Any],
    template: Template,
    weights: dict[str, NDArray[Any]],
    card: str,
    license_text: str,
) -> None:
    """Write a bundle; the checksums are added to ``metadata``, which is written last and makes the bundle whole."""
    from safetensors.numpy import save

    write_json(folder / INFERENCE, inference)
    write_text(folder / TEMPLATE, template.to_json())
    half = {name: np.ascontiguousarray(value, np.float16) for name, value in weights.items()}
    with write_beside_and_rename(folder / WEIGHTS) as beside:
        beside.write_bytes(save(half))
    write_text(folder / CARD, card)
    write_text(folder / LICENSE, license_text)
    write_json(folder / METADATA, {**metadata, "checksums": {name: sha256(folder / name) for name in CHECKED}})


def read_metadata(folder: Path) -> dict[str, Any]:
    """Only the metadata of a bundle: what a list of models needs."""
    try:
        metadata = json.loads((folder / METADATA).read_text())
    except OSError as error:
        raise broken(folder, f"{METADATA} is missing") from error
    except ValueError as error:
        raise broken(folder, f"{METADATA} is not JSON") from error
    if not isinstance(metadata, dict):
        raise broken(folder, f"{METADATA} is not a JSON object")
    missing = [key for key in ("name", "version", "structures", "landmark_names", "checksums") if key not in metadata]
    if missing:
        raise broken(folder, f"{METADATA} lacks {', '.join(missing)}")
    kinds = {"structures": list, "landmark_names": list, "checksums": dict}
    strange = [key for key, kind in kinds.items() if not isinstance(metadata[key], kind)]
    if strange:
        raise broken(folder, f"{METADATA} has something else as {', '.join(strange)}")
    return metadata


def read_description(folder: Path) -> BundleDescription:
    """Read and check a bundle without its weights, which may be missing; raises :class:`InputError` in one line.

    Needs no safetensors.
    """
    metadata = read_metadata(folder)
    for name in DESCRIBING:
        _check(folder, name, metadata)
    try:
        inference = json.loads((folder / INFERENCE).read_text())
        template = Template.from_json((folder / TEMPLATE).read_text())
        description = BundleDescription(folder, metadata, inference, template)
        # Read here, so that what they lack is told here.
        _ = description.grid_size, description.styles, description.expectation, description.limits
    except (ValueError, KeyError, TypeError) as error:
        raise broken(folder, f"a configuration file cannot be read ({error!r})") from error
    return description


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle; raises :class:`InputError` in one line for anything missing, changed or pickled."""
    description = read_description(folder)
    weights = _read_weights(folder, description.metadata)
    return Bundle(folder, description.metadata, description.inference, description.template, weights)


def check_bundle(folder: Path) -> BundleDescription:
    """Read a bundle's description and check that its weights are those that were saved, without opening them.

    Needs no safetensors. Raises :class:`InputError` as :func:`load_bundle` does.
    """
    description = read_description(folder)
    _check_weights(folder, description.metadata)
    return description


def _check_weights(folder: Path, metadata: dict[str, Any]) -> None:
    if (folder / WEIGHTS).is_file():
        with (folder / WEIGHTS).open("rb") as file:
            start = file.read(9)
        # Safetensors begin with the length of their header, which may look like a pickle's first bytes, and then "{".
        if start[8:] != b"{" and (start[:1] == b"\x80" or start[:4] == b"PK\x03\x04"):
            what = f"{WEIGHTS} is a pickle, which could run code and is refused; only safetensors are read"
            raise broken(folder, what)
    _check(folder, WEIGHTS, metadata)


def _read_weights(folder: Path, metadata: dict[str, Any]) -> dict[str, NDArray[np.float16]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    _check_weights(folder, metadata)
    try:
        weights: dict[str, NDArray[np.float16]] = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise broken(folder, f"{WEIGHTS} is not a safetensors file") from error
    return weights


def _check(folder: Path, name: str, metadata: dict[str, Any]) -> None:
    """Raise :class:`InputError` unless the file is there and is the one that was saved."""
    if not (folder / name).is_file():
        raise broken(folder, f"{name} is missing")
    if sha256(folder / name) != metadata["checksums"].get(name):
        raise broken(folder, f"{name} is not the file that was saved (its checksum differs)")
