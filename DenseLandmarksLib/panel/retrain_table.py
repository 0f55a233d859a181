"""The table before and after: errors of the old and the new version, all together and on each structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import qt
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.retraining.comparison import Comparison, signed

_ROW_PIXELS, _HEADER_PIXELS, _ROWS_SEEN = 20, 28, 12


class Line(NamedTuple):
    """One row of the table, as text."""

    what: str
    before: str
    after: str
    change: str


def lines_of(compared: Comparison | None, before: str, after: str) -> list[Line]:
    """The rows for a comparison of the versions ``before`` and ``after``; none where nothing was compared."""
    return [] if compared is None or compared.before_mm is None else list(_lines(compared, before, after))


def _lines(compared: Comparison, before: str, after: str) -> Iterator[Line]:
    yield Line(_("Version"), before, after, "")
    yield Line(_("Cases"), "", str(compared.cases), "")
    change = "" if compared.difference_mm is None else _change(compared.difference_mm[0])
    yield Line(_("Mean error"), _mm(compared.before_mm), _mm(compared.after_mm), change)
    if compared.difference_mm is not None:
        _mean, low, high = map(signed, compared.difference_mm)
        yield Line(_("95 % interval"), "", "", _("{low} to {high} mm").format(low=low, high=high))
    for one in compared.structures:
        name = one.name.replace("_", " ")
        yield Line(name, _mm(one.before_mm), _mm(one.after_mm), _change(one.after_mm - one.before_mm))
    if any(compared.called_absent):
        old, new = compared.called_absent
        yield Line(_("Called absent"), str(old), str(new), "")


def _mm(length: float | None) -> str:
    return "" if length is None else _("{length} mm").format(length=f"{length:.2f}")


def _change(length_mm: float) -> str:
    return _("{length} mm").format(length=signed(length_mm))


class RetrainTable:
    """The rows of a QTableWidget; a cell that shows what it should is not touched."""

    def __init__(self, table: Any) -> None:
        self._table, self._shown = table, []  # type: ignore[var-annotated]
        table.setColumnCount(len(Line._fields))
        table.setHorizontalHeaderLabels(["", _("Before"), _("After"), _("Difference")])
        table.verticalHeader().visible = False
        table.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.Fixed)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.horizontalHeader().setHighlightSections(False)

    def show(self, lines: list[Line]) -> None:
        """Have these rows; without any there is no table."""
        self._table.visible = bool(lines)
        if lines == self._shown:
            return
        self._shown = lines
        self._table.setRowCount(len(lines))
        for row, line in enumerate(lines):
            for column, text in enumerate(line):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                self._table.setItem(row, column, item)
        height = _HEADER_PIXELS + _ROW_PIXELS * min(len(lines), _ROWS_SEEN)
        self._table.setMinimumHeight(height)
        self._table.setMaximumHeight(height)
