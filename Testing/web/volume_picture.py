"""The page with a volume, for the README."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from Testing.web.chromium import FLAGS, SIZE, Served, find_chromium, until
from training.neck_phantoms import neck_phantom

SEED = 70000  # no phantom that the model learned from
MODEL = "neck-cta-phantom"


def draw(folder: Path, picture: Path) -> None:
    """A synthetic neck CTA volume that was predicted, in four views at a bifurcation; the server writes in ``folder``."""
    from playwright.sync_api import sync_playwright

    volume, _ = neck_phantom(SEED)
    sitk.WriteImage(volume, str(folder / "neck.nrrd"), useCompression=True)
    served = Served(folder, folder / "neck.nrrd")
    try:
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_page(viewport=SIZE)
            page.goto(served.link)
            page.wait_for_selector("#case-name", state="attached")
            page.click("#model", force=True)
            page.click(f".v-list-item:has-text('{MODEL}')")
            until(lambda: MODEL in page.inner_text("#model-summary"), page, "the chosen model")
            page.click("#predict")
            until(lambda: "of 2" in page.inner_text("#left"), page, "a prediction")
            for title in ("Image", "Predict"):
                page.click(f"button:has-text('{title}') >> nth=0")
            page.click("#next")
            page.wait_for_timeout(2500)
            page.screenshot(path=str(picture))
            browser.close()
    finally:
        served.stop()
