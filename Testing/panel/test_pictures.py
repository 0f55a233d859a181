"""What a person sees in each state is drawn, and each state looks otherwise."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from Testing.host import Host
from Testing.panel import pictures


@pytest.mark.usefixtures("warm")
def test_nine_states_are_drawn(host_with_view: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = host_with_view.screen.view.render_window().GetSize()  # type: ignore[union-attr]
    monkeypatch.setattr(pictures, "VIEW", tuple(size))
    drawn: dict[str, Image.Image] = dict(pictures.states(pictures.Sitting(host_with_view, tmp_path)))
    assert len(drawn) == 9
    seen = [np.asarray(picture.convert("L"), float) for picture in drawn.values()]
    for picture in seen:
        view = picture[: size[1], -size[0] :]
        assert view.std() > 10, "nothing is seen in the view"
        assert picture[:, : -size[0]].std() > 10, "nothing is seen in the panel"
    for one, other in itertools.pairwise(seen):
        assert one.shape != other.shape or np.abs(one - other).mean() > 0.1
