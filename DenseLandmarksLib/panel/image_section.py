"""The section Image: which one, from which library, how large a pixel of it is, and which way round it is."""

from __future__ import annotations

from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.panel.calibration_row import CalibrationRow
from DenseLandmarksLib.panel.case_choice import CaseChoice
from DenseLandmarksLib.panel.case_list import CaseList
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.library_row import LibraryRow
from DenseLandmarksLib.panel.side_row import SideRow


class ImageSection:
    """The rows, from top to bottom; the selector of the image is linked to the scene by the form."""

    def __init__(self, panel: Frame) -> None:
        cases = CaseList(panel.bench)
        self._library = LibraryRow(panel, cases)
        self._case = CaseChoice(panel, cases)
        self._calibration = CalibrationRow(panel)
        self._side = SideRow(panel)

    @property
    def view(self) -> View | None:
        """How the model shall look at the image in the next prediction; ``None`` where nobody asked for anything."""
        return self._side.view

    def advise(self, view: View) -> None:
        """Have the next prediction look through this view; the lists show it with the next refresh."""
        self._side.advise(view)

    def refresh(self) -> None:
        """Show what the workbench says now."""
        for row in (self._library, self._case, self._calibration, self._side):
            row.refresh()

    def tick(self) -> None:
        """Images are added one at a time; a ruler is followed."""
        self._library.tick()
        self._calibration.tick()

    def enter(self) -> None:
        """Open the library of last time; somebody else may have worked in it since."""
        self._library.enter()
        self.refresh()

    def leave(self) -> None:
        """Take the ruler back."""
        self._calibration.leave()
