"""What a person would do in the application, from a sample image to a saved scene: the module's own test.

It runs in 3D Slicer, with real mouse events in the red view, and on anything that stands in for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
import vtk

from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.packages import REQUIREMENTS, missing_packages
from DenseLandmarksLib.panel.sample_data import SAMPLES

logger = logging.getLogger(__name__)

MODULE = "DenseLandmarks"
# The first prediction starts Python and opens the model.
PREDICTED_WITHIN_S = 180.0
NEW = "self test"


class SelfTest:
    """One run, in a scene that it empties. It keeps its library and journals in ``folder`` and nowhere else."""

    def __init__(self, folder: Path, seen: Callable[[str], None] = lambda step: None) -> None:
        """``seen`` is called after each step with its name: for pictures."""
        self._folder, self._seen = folder, seen

    @property
    def steps(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """The steps by name, in their order."""
        return (
            ("opened", self._open),
            ("loaded", self._load),
            ("predicted", self._predict),
            ("dragged", self._drag),
            ("taken back", self._take_back),
            ("accepted", self._accept),
            ("new landmark", self._define),
            ("saved", self._save),
            ("reopened", self._reopen),
            ("closed in mid-prediction", self._close),
        )

    def run(self) -> None:
        """All steps; raises AssertionError with what went wrong."""
        for name, step in self.steps:
            began = time.perf_counter()
            step()
            slicer.app.processEvents()
            logger.info("self test: %s, %.1f s", name, time.perf_counter() - began)
            self._seen(name)

    @property
    def panel(self) -> Frame:
        """The panel that is open."""
        panel: Frame = slicer.modules.DenseLandmarksWidget.panel
        return panel

    def _open(self) -> None:
        slicer.mrmlScene.Clear(False)
        slicer.util.selectModule(MODULE)
        slicer.app.processEvents()
        assert self.panel.is_entered, "the module was selected, its panel does not know"
        self.panel.bench.desk.data_folder = self._folder / "user"
        self.panel.bench.create_library(self._folder / "library", "self test")

    def _load(self) -> None:
        import SampleData  # a module of its own, which may be loaded after this one

        volume = SampleData.SampleDataLogic().downloadSample(SAMPLES[0].title)
        assert volume is not None, f"Sample Data has no {SAMPLES[0].title}"
        self.panel.choose(volume)
        self._wait(lambda: self.panel.ui.imageSelector.currentNode() is volume, "the image is not chosen")
        assert self.panel.ui.spacingBadge.text, "nothing is said about the pixel size"

    def _predict(self) -> None:
        missing = missing_packages(self.panel.resources / REQUIREMENTS)
        assert not missing, f"press Predict once by hand to install {', '.join(missing)}"
        self.panel.ui.predictButton.click()
        self._wait(lambda: self.panel.bench.predicting.run is not None, self._said)
        self._wait(
            lambda: not self.panel.bench.predicting.is_under_way, "the prediction never ended", PREDICTED_WITHIN_S
        )
        state = self.panel.bench.state
        assert state is not None, self._said()
        assert state.answer is not None, self._said()
        assert state.answer.prediction.plausibility.plausible, state.answer.prediction.plausibility.doubts
        assert self.panel.ui.landmarkTable.rowCount == len(state.landmarks) > 100
        lists = self.panel.bench.case.lists.nodes if self.panel.bench.case is not None else {}
        assert set(lists) == set(state.structures), "not each structure has its list of landmarks"
        assert all(slicer.mrmlScene.IsNodePresent(node) for node in lists.values())

    def _drag(self) -> None:
        name = self._any_open()
        start = self._xy(name)
        end = start[0] + 12, start[1] + 9
        self._mouse(start, end)
        self._wait(lambda: self._review(name) is Review.CORRECTED, f"{name} was dragged and is not corrected")
        self._dragged = name

    def _take_back(self) -> None:
        self.panel.ui.undoButton.click()
        self._wait(lambda: self._review(self._dragged) is Review.PREDICTED, "the drag was not taken back")

    def _accept(self) -> None:
        before = self._left()
        self.panel.ui.landmarkTable.setCurrentCell(0, 0)
        slicer.app.processEvents()
        self.panel.ui.acceptButton.click()
        self._wait(lambda: self._left() == before - 1, "the landmark was not accepted")

    def _define(self) -> None:
        at = self._xy(self._any_open())
        self.panel.ui.newNameEdit.text = NEW
        slicer.app.processEvents()
        self.panel.ui.newLandmarkButton.click()
        slicer.app.processEvents()
        self._mouse(at, at)
        self._wait(lambda: NEW in self._names(), "the click did not make a landmark")

    def _save(self) -> None:
        self.panel.ui.saveButton.click()
        self._wait(lambda: self._session().revision == 1, self._said)
        assert not self._session().unsaved

    def _reopen(self) -> None:
        names, path = self._names(), self._folder / "scene.mrb"
        assert slicer.util.saveScene(str(path)), "the scene was not saved"
        slicer.mrmlScene.Clear(False)
        slicer.app.processEvents()
        assert self.panel.bench.case is None, "a case is open in an empty scene"
        slicer.util.loadScene(str(path))
        self._wait(lambda: self.panel.bench.case is not None, "the scene did not bring its case back")
        assert self._names() == names
        assert self._session().revision == 1

    def _close(self) -> None:
        self.panel.ui.predictButton.click()
        self._wait(lambda: self.panel.bench.predicting.is_under_way, self._said)
        slicer.mrmlScene.Clear(False)
        self._wait(lambda: not self.panel.bench.predicting.is_under_way, "the prediction goes on without a scene")
        assert self.panel.bench.case is None

    # How it is done.

    def _wait(self, until: Callable[[], bool], otherwise: str | Callable[[], str], at_most_s: float = 20.0) -> None:
        end = time.monotonic() + at_most_s
        while not until():
            assert time.monotonic() < end, otherwise if isinstance(otherwise, str) else otherwise()
            slicer.app.processEvents()
            time.sleep(0.01)

    def _said(self) -> str:
        return " ".join(self.panel.bench.lines[-3:]) or "nothing was said"

    def _session(self) -> Any:
        session = self.panel.bench.session
        assert session is not None, self._said()
        return session

    def _names(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._session().state.landmarks.names
        return names

    def _left(self) -> int:
        return len(open_landmarks(self._session().state))

    def _any_open(self) -> str:
        return open_landmarks(self._session().state)[20]

    def _review(self, name: str) -> Review:
        landmarks = self._session().state.landmarks
        review: Review = landmarks.review[landmarks.names.index(name)]
        return review

    def _xy(self, name: str) -> tuple[int, int]:
        """Pixel of the red view, from the bottom left, on which a landmark's glyph is."""
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode"):
            n = node.GetControlPointIndexByLabel(name)
            if n >= 0:
                world_ras_mm = node.GetNthControlPointPositionWorld(n)
                slice_node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
                to_xy = vtk.vtkMatrix4x4()
                vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), to_xy)
                x, y, *_ = to_xy.MultiplyPoint((*world_ras_mm, 1.0))
                return round(x), round(y)
        raise AssertionError(f"no list has {name}")

    def _mouse(self, start: tuple[int, int], end: tuple[int, int], steps: int = 6) -> None:
        """Press the left button at ``start``, move to ``end``, let go."""
        view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
        interactor = view.interactor()

        def event(name: str, x: int, y: int) -> None:
            interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
            interactor.InvokeEvent(name)
            view.forceRender()
            slicer.app.processEvents()

        event("MouseMoveEvent", *start)
        event("LeftButtonPressEvent", *start)
        for step in range(1, steps + 1):
            x, y = (round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True))
            if (x, y) != start:
                event("MouseMoveEvent", x, y)
        event("LeftButtonReleaseEvent", *end)
