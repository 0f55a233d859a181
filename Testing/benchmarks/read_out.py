"""Reading landmarks: our k-d tree with a local affine inverse against DenseSeg's full-distance softmin."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from DenseLandmarksLib.landmarks.read_out import read_softmin
from DenseLandmarksLib.landmarks.uv_field import UvField
from Testing.benchmarks.chest import chest_phantom, chest_template
from Testing.benchmarks.timing import Row, compare_speed, time_alone


def read_full_distance(uv: Tensor, uv_query: Tensor, k: int = 5) -> Tensor:
    """DenseSeg's read-out of one structure by the description in ``papers.md`` 3.1: positions (B, N, 2).

    ``uv`` (B, 2, H, W) is NaN outside the structure, ``uv_query`` is (N, 2). Every pixel's distance to every query is
    kept, (B, HW, N), and all pixels are weighted, (B, HW, N, 2), although all but ``k`` of them by 0.
    """
    height, width = uv.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.stack([columns, rows], dim=-1).reshape(1, -1, 1, 2).float()
    distance = (uv.flatten(2).transpose(1, 2)[:, :, None] - uv_query).norm(dim=-1).nan_to_num(nan=torch.inf)
    closest, index = distance.topk(k, dim=1, largest=False)
    weight = torch.zeros_like(distance).scatter(1, index, torch.softmax(-closest, dim=1))
    return (weight[..., None] * positions).sum(dim=1)


def read_out_rows() -> list[Row]:
    """All 166 landmarks of five structures, search trees included; then one landmark more."""
    template = chest_template()
    phantom = chest_phantom(template)
    uv = np.stack([phantom.uv_map(name) for name in template.structure_names])
    queries = [structure.landmark_uv for structure in template.structures]
    masked = [
        torch.from_numpy(np.where(mask, map_, np.nan))[None] for mask, map_ in zip(phantom.masks, uv, strict=True)
    ]
    queries_torch = [torch.from_numpy(query).float() for query in queries]

    def new_field() -> UvField:
        return UvField(template.structure_names, uv, None, phantom.masks, stride=1)

    def ours() -> None:
        field = new_field()
        for structure in template.structures:
            field.read(structure.name, structure.landmark_uv)

    def paper() -> list[Tensor]:
        return [read_full_distance(*one) for one in zip(masked, queries_torch, strict=True)]

    # What is timed must be the paper's formula: it has to find what our own softmin finds.
    expected = [read_softmin(*one) for one in zip(uv, phantom.masks, queries, strict=True)]
    np.testing.assert_allclose(np.concatenate([found[0] for found in paper()]), np.concatenate(expected), atol=0.02)

    cached = new_field()
    new_landmark = np.array([[0.1, -0.3]])
    return [
        compare_speed("read 166 landmarks / the paper's full-distance formula", ours, paper, at_least=50),
        time_alone("look up one new landmark in a cached field", lambda: cached.read("heart", new_landmark), 5),
    ]
