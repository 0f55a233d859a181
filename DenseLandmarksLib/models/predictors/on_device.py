"""Running a network on the device of its predictor: on the card as long as its memory suffices, then on the CPU for good."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

logger = logging.getLogger(__name__)

T = TypeVar("T")


class OnDevice(Protocol):
    """A predictor that says where its network is, ``"cuda"`` or ``"cpu"``."""

    device: str

    @property
    def network(self) -> nn.Module:
        """What runs there."""
        ...


def has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies in bfloat16; torch has no public name for the question.

    One that does not computes each convolution some twenty times as long as in float32.
    """
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


def computes_mixed(inference: Mapping[str, Any], device: str) -> bool:
    """Whether a bundle's network convolves in bfloat16 on ``device``: on a CPU that can, where ``is_mixed`` asks for it.

    One machine always answers alike; where two differ, their landmarks agree but for rounding.
    """
    return device == "cpu" and bool(inference.get("is_mixed", False)) and has_bfloat16()


def within_memory(predictor: OnDevice, look: Callable[[], T]) -> T:
    """What a look gives; where the card's memory is too small for it, on the CPU from then on, and the log says so."""
    try:
        return look()
    except torch.OutOfMemoryError:
        if predictor.device == "cpu":
            raise
    # Outside the handler: the error holds what filled the card.
    logger.warning("not enough memory on %s; going on with the CPU", predictor.device)
    predictor.device = "cpu"
    predictor.network.to("cpu")
    torch.cuda.empty_cache()
    return look()


def run_on_grid(predictor: OnDevice, grid_pixels: NDArray[np.floating[Any]]) -> Any:
    """What the network makes of one grid (H, W), as a batch of one."""
    images = torch.from_numpy(np.ascontiguousarray(grid_pixels, np.float32))[None, None]

    @torch.inference_mode()
    def look() -> Any:
        return predictor.network(images.to(predictor.device))

    return within_memory(predictor, look)


def grey_ramp(grid_size: tuple[int, int]) -> NDArray[np.float32]:
    """A z-normalised grid (H, W) that any network must get through."""
    ramp = np.add.outer(*map(np.arange, grid_size)).astype(np.float32)
    return np.asarray((ramp - ramp.mean()) / ramp.std())
