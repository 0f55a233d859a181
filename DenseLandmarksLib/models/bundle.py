"""A model on disk, in MONAI's bundle layout, with frames and units stated and weights that load without pickle.

::

    LICENSE                     terms of the weights
    configs/metadata.json       what it is, finds and was measured at; checksums of the other files
    configs/inference.json      network, its input, the images it expects, limits of plausibility
    configs/template.json       the template (mean shapes, uv, landmarks), for families that have one
    configs/joint_shape.json    the landmarks' joint shape, for families that have one
    models/model.safetensors    float16 weights
    docs/README.md              model card

``metadata["family"]`` says of which family it is, see :mod:`~DenseLandmarksLib.models.family`. ``metadata["demonstration"]``
is true for a model that was trained on synthetic images and shows how things work, no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename, write_json, write_text
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod
from DenseLandmarksLib.models.bundle_files import WEIGHTS, broken, check_file, check_weights, read_weights, sha256
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.family import FAMILIES, FIRST_FAMILY, JOINT_SHAPE, TEMPLATE, Family
from DenseLandmarksLib.models.structure_style import StructureStyle

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
CARD = "docs/README.md"
LICENSE = "LICENSE"
NETWORK_MODULE = "DenseLandmarksLib.models.networks.dense_shape"


@dataclass(frozen=True)
class BundleDescription:
    """All of a bundle but its weights: what shows its results, and looks up landmarks in them, needs no more.

    Attributes
    ----------
    folder : where it lies.
    metadata, inference : the JSON files.
    template : ``None`` for families without one.
    joint_shape : the JSON file, for its predictor to read; empty for families without one.
    """

    folder: Path
    metadata: dict[str, Any]
    inference: dict[str, Any]
    template: Template | None
    joint_shape: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        """Version of the model."""
        return str(self.metadata["version"])

    @property
    def family(self) -> Family:
        """What kind of model it is; for opening it and for nothing else."""
        return family_of(self.folder, self.metadata)

    @property
    def is_demonstration(self) -> bool:
        """Whether it only shows how things work: trained on synthetic images, never a default, doubted on real ones."""
        return self.metadata.get("demonstration") is True

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height and width of the grid of a model that has one."""
        height, width = self.inference["grid_size"]
        return int(height), int(width)

    @property
    def is_for_radiographs(self) -> bool:
        """Whether the model sees one slice, otherwise volumes: it states ``dimensions``, or its grid has two axes."""
        dimensions = self.inference.get("dimensions")
        if dimensions is None:
            dimensions = len(self.inference["grid_size"])
        if dimensions not in (2, 3):
            raise ValueError(f"dimensions are {dimensions}")
        return bool(dimensions == 2)

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """What it finds."""
        return tuple(map(str, self.metadata["landmark_names"]))

    @property
    def landmark_structures(self) -> tuple[str, ...]:
        """Of each landmark the organ, or what else it is listed under."""
        if self.template is not None:
            return tuple(s.name for s in self.template.structures for _ in s.landmark_names)
        return tuple(map(str, self.metadata["landmark_structures"]))

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
    def knows_either_side(self) -> bool:
        """Whether it looks at the mirror image itself where that is more like what it knows."""
        return self.inference.get("either_side") is True

    @property
    def limits(self) -> dict[str, float]:
        """Limits of the measures of plausibility; empty for a model that was not calibrated."""
        return {
            str(name): float(limit) for name, limit in self.inference.get("plausibility", {}).get("limits", {}).items()
        }

    @property
    def styles(self) -> tuple[StructureStyle, ...]:
        """Colour and terminology of each structure that it gives masks of; none for models that find landmarks only."""
        return tuple(StructureStyle.from_dict(style) for style in self.metadata["structures"])

    def need_template(self) -> Template:
        """The template; raises :class:`InputError`, in one line, for a model without one."""
        if self.template is None:
            raise InputError(
                f"expected a model with a template, got {self.name}, which finds landmarks only. Choose another model."
            )
        return self.template

    def family_files(self) -> dict[str, str]:
        """The files of its family, by name, as :func:`save_bundle` takes them."""
        return {name: (self.folder / name).read_text(encoding="utf-8") for name in self.family.files}


@dataclass(frozen=True)
class Bundle(BundleDescription):
    """A checked bundle; ``weights`` maps parameter names to float16 arrays."""

    weights: dict[str, NDArray[np.float16]]


def family_of(folder: Path, metadata: Mapping[str, Any]) -> Family:
    """The family that a bundle's metadata state; raises :class:`InputError` for one that this program does not know."""
    stated = metadata.get("family", FIRST_FAMILY)
    if not isinstance(stated, str) or stated not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise broken(folder, f"its family is {str(stated)[:60]!r}, and this version knows {known}")
    return FAMILIES[stated]


def checked_files(family: Family) -> tuple[str, ...]:
    """What the metadata of a family's bundles hold checksums of."""
    return INFERENCE, *family.files, WEIGHTS


def save_bundle(
    folder: Path,
    metadata: dict[str, Any],
    inference: dict[str, Any],
    files: Mapping[str, str],
    weights: Mapping[str, NDArray[Any]],
    card: str,
    license_text: str,
) -> None:
    """Write a bundle; the checksums are added to ``metadata``, which is written last and makes the bundle whole.

    ``files`` are those of its family, by name: ``{TEMPLATE: template.to_json()}``, ``{JOINT_SHAPE: json.dumps(shape)}``.

    Raises ``ValueError`` for files of another family, and :class:`InputError`, with nothing written, for weights that are no
    finite numbers in 16 bits.
    """
    from safetensors.numpy import save

    family = family_of(folder, metadata)
    if set(files) != set(family.files):
        raise ValueError(
            f"a bundle of the family {family.name} needs {', '.join(family.files)}, got {', '.join(files)}"
        )
    # In row-major order: safetensors writes what lies in memory, which of volume networks is another.
    with np.errstate(over="ignore"):
        half = {name: np.ascontiguousarray(value, np.float16) for name, value in weights.items()}
    wrong = [name for name, value in half.items() if not np.isfinite(value).all()]
    if wrong:
        raise InputError(
            f"expected weights that are finite numbers in 16 bits, got others in {wrong[0]}. Train again with a lower learning rate."
        )
    write_json(folder / INFERENCE, inference)
    for name, text in files.items():
        write_text(folder / name, text)
    with write_beside_and_rename(folder / WEIGHTS) as beside:
        beside.write_bytes(save(half))
    write_text(folder / CARD, card)
    write_text(folder / LICENSE, license_text)
    write_json(
        folder / METADATA, {**metadata, "checksums": {name: sha256(folder / name) for name in checked_files(family)}}
    )


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
    per_landmark = family_of(folder, metadata).metadata
    needed = ("name", "version", "structures", "landmark_names", "checksums", *per_landmark)
    missing = [key for key in needed if key not in metadata]
    if missing:
        raise broken(folder, f"{METADATA} lacks {', '.join(missing)}")
    kinds = {"structures": list, "landmark_names": list, "checksums": dict, **dict.fromkeys(per_landmark, list)}
    strange = [key for key, kind in kinds.items() if not isinstance(metadata[key], kind)]
    strange += [key for key in per_landmark if key not in strange and not _one_each(metadata, key)]
    if strange:
        raise broken(folder, f"{METADATA} has something else as {', '.join(strange)}")
    return metadata


def _one_each(metadata: Mapping[str, Any], key: str) -> bool:
    texts = metadata[key]
    return len(texts) == len(metadata["landmark_names"]) and all(isinstance(text, str) and text for text in texts)


def read_description(folder: Path) -> BundleDescription:
    """Read and check a bundle without its weights, which may be missing; raises :class:`InputError` in one line.

    Needs no safetensors.
    """
    metadata = read_metadata(folder)
    files = family_of(folder, metadata).files
    for name in (INFERENCE, *files):
        check_file(folder, name, metadata)
    try:
        inference = json.loads((folder / INFERENCE).read_text())
        template = Template.from_json((folder / TEMPLATE).read_text()) if TEMPLATE in files else None
        joint_shape = json.loads((folder / JOINT_SHAPE).read_text()) if JOINT_SHAPE in files else {}
        if not isinstance(joint_shape, dict):
            raise TypeError(f"{JOINT_SHAPE} is no JSON object")
        description = BundleDescription(folder, metadata, inference, template, joint_shape)
        # Read here, so that what they lack is told here.
        _ = description.is_for_radiographs, description.styles, description.expectation, description.limits
        _ = None if template is None else description.grid_size
    except (ValueError, KeyError, TypeError) as error:
        raise broken(folder, f"a configuration file cannot be read ({error!r})") from error
    return description


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle; raises :class:`InputError` in one line for anything missing, changed or pickled."""
    description = read_description(folder)
    weights = read_weights(folder, description.metadata)
    return Bundle(
        folder, description.metadata, description.inference, description.template, description.joint_shape, weights
    )


def check_bundle(folder: Path) -> BundleDescription:
    """Read a bundle's description and check that its weights are those that were saved, without opening them.

    Needs no safetensors. Raises :class:`InputError` as :func:`load_bundle` does.
    """
    description = read_description(folder)
    check_weights(folder, description.metadata)
    return description
