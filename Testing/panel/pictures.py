"""The panel beside the red view in the states that a person goes through, each as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.panel.sample_data import SAMPLES
from Testing.scene.open_cases import world_ras_mm

if TYPE_CHECKING:
    from Testing.host import Host

ROOT = Path(__file__).resolve().parents[2]
VIEW = (860, 860)
PANEL_WIDTH, CAPTION = 600, 34
ON_THE_HOST = "drawn on the test host"
PREDICTED_WITHIN_S = 120
EXPLAINED = "right_lung_10"
SECTIONS = ("imageSection", "modelSection", "predictSection", "landmarkSection", "saveSection", "retrainSection")


class Sitting:
    """A person in front of the panel, who keeps only those sections open that are being used."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.panel = host.create_widget(ROOT / "DenseLandmarks", "DenseLandmarks").panel
        self.ui: Any = self.panel.ui
        host.window.resize(PANEL_WIDTH, VIEW[1])
        self.panel.bench.create_library(folder / "library", "phantoms")

    def look_at(self, *sections: str) -> None:
        """Unfold these sections, and fold the others."""
        for name in SECTIONS:
            section = getattr(self.ui, name)
            if section.collapsed == (name in sections):
                self.host.click(section)
        self.host.process(0.1)

    def load(self, sample: int) -> None:
        """Take a sample from Sample Data."""
        import SampleData

        self.host.pick(self.ui.imageSelector, SampleData.SampleDataLogic().downloadSample(SAMPLES[sample].title))

    def select(self, landmark: str) -> None:
        """Click a row of the table."""
        table = self.ui.landmarkTable
        row = next(n for n in range(table.rowCount) if table.item(n, 0).text() == landmark)
        table.scrollToItem(table.item(row, 0))
        self.host.click(table.item(row, 0))

    def wait_for_prediction(self) -> None:
        """Until it is there, or was cancelled."""
        self.host.process(PREDICTED_WITHIN_S, until=lambda: not self.panel.bench.predicting.is_under_way)
        self.host.process(0.2)

    def drag(self, name: str, by: tuple[int, int]) -> None:
        """Drag a landmark's glyph with the mouse."""
        screen = self.host.screen
        assert screen is not None
        x, y = screen.display_xy(world_ras_mm(self.panel.bench.case, name))
        screen.drag((x, y), (x + by[0], y + by[1]))
        self.host.process(0.1)

    def click_at(self, x: int, y: int) -> None:
        """Click in the view."""
        screen = self.host.screen
        assert screen is not None
        screen.press(x, y)
        screen.release(x, y)
        self.host.process(0.1)

    def picture(self, state: str) -> Image.Image:
        """Panel and view side by side, with a caption."""
        screen = self.host.screen
        assert screen is not None
        path = self.host.picture(self.host.window, self.folder / "panel.png")
        panel, view = Image.open(path).convert("RGB"), Image.fromarray(np.ascontiguousarray(screen.pixels()))
        whole = Image.new("RGB", (panel.width + view.width, max(panel.height, view.height) + CAPTION), "#101418")
        whole.paste(panel, (0, 0))
        whole.paste(view, (panel.width, 0))
        text = f"{state}  ({ON_THE_HOST})"
        ImageDraw.Draw(whole).text(
            (12, whole.height - CAPTION + 8), text, fill="#e6edf3", font=ImageFont.load_default(17)
        )
        return whole


def states(sitting: Sitting) -> Iterator[tuple[str, Image.Image]]:
    """Nine states by name, in the order of the work."""
    ui, host = sitting.ui, sitting.host
    sitting.load(0)
    sitting.look_at("imageSection", "modelSection")
    yield "1-image", sitting.picture("An image is chosen: how large a pixel is, and how that is known")

    host.click(ui.checkButton)
    host.process(PREDICTED_WITHIN_S, until=lambda: "torch" in ui.environmentText.plainText)
    sitting.look_at("modelSection")
    yield "2-environment", sitting.picture("The environment was checked with one small pass of the model")

    sitting.look_at("imageSection", "predictSection")
    host.click(ui.predictButton)
    yield "3-predicting", sitting.picture("Predicting: the application goes on, the button cancels")

    sitting.wait_for_prediction()
    sitting.look_at("predictSection", "landmarkSection")
    yield "4-predicted", sitting.picture("Predicted: the most doubtful landmarks first, ellipses hold 90 %")

    names = [name for name in open_landmarks(sitting.panel.bench.state) if name.startswith("heart")]
    sitting.drag(names[len(names) // 2], (30, -18))
    yield "5-corrected", sitting.picture("One landmark was dragged: its neighbours and the outline came along")

    sitting.look_at("landmarkSection")
    host.type(ui.newNameEdit, "hilum")
    host.click(ui.newLandmarkButton)
    sitting.click_at(VIEW[0] * 5 // 8, VIEW[1] // 2)
    yield "6-new-landmark", sitting.picture("A new landmark by one click: other cases find it without training")

    sitting.look_at("landmarkSection", "saveSection")
    host.type(ui.whyEdit, "first look")
    host.click(ui.saveButton)
    yield "7-saved", sitting.picture("Saved as a revision; earlier ones stay")

    sitting.look_at("landmarkSection")
    sitting.select(EXPLAINED)
    host.click(ui.ellipsesBox)
    host.click(ui.whyHereButton)
    host.process(PREDICTED_WITHIN_S, until=lambda: not sitting.panel.bench.why.is_under_way)
    host.process(0.2)
    yield "8-why-here", sitting.picture("Why here? What spoke for the selected landmark, over the image")

    host.click(ui.ellipsesBox)
    sitting.look_at("imageSection", "predictSection")
    sitting.load(1)
    host.click(ui.predictButton)
    sitting.wait_for_prediction()
    yield "9-doubted", sitting.picture("A film that was mirrored and lies on its side is doubted, with advice")


def draw(folder: Path, keep: Callable[[str, Image.Image], None]) -> None:
    """Go through all states; ``keep`` takes each name and picture."""
    from Testing.host import install
    from Testing.scene.offscreen import OffscreenSlice

    screen = OffscreenSlice(VIEW)
    host = install(screen)
    try:
        for name, picture in states(Sitting(host, folder)):
            keep(name, picture)
    finally:
        try:
            host.remove()
        finally:
            screen.close()
