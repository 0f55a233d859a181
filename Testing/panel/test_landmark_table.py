"""The table keeps its rows where they are, says what the case says, and is fast with hundreds of rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.worklist import Worklist
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review

if TYPE_CHECKING:
    from Testing.host import Host

NAME, STRUCTURE, STATE, DOUBT = range(4)


def a_case(count: int = 6, spacing: SpacingSource = SpacingSource.DETECTOR) -> CaseState:
    """A film with landmarks from the most doubtful to the surest, on two structures; sigma is 1, 2, 3, ... of the unit."""
    geometry = ImageGeometry((100, 100, 1), (0.5, 0.5, 1.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1), spacing)
    names = [f"point_{n:04d}" for n in range(count)]
    unplaced = LandmarkSet.unplaced(names, ["heart" if n % 2 else "lung" for n in range(count)])
    points = np.column_stack([np.linspace(1, 49, count), np.full(count, 10.0), np.zeros(count)])
    sigma = np.arange(1, count + 1, dtype=float)
    landmarks = replace(
        unplaced,
        points_lps_mm=points,
        predicted_lps_mm=points,
        presence=(Presence.PRESENT,) * count,
        confidence=np.linspace(0, 1, count),
        covariance_mm2=sigma[:, None, None] ** 2 * np.diag([1.0, 1.0, 0.0]),
    )
    return CaseState(geometry, landmarks)


def said(state: CaseState, name: str, presence: Presence, review: Review) -> CaseState:
    """The case with one landmark decided."""
    row, old = state.landmarks.names.index(name), state.landmarks
    now = list(old.presence), list(old.review)
    now[0][row], now[1][row] = presence, review
    return replace(state, landmarks=replace(old, presence=tuple(now[0]), review=tuple(now[1])))


class Shown:
    """A table of its own, as the section uses it."""

    def __init__(self, host: Host) -> None:
        import qt

        from DenseLandmarksLib.panel import choices, landmark_rows, landmark_table

        self.host, self._rows_of, self.choices = host, landmark_rows.rows_of, choices.Shown
        self.widget = qt.QTableWidget()
        self.widget.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table = landmark_table.LandmarkTable(self.widget)
        host.show(self.widget)

    def show(self, state: CaseState, worklist: Worklist, wanted: str = "", shown: Any = None) -> None:
        self.table.show(self._rows_of(state, worklist), wanted, shown or self.choices.ALL)

    def column(self, column: int) -> list[str]:
        return [self.widget.item(n, column).text() for n in range(self.widget.rowCount)]

    def colour(self, row: int, column: int) -> tuple[int, ...] | None:
        import qt

        colour = self.widget.item(row, column).data(qt.Qt.DecorationRole)
        return None if colour is None else (colour.red(), colour.green(), colour.blue())


@pytest.fixture
def shown(host: Host) -> Shown:
    return Shown(host)


@pytest.mark.parametrize(
    ("presence", "review", "word"),
    [
        (Presence.PRESENT, Review.PREDICTED, "predicted"),
        (Presence.PRESENT, Review.VERIFIED, "verified"),
        (Presence.PRESENT, Review.CORRECTED, "corrected"),
        (Presence.PRESENT, Review.PLACED, "placed"),
        (Presence.PRESENT, Review.UNSURE, "unsure"),
        (Presence.ABSENT, Review.PREDICTED, "absent?"),
        (Presence.ABSENT, Review.CORRECTED, "absent"),
        (Presence.ABSENT, Review.VERIFIED, "absent"),
        (Presence.UNPLACED, Review.PREDICTED, "not placed"),
        (Presence.UNPLACED, Review.UNSURE, "unsure"),
    ],
)
def test_every_state_has_a_word_a_colour_and_an_explanation(
    shown: Shown, presence: Presence, review: Review, word: str
) -> None:
    state = a_case()
    shown.show(said(state, "point_0002", presence, review), Worklist.of(state))
    assert shown.column(STATE)[2] == word
    assert shown.colour(2, STATE) is not None
    assert len(shown.widget.item(2, STATE).toolTip()) > 10


def test_the_doubt_is_the_radius_that_holds_nine_in_ten_in_the_images_unit(shown: Shown) -> None:
    state = a_case()
    shown.show(state, Worklist.of(state))
    # The radius of a round normal distribution in a plane: sigma * sqrt(-2 ln 0.1) = 2.146 sigma.
    for n, text in enumerate(shown.column(DOUBT)):
        assert text.startswith("±")
        assert text.endswith(" mm")
        assert float(text[1:-3]) == pytest.approx(2.146 * (n + 1), rel=0.02, abs=0.06)
    assert "Confidence 40 %" in shown.widget.item(2, DOUBT).toolTip()
    unknown = a_case(spacing=SpacingSource.UNKNOWN)
    shown.show(unknown, Worklist.of(unknown))
    assert all(text.endswith(" px") for text in shown.column(DOUBT))


def test_the_colour_of_the_doubt_is_that_of_the_ellipse(shown: Shown) -> None:
    from DenseLandmarksLib.scene.ellipses import confidence_colours

    state = a_case()
    shown.show(state, Worklist.of(state))
    expected = np.round(255 * confidence_colours(state.landmarks.confidence))
    for n in range(6):
        np.testing.assert_array_equal(shown.colour(n, DOUBT), expected[n])
    shown.show(said(state, "point_0001", Presence.PRESENT, Review.CORRECTED), Worklist.of(state))
    assert shown.column(DOUBT)[1] == ""  # there is no ellipse either
    assert shown.colour(1, DOUBT) is None


def test_no_row_jumps_when_states_and_confidence_change(shown: Shown) -> None:
    state = a_case()
    worklist = Worklist.of(state)
    shown.show(state, worklist)
    before = shown.column(NAME)
    now = said(state, "point_0000", Presence.PRESENT, Review.VERIFIED)
    now = replace(now, landmarks=replace(now.landmarks, confidence=now.landmarks.confidence[::-1].copy()))
    shown.show(now, worklist.updated(now))
    assert shown.column(NAME) == before
    assert shown.column(STATE)[0] == "verified"


def test_only_cells_that_differ_are_touched(shown: Shown) -> None:
    state = a_case()
    worklist = Worklist.of(state)
    shown.show(state, worklist)
    cells = [(row, column) for row in range(6) for column in range(4)]
    for row, column in cells:
        shown.widget.item(row, column).setToolTip("as it was")
    shown.show(state, worklist)
    shown.show(said(state, "point_0003", Presence.PRESENT, Review.UNSURE), worklist)
    touched = [at for at in cells if shown.widget.item(*at).toolTip() != "as it was"]
    assert touched == [(3, STATE)]


def test_the_filter_hides_rows_and_never_sorts_them(shown: Shown) -> None:
    state = said(a_case(), "point_0001", Presence.ABSENT, Review.CORRECTED)
    worklist = Worklist(state.landmarks.names)
    choices = shown.choices

    def seen(wanted: str, which: Any) -> list[int]:
        shown.show(state, worklist, wanted, which)
        assert shown.column(NAME) == list(state.landmarks.names)
        there = [n for n in range(6) if not shown.widget.isRowHidden(n)]
        assert [f"point_{n:04d}" for n in there] == list(shown.table.seen())
        return there

    assert seen("", choices.ALL) == [0, 1, 2, 3, 4, 5]
    assert seen(" HEART ", choices.ALL) == [1, 3, 5]
    assert seen("_0002", choices.ALL) == [2]
    assert seen("heart", choices.LEFT) == [3, 5]
    assert seen("", choices.DECIDED) == [1]
    assert seen("", choices.ABSENT) == [1]
    assert seen("nobody", choices.ALL) == []
    assert seen("", choices.LEFT) == [0, 2, 3, 4, 5]


def test_what_is_hidden_is_not_selected(shown: Shown) -> None:
    state = a_case()
    worklist = Worklist.of(state)
    shown.show(state, worklist)
    shown.widget.selectAll()
    assert len(shown.table.selected()) == 6
    shown.show(state, worklist, "heart")
    assert shown.table.selected() == ("point_0001", "point_0003", "point_0005")


def test_a_selection_is_kept_by_name_when_rows_come_and_go(shown: Shown) -> None:
    state = a_case()
    shown.show(state, Worklist.of(state))
    shown.table.go_to("point_0002")
    shown.widget.item(4, NAME).setSelected(True)
    shown.show(state, Worklist(state.landmarks.names[::-1]))
    assert shown.column(NAME)[0] == "point_0005"
    assert set(shown.table.selected()) == {"point_0002", "point_0004"}
    assert shown.table.current == "point_0002"
    fewer = replace(state, landmarks=state.landmarks.rows([0, 1, 4]))
    shown.show(fewer, Worklist.of(fewer))
    assert shown.column(NAME) == ["point_0000", "point_0001", "point_0004"]
    assert shown.table.selected() == ("point_0004",)
    assert shown.table.current == ""
    shown.table.show([], "", shown.choices.ALL)
    assert shown.widget.rowCount == 0
    assert shown.table.selected() == ()


def test_going_to_a_row_brings_it_into_sight_and_tells_nobody(shown: Shown) -> None:
    state = a_case(166)
    shown.show(state, Worklist.of(state))
    told: list[Any] = []
    shown.widget.connect("itemSelectionChanged()", lambda: told.append(1))
    shown.widget.connect("currentCellChanged(int,int,int,int)", lambda: told.append(2))
    shown.table.go_to("point_0150")
    assert told == []
    assert shown.table.selected() == ("point_0150",)
    visible = shown.widget.visualItemRect(shown.widget.item(150, NAME))
    assert 0 <= visible.y() < shown.widget.viewport().height
    shown.table.go_to("nobody")
    assert (shown.table.selected(), shown.table.current) == ((), "")


@pytest.mark.parametrize(("count", "limit_ms"), [(166, 10.0), (1000, 60.0)])
@pytest.mark.timed
def test_an_edit_is_shown_at_once(shown: Shown, count: int, limit_ms: float) -> None:
    state = a_case(count)
    worklist = Worklist.of(state)
    shown.show(state, worklist)
    took_ms = []
    for n in range(0, 20):
        state = said(state, f"point_{n:04d}", Presence.PRESENT, Review.CORRECTED)
        began = time.perf_counter()
        shown.show(state, worklist)
        took_ms.append(1000 * (time.perf_counter() - began))
    assert min(took_ms) < limit_ms, took_ms


def test_ten_rows_are_seen_at_once(host: Host, open_chest: Callable[[Any], Any], widget: Any) -> None:
    panel = open_chest(widget)
    table = panel.ui.landmarkTable
    host.process()
    assert table.viewport().height >= 10 * table.rowHeight(0)
