"""From a dense-shape network's tensors to masks and a uv field (torch in, numpy out; nothing about images)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.locate import largest_component, reduce_masks
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput


def decode_output(
    output: DenseShapeOutput, structures: tuple[str, ...], item: int = 0
) -> tuple[NDArray[np.bool_], UvField]:
    """Masks (S, H, W), each its largest component, and the uv field of one image of a batch."""
    masks = (output.mask_logits[item] > 0).cpu().numpy()
    masks = np.stack([largest_component(mask) for mask in masks])
    uv = output.uv[item].float().cpu().numpy()
    scale = None if output.log_scale is None else torch.exp(output.log_scale[item].float()).cpu().numpy()
    stride = masks.shape[1] // uv.shape[2]
    return masks, UvField(structures, uv, scale, reduce_masks(masks, stride), stride)
