"""What keeps a model near what it was: old cases seen again, a pull to the old weights; or nothing, when it is trained anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from Testing.training.finetuning.chest_library import LEARN, run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import (
    distance,
)
from Testing.training.kept_state import rows_of
from training.finetuning.dense_shape import FinetuneDenseShape
from training.finetuning.recipe import FinetuneRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_replayed_cases_make_their_share_of_each_batch(
    library: Annotator, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    draw_batch = FinetuneDenseShape.draw_batch

    def spy(task: FinetuneDenseShape, order: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        seen.append(order)
        return draw_batch(task, order, generator)

    monkeypatch.setattr(FinetuneDenseShape, "draw_batch", spy)
    run(library, tmp_path / "run", replay=phantom_folder)
    drawn = torch.cat(seen)
    assert [len(order) for order in seen] == [4] * 6
    assert (drawn >= 3).float().mean() == 0.5
    assert set(drawn[drawn < 3].tolist()) == {0, 1, 2}
    card = (tmp_path / "run" / "bundle" / "docs" / "README.md").read_text()
    assert "8 `train` cases of `phantoms` replayed" in card


def test_the_pull_keeps_weights_near_the_old_ones(library: Annotator, chest_bundle: Path, tmp_path: Path) -> None:
    free, pulled = (
        run(library, tmp_path / str(pull), FinetuneRecipe(**{**vars(LEARN), "steps": 12, "pull": pull}))
        for pull in (0.0, 10.0)
    )
    assert 0 < distance(pulled, chest_bundle) < 0.3 * distance(free, chest_bundle)
    assert "pull" in rows_of(pulled / "training.csv")[0]
    assert "pull" not in rows_of(free / "training.csv")[0]


def test_the_pull_holds_where_old_cases_are_at_hand_and_have_no_share(
    library: Annotator, phantom_folder: Path, tmp_path: Path
) -> None:
    """Else nothing would keep the model near what it was."""
    for share, is_pulled in ((0.0, True), (0.5, False)):
        few = FinetuneRecipe(steps=1, epochs=1, ema=0.0, replay_share=share)
        output = run(library, tmp_path / str(share), few, replay=phantom_folder)
        assert ("pull" in rows_of(output / "training.csv")[0]) == is_pulled


def test_a_model_can_be_trained_anew_from_the_same_cases(
    library: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    going_on, anew = (FinetuneRecipe(steps=1, epochs=1, ema=0.0, anew=anew) for anew in (False, True))
    near = distance(run(library, tmp_path / "going-on", going_on), chest_bundle)
    assert distance(run(library, tmp_path / "anew", anew), chest_bundle) > 10 * near
