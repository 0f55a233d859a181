"""The question above the sections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Review
from Testing.host import Host

Open = Callable[[Any], Any]


def with_lost_work(widget: Any, open_chest: Open, library: Library) -> Any:
    """chest-0 open anew after work on it ended without a save."""
    panel = open_chest(widget)
    panel.bench.do(Session.accept_remaining)
    panel.bench.case.close()
    panel.bench.poll()
    panel.bench.open_case(library.cases()[0].id)
    panel.refresh()
    return panel


def test_work_that_was_not_saved_is_offered_and_goes_on(
    host: Host, widget: Any, open_chest: Open, library: Library
) -> None:
    panel = with_lost_work(widget, open_chest, library)
    ui = panel.ui
    assert "did not save: 2 edits" in ui.noticeLabel.text
    host.click(ui.noticeYesButton)
    assert set(panel.bench.state.landmarks.review) == {Review.VERIFIED}
    assert not ui.noticeFrame.visible
    panel.bench.undo()
    assert set(panel.bench.state.landmarks.review) == {Review.PREDICTED}


def test_work_is_discarded_only_when_the_person_says_so_twice(
    host: Host, widget: Any, open_chest: Open, library: Library
) -> None:
    panel = with_lost_work(widget, open_chest, library)
    host.answer("yesNo", False)
    host.click(panel.ui.noticeNoButton)
    assert panel.ui.noticeFrame.visible
    host.answer("yesNo", True)
    host.click(panel.ui.noticeNoButton)
    assert not panel.ui.noticeFrame.visible
    assert panel.bench.session.recoverable == ()


def test_a_scene_older_than_its_library_asks_which_to_keep(
    host: Host, widget: Any, open_chest: Open, library: Library, tmp_path: Path
) -> None:
    panel = open_chest(widget)
    panel.bench.save()
    host.save_scene(tmp_path / "scene.mrb")
    panel.bench.do(Session.accept_remaining)
    panel.bench.save()
    for answer, review in ((panel.ui.noticeYesButton, Review.VERIFIED), (panel.ui.noticeNoButton, Review.PREDICTED)):
        host.open_scene(tmp_path / "scene.mrb")
        host.process(until=lambda: panel.bench.case is not None)
        host.process(0.1)
        assert panel.ui.noticeFrame.visible
        assert "Both are shown" in panel.ui.noticeLabel.text
        host.click(answer)
        assert set(panel.bench.state.landmarks.review) == {review}
        assert not panel.ui.noticeFrame.visible


def test_without_a_question_nothing_is_shown(host: Host, widget: Any, open_chest: Open) -> None:
    assert not widget.panel.ui.noticeFrame.visible
    assert not open_chest(widget).ui.noticeFrame.visible
