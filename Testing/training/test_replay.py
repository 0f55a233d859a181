"""Batches have the share of original cases that was asked for, and every case has its turn."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from DenseLandmarksLib.errors import InputError
from training.replay import CaseMix


def drawn(mix: CaseMix, batch: int, seed: int = 0) -> list[list[int]]:
    return [rows.tolist() for rows in mix.rows(batch, torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize(("cases", "batch"), [(5, 2), (8, 4), (3, 8), (1, 1)])
def test_without_replay_a_pass_is_a_permutation_in_slices(cases: int, batch: int) -> None:
    """What runs without replay have always drawn."""
    order = torch.randperm(cases, generator=torch.Generator().manual_seed(0)).tolist()
    steps = max(cases // batch, 1)
    for mix in (CaseMix(cases), CaseMix(cases, 0, 0.5), CaseMix(cases, 2, 0.0) if cases > 2 else CaseMix(cases)):
        assert drawn(mix, batch) == [order[step * batch : (step + 1) * batch] for step in range(steps)]
        assert mix.steps(batch) == steps


@pytest.mark.parametrize(
    ("new", "original", "share", "batch"), [(3, 10, 0.5, 4), (10, 3, 0.25, 4), (7, 5, 0.5, 1), (1, 90, 0.3, 8)]
)
def test_original_cases_make_their_share_of_a_pass_over_the_others(
    new: int, original: int, share: float, batch: int
) -> None:
    mix = CaseMix(new + original, original, share)
    batches = drawn(mix, batch)
    assert len(batches) == mix.steps(batch)
    assert {len(rows) for rows in batches} == {batch}
    counts = Counter(row for rows in batches for row in rows)
    assert set(range(new)) <= set(counts)
    of_new = [counts[row] for row in range(new)]
    assert max(of_new) - min(of_new) <= 1
    replayed = sum(count for row, count in counts.items() if row >= new)
    assert replayed == pytest.approx(share * batch * len(batches), abs=0.5)
    for rows in batches:
        assert abs(sum(row >= new for row in rows) - share * batch) < 1
    assert drawn(mix, batch, seed=1) != batches


def test_a_share_that_leaves_nothing_to_learn_from_is_told() -> None:
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match="share of replayed cases"):
            CaseMix(4, 2, share)
