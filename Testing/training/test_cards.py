"""The cards of shipped models: written anew by today's code, from recipes of before too, they say what they said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from DenseLandmarksLib.models.bundle import CARD, load_bundle
from DenseLandmarksLib.models.versions import shipped_bundles
from training.export import rewrite_bundle


@pytest.mark.parametrize("folder", shipped_bundles(), ids=lambda folder: folder.name)
def test_a_card_that_is_written_anew_says_the_same(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    rewrite_bundle(load_bundle(tmp_path / "copy"))
    assert (tmp_path / "copy" / CARD).read_text() == (folder / CARD).read_text()
