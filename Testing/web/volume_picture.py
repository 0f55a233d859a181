"""The page with a volume, for the README."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from Testing.web.chromium import page_of, until
from training.neck_phantoms import neck_phantom

SEED = 70000  # no phantom that the model learned from
MODEL = "neck-cta-phantom"


def draw(folder: Path, picture: Path) -> None:
    """A synthetic neck CTA volume that was predicted, in four views at a bifurcation; the server writes in ``folder``."""
    volume, _ = neck_phantom(SEED)
    sitk.WriteImage(volume, str(folder / "neck.nrrd"), useCompression=True)
    with page_of(folder, folder / "neck.nrrd") as page:
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
