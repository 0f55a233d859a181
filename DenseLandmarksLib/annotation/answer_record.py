"""What a model said, in a store: so that a case can be read, corrected and asked where the model is not at hand.

It lies in two parts. Masks and uv field lie on the pixels and are large; they stay the same, and are kept once, when the
spacing of the image is corrected. The landmarks, the template and the styles are small.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.array_file import Header, Store
from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.prediction_arrays import prediction_from_arrays, prediction_to_arrays
from DenseLandmarksLib.models.structure_style import StructureStyle

FORMAT = 1
_ON_PIXELS = ("masks", "uv_field.")


def put_answer(answer: ModelAnswer, store: Store) -> str:
    """Keep what a model said; returns its key in the store.

    Nothing is lost but uv and its scale outside of the field's masks, which are zero when they come back: every
    read-out looks inside only, and without them the file is a fraction.
    """
    prediction, arrays = prediction_to_arrays(_read_only_inside(answer.prediction))
    pixels = {name: array for name, array in arrays.items() if name.startswith(_ON_PIXELS)}
    header = {
        "kind": "answer",
        "format": FORMAT,
        "prediction": prediction,
        "pixels": store.put({"kind": "pixels"}, pixels),
        "template": None if answer.template is None else _template_to_header(answer.template),
        "styles": [style.to_dict() for style in answer.styles],
    }
    return store.put(header, {name: array for name, array in arrays.items() if name not in pixels})


def get_answer(key: str, store: Store) -> ModelAnswer:
    """What :func:`put_answer` kept; raises :class:`InputError`, in one line, where it is missing or damaged."""
    header, arrays = store.get(key)
    if header.get("kind") != "answer" or header.get("format") != FORMAT:
        raise InputError(
            f"expected what a model said, in format {FORMAT}, in {store.path(key)}, got {header.get('kind')!r} in format "
            f"{header.get('format')!r}. Open it with the version of this program that wrote it."
        )
    try:
        pixels = store.get(header["pixels"])[1]
        template = header["template"]
        return ModelAnswer(
            prediction_from_arrays(header["prediction"], arrays | pixels),
            None if template is None else Template.from_json(json.dumps(template)),
            tuple(StructureStyle.from_dict(raw) for raw in header["styles"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected what a model said in {store.path(key)}, got {type(error).__name__} on reading it. "
            "Open an earlier revision, or predict the case again."
        ) from error


def _read_only_inside(prediction: Prediction) -> Prediction:
    field = prediction.uv_field
    if field is None:
        return prediction

    def inside(values: Any) -> Any:
        return np.where(field.masks[:, None], values, np.float32(0))

    scale = None if field.uv_scale is None else inside(field.uv_scale)
    zeroed = UvField(
        field.structures, inside(field.uv), scale, field.masks, field.stride, field.read_out, field.borders
    )
    return replace(prediction, uv_field=zeroed)


def _template_to_header(template: Template) -> Header:
    """As :meth:`Template.to_json`, which rounds, but with every digit: a case must go on exactly as it was left."""
    header: Header = json.loads(template.to_json())
    for entry, structure in zip(header["structures"], template.structures, strict=True):
        entry |= {name: getattr(structure, name).tolist() for name in ("points_mm", "uv", "landmark_uv")}
    return header
