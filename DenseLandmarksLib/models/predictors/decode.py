"""From a dense-shape network's tensors to masks and a uv field (torch in, numpy out; nothing about images)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.landmarks.border import trace_border
from DenseLandmarksLib.landmarks.locate import largest_component, reduce_masks
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod, UvField
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy())


def decode_output(
    output: DenseShapeOutput, structures: tuple[str, ...], item: int = 0, read_out: ReadOutMethod = "border"
) -> tuple[NDArray[np.bool_], UvField]:
    """Masks (S, H, W), each its largest component, and the uv field of one image of a batch."""
    # Thresholds and exponentials in numpy: torch would wake all its threads for a fraction of a millisecond's work.
    logits, uv = _to_numpy(output.mask_logits[item]), _to_numpy(output.uv[item])
    masks = np.stack([largest_component(mask) for mask in logits > 0])
    scale = None if output.log_scale is None else np.exp(_to_numpy(output.log_scale[item]))
    stride = masks.shape[1] // uv.shape[2]
    borders: tuple[NDArray[np.float64], ...] = ()
    if read_out == "border":
        borders = tuple(trace_border(level, mask) for level, mask in zip(logits, masks, strict=True))
    return masks, UvField(structures, uv, scale, reduce_masks(masks, stride), stride, read_out, borders)
