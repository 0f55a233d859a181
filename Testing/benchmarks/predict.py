"""A whole prediction against the network pass in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from DenseLandmarksLib.models.networks.dense_shape import CompactDenseSegNet, DenseSegNet, DenseShapeOutput
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.versions import shipped_bundles
from Testing.benchmarks.chest import GRID_SIZE, chest_phantom, chest_template
from Testing.benchmarks.timing import Row, compare_overhead
from training.phantoms import Phantom, phantom_image

SHIPPED = "chest-xray"
IMAGE_SIZES = (512, 2048)
# Masks and uv as uneven as a trained network's: an untrained one, whose answer is replaced, finds nothing to read.
UV_NOISE, LOGIT_NOISE = 0.01, 1.0


class AnswersWithTheTruth(nn.Module):
    """Does a network's whole work, then answers with the masks and uv maps of a phantom, a little noisy."""

    def __init__(self, network: CompactDenseSegNet | DenseSegNet, phantom: Phantom) -> None:
        super().__init__()
        self.network = network
        stride = network.stride
        size = (GRID_SIZE[0] // stride, GRID_SIZE[1] // stride)
        uv = [
            draw_uv_map(structure, (phantom.contours[structure.name] + 0.5) / stride - 0.5, size)
            for structure in phantom.template.structures
        ]
        rng = np.random.default_rng(0)
        logits = np.where(phantom.masks, 3.0, -3.0) + LOGIT_NOISE * rng.standard_normal(phantom.masks.shape)
        noisy = np.stack(uv) + UV_NOISE * rng.standard_normal((len(uv), 2, *size))
        self.mask_logits = torch.from_numpy(logits).float()[None]
        self.uv = torch.from_numpy(noisy).float()[None]
        self.log_scale = torch.full_like(self.uv, float(np.log(UV_NOISE)))

    def forward(self, images: Tensor) -> DenseShapeOutput:
        self.network(images)
        return DenseShapeOutput(self.mask_logits, self.uv, self.log_scale)


def _with_the_truth(name: str, network: CompactDenseSegNet | DenseSegNet, template: Template) -> DenseShapePredictor:
    answering = AnswersWithTheTruth(network, chest_phantom(template))
    return DenseShapePredictor(answering, template, GRID_SIZE, name, "0")


def predictors() -> list[DenseShapePredictor]:
    """The shipped model where there is one, else a network of its size; and a network of the paper's size."""
    template = chest_template()
    if SHIPPED in [folder.name for folder in shipped_bundles()]:
        small = open_predictor(SHIPPED, "cpu")
    else:
        small = _with_the_truth("compact network", CompactDenseSegNet(5, (48, 96, 192, 384)), template)
    return [small, _with_the_truth("network of the paper's size", DenseSegNet(5, uncertainty=True), template)]


def _row(predictor: DenseShapePredictor, size: int) -> Row:
    image = phantom_image(chest_phantom(predictor.template, (size, size)))
    pixels = fit_grid(image, predictor.grid_size).resample(image.pixels_yx)
    return compare_overhead(
        f"predict {size} x {size}, {predictor.name} / its network pass",
        lambda: predictor.predict(image),
        lambda: predictor.run_network(pixels),
        at_most=1.25,
    )


def predict_rows() -> list[Row]:
    """Each predictor on a small and on a large radiograph, no file read or written."""
    return [_row(predictor, size) for predictor in predictors() for size in IMAGE_SIZES]
