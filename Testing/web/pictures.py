"""The page as a person sees it, for the README."""

from __future__ import annotations

from pathlib import Path

from Testing.web.chromium import ROOT, page_of, until


def draw(folder: Path, picture: Path) -> None:
    """The page with a phantom that was predicted, at its most doubtful landmark; what the server writes is in ``folder``."""
    with page_of(folder, ROOT / "Resources" / "SampleData" / "chest-phantom.nrrd") as page:
        page.click("#predict")
        until(lambda: "of 166" in page.inner_text("#left"), page, "a prediction")
        for title in ("Image", "Model"):
            page.click(f"button:has-text('{title}') >> nth=0")
        page.click("#next")
        page.click("#fit")
        page.wait_for_timeout(1500)
        page.screenshot(path=str(picture))
