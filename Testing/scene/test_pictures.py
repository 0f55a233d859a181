"""The pictures of the documentation show what their captions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "trame_slicer", reason="trame-slicer is not installed: there is no view to draw", exc_type=ImportError
)

from Testing.scene.pictures import begin, in_one_picture, states


def test_the_main_states_of_a_case_look_as_the_captions_say(tmp_path: Path) -> None:
    work = begin(tmp_path)
    bare = work.screen
    seen = {}
    film = None
    for caption, pixels in states(work, tmp_path):
        if film is None:  # the film as it is without the case, in the same view
            parts = (work.case.segments.node, work.case.ellipses.node, *work.case.lists.nodes.values())
            for node in parts:
                node.GetDisplayNode().SetVisibility(False)
            film = bare.pixels()
            for node in parts:
                node.GetDisplayNode().SetVisibility(True)
        seen[caption.split(":")[0]] = pixels.astype(int)

    def changed(a: str, b: str) -> float:
        return float((np.abs(seen[a] - seen[b]).max(axis=2) > 20).mean())

    assert film is not None
    predicted, hovered, dragged, dropped, clicked, both = seen
    # Structures tint a good part of the film; the film itself is grey.
    assert (np.ptp(film.astype(int), axis=2) > 10).mean() < 0.01
    assert 0.2 < (np.ptp(seen[predicted], axis=2) > 10).mean() < 0.8
    assert changed(hovered, dragged) > 0.005
    assert changed(dragged, dropped) > 0.005
    assert changed(dropped, both) > 0.002  # in the same place: only the scene's own state is added
    assert len({pixels.tobytes() for pixels in seen.values()}) == 6
    assert "hilum" in work.case.session.state.landmarks.names
    assert work.case.two_states is not None
    assert work.case.two_states.is_open
    picture = in_one_picture([(caption, pixels.astype(np.uint8)) for caption, pixels in seen.items()])
    assert picture.width > 1900
    work.screen.close()
    assert clicked
