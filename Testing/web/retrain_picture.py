"""The section Retrain of the page after a retraining, for the README."""

from __future__ import annotations

from pathlib import Path

from DenseLandmarksLib.annotation.library.library import Library
from Testing.web.chromium import page_of, until


def draw(folder: Path, library: Library, picture: Path) -> None:
    """What a person sees who comes back to a library from which a model has learnt, with the user's data in ``folder``."""
    with page_of(folder, library.folder) as page:
        for title in ("Image", "Model", "Predict", "Landmarks", "Save and export"):
            page.click(f"button:has-text('{title}') >> nth=0")
        page.click("button:has-text('6 Retrain')")
        until(lambda: "To learn from" in page.inner_text("#lessons"), page, "the count of lessons")
        until(lambda: page.locator(".chart svg").count() == 2, page, "two curves")
        page.click("button:has-text('Image') >> nth=0")
        page.wait_for_timeout(600)  # the section unfolds slowly
        page.click("#case", force=True)
        page.click(".v-list-item >> nth=0")
        until(lambda: page.inner_text("#case-name").strip(), page, "an open case")
        page.click("button:has-text('Image') >> nth=0")
        page.wait_for_timeout(1500)
        page.screenshot(path=str(picture))
