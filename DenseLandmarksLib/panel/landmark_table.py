"""The table of landmarks: a row keeps its place while a person works, and only cells that differ are touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import qt
from slicer.i18n import tr as _

from DenseLandmarksLib.panel.choices import Shown
from DenseLandmarksLib.panel.landmark_rows import Cell, Row

NAME, STRUCTURE, STATE, DOUBT = range(4)
_ROWS_SEEN = 10
_ROW_PIXELS = 20


class LandmarkTable:
    """The rows of a QTableWidget, by the names of their landmarks.

    Attributes
    ----------
    rows : what is shown, also in rows that are hidden by the filter.
    """

    def __init__(self, table: Any) -> None:
        self.rows: list[Row] = []
        self._table = table
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Name"), _("Structure"), _("State"), _("Doubt")])
        table.verticalHeader().visible = False
        table.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.Fixed)
        header = table.horizontalHeader()
        for column in (NAME, STRUCTURE):
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch)
        for column in (STATE, DOUBT):
            header.setSectionResizeMode(column, qt.QHeaderView.Interactive)
        header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
        header.setHighlightSections(False)
        table.setMinimumHeight(_ROWS_SEEN * _ROW_PIXELS + 30)
        self._hidden: list[bool] = []

    def show(self, rows: Sequence[Row], wanted: str, shown: Shown) -> None:
        """Have these rows, those hidden that the filter leaves out; who was selected or current stays so by name."""
        names = [row.name.text for row in rows]
        same = names == self._names()
        selected, current = ((), "") if same else (self.selected(), self.current)
        with self._quiet():
            if len(rows) != len(self.rows):
                self._table.setRowCount(len(rows))
                del self.rows[len(rows) :], self._hidden[len(rows) :]
            for n, row in enumerate(rows):
                before = self.rows[n] if n < len(self.rows) else None
                if row is not before and row != before:
                    self._fill(n, row, before)
            self.rows = list(rows)
            for n, row in enumerate(rows):
                hidden = not row.is_shown(wanted, shown)
                if n >= len(self._hidden):
                    self._hidden.append(False)
                if hidden != self._hidden[n]:
                    self._table.setRowHidden(n, hidden)
                    self._hidden[n] = hidden
            if not same:
                self._select(selected, current)
                # Once for each visit, as wide as what there is to read in this font: it takes too long for each edit.
                for column in (STATE, DOUBT):
                    self._table.resizeColumnToContents(column)

    def go_to(self, name: str) -> None:
        """Make a row the current and only selected one and bring it into sight; nothing is told."""
        with self._quiet():
            self._table.clearSelection()
            names = self._names()
            self._table.setCurrentCell(names.index(name) if name in names else -1, NAME)
            if name in names:
                self._table.scrollToItem(self._table.item(names.index(name), NAME))

    @property
    def current(self) -> str:
        """The landmark of the current row; empty for none."""
        row = self.current_row
        return "" if row is None else row.name.text

    @property
    def current_row(self) -> Row | None:
        """What the current row shows."""
        row = self._table.currentRow()
        return self.rows[row] if 0 <= row < len(self.rows) else None

    def selected(self) -> tuple[str, ...]:
        """The landmarks of the selected rows, from top to bottom; what is hidden is not selected."""
        chosen = sorted({item.row() for item in self._table.selectedItems()})
        return tuple(self.rows[row].name.text for row in chosen if row < len(self.rows))

    def selected_rows(self) -> tuple[Row, ...]:
        """What the selected rows show."""
        selected = set(self.selected())
        return tuple(row for row in self.rows if row.name.text in selected)

    def seen(self) -> tuple[str, ...]:
        """The landmarks that the filter lets through."""
        return tuple(row.name.text for row, hidden in zip(self.rows, self._hidden, strict=True) if not hidden)

    def _names(self) -> list[str]:
        return [row.name.text for row in self.rows]

    def _fill(self, n: int, row: Row, before: Row | None) -> None:
        for column, cell in enumerate(row.cells):
            if before is None or cell != before.cells[column]:
                self._fill_cell(n, column, cell)

    def _fill_cell(self, n: int, column: int, cell: Cell) -> None:
        item = self._table.item(n, column)
        if item is None:
            item = qt.QTableWidgetItem()
            self._table.setItem(n, column, item)
        item.setText(cell.text)
        item.setToolTip(cell.tip)
        item.setData(qt.Qt.DecorationRole, None if cell.colour is None else qt.QColor(*cell.colour))

    def _select(self, names: Collection[str], current: str) -> None:
        have = self._names()
        self._table.clearSelection()
        self._table.setCurrentCell(have.index(current) if current in have else -1, NAME)
        self._table.clearSelection()
        for name in names:
            if name in have:
                for column in (NAME, STRUCTURE, STATE, DOUBT):
                    self._table.item(have.index(name), column).setSelected(True)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """What changes meanwhile the person did not do."""
        before = self._table.blockSignals(True)
        try:
            yield
        finally:
            self._table.blockSignals(before)
