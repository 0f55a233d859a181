"""A model that was trained in bfloat16 is as quick on a CPU that cannot multiply so, and finds the same there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.predictors import on_device
from DenseLandmarksLib.models.predictors.on_device import computes_mixed, has_bfloat16
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.blob_heat_finder import write_blob_finder
from Testing.models.disc_finder import marked_hand, patient, write_disc_finder
from Testing.models.neck_finder import marked_volume, write_neck_finder
from Testing.models.volume_model import neck_volume
from training import precision
from training.rewrite_bundle import rewrite_bundle
from training.run_recipe import OptimiserRecipe

# As a bundle says that its model was trained in bfloat16.
MIXED = {"is_mixed": True}


@dataclass(frozen=True)
class Model:
    """A bundle, and an image in which it finds something."""

    write: Callable[[Path], Path]
    image: Callable[[], MedicalImage]


def _mixed(folder: Path) -> Path:
    rewrite_bundle(load_bundle(folder), inference=MIXED)
    return folder


MODELS = {
    "heatmap": Model(lambda folder: write_disc_finder(folder, **MIXED), lambda: marked_hand(patient(1))),
    "heatmap_volume": Model(lambda folder: _mixed(write_blob_finder(folder)), neck_volume),
    "multi_scale": Model(lambda folder: _mixed(write_neck_finder(folder, passes=1)), marked_volume),
}


def look(folder: Path, image: MedicalImage) -> tuple[LandmarkSet, set[torch.dtype]]:
    """What a bundle finds on the CPU, and in what its convolutions computed."""
    predictor: Any = open_predictor(str(folder), "cpu")
    used: set[torch.dtype] = set()

    def note(_: nn.Module, __: Any, output: Tensor) -> None:
        used.add(output.dtype)

    for module in predictor.network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            module.register_forward_hook(note)
    return predictor.predict(image).landmarks, used


@pytest.mark.parametrize("family", MODELS)
def test_a_cpu_without_bfloat16_computes_in_float32_and_finds_the_same(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, image = MODELS[family].write(tmp_path / family), MODELS[family].image()
    monkeypatch.setattr(on_device, "has_bfloat16", lambda: True)
    mixed, used = look(folder, image)
    assert torch.bfloat16 in used
    monkeypatch.setattr(on_device, "has_bfloat16", lambda: False)
    plain, used = look(folder, image)
    assert used == {torch.float32}
    assert plain.presence == mixed.presence
    np.testing.assert_allclose(plain.points_lps_mm, mixed.points_lps_mm, atol=1.0)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({}, False),  # a torch that does not tell
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}, False),
        ({"_is_avx512_bf16_supported": True, "_is_amx_tile_supported": False}, True),
        ({"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": True}, True),
        ({"_is_amx_tile_supported": True}, True),
    ],
)
def test_either_of_two_instruction_sets_multiplies_in_bfloat16(
    says: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
        if name in says:
            monkeypatch.setattr(torch.cpu, name, lambda said=says[name]: said, raising=False)
    assert has_bfloat16() is expected
    assert computes_mixed(MIXED, "cpu") is expected
    assert not computes_mixed(MIXED, "cuda")
    assert not computes_mixed({"is_mixed": False}, "cpu")
    assert not computes_mixed({}, "cpu")


def test_a_training_asks_the_same_question(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed, plain = OptimiserRecipe(precision="bfloat16"), OptimiserRecipe()
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not precision.computes_mixed(mixed, "cpu")
    assert precision.computes_mixed(mixed, "cuda")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert precision.computes_mixed(mixed, "cpu")
    assert not precision.computes_mixed(plain, "cpu")
