"""The page as a person sees it, for the README."""

from __future__ import annotations

from pathlib import Path

from Testing.web.chromium import FLAGS, SIZE, Served, find_chromium, until

ROOT = Path(__file__).resolve().parents[2]


def draw(folder: Path, picture: Path) -> None:
    """The page with a phantom that was predicted, at its most doubtful landmark; what the server writes is in ``folder``."""
    from playwright.sync_api import sync_playwright

    served = Served(folder, ROOT / "Resources" / "SampleData" / "chest-phantom.nrrd")
    try:
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_page(viewport=SIZE)
            page.goto(served.link)
            page.wait_for_selector("#case-name", state="attached")
            page.click("#predict")
            until(lambda: "of 166" in page.inner_text("#left"), page, "a prediction")
            for title in ("Image", "Model"):
                page.click(f"button:has-text('{title}') >> nth=0")
            page.click("#next")
            page.click("#fit")
            page.wait_for_timeout(1500)
            page.screenshot(path=str(picture))
            browser.close()
    finally:
        served.stop()
