"""The cards of shipped models: written anew by today's code, from recipes of before too, they say what they said.

And what a card must say of the millimetres of its figures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from DenseLandmarksLib.models.bundle import CARD, load_bundle
from DenseLandmarksLib.models.versions import shipped_bundles
from Testing.training.blob_radiographs import write_blob_radiographs
from training.__main__ import main
from training.data_folder import INDEX
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_task import HeatmapTask
from training.rewrite_bundle import rewrite_bundle


@pytest.mark.parametrize("folder", shipped_bundles(), ids=lambda folder: folder.name)
def test_a_card_that_is_written_anew_says_the_same(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    rewrite_bundle(load_bundle(tmp_path / "copy"))
    assert (tmp_path / "copy" / CARD).read_text() == (folder / CARD).read_text()


def test_the_card_of_a_heatmap_model_says_where_its_millimetres_come_from(tmp_path: Path) -> None:
    data, model = write_blob_radiographs(tmp_path / "data"), tmp_path / "model"
    network = HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [2, 4], "residual_units": 1})
    recipe = HeatmapRecipe("tiny", network=network, target=HeatmapTargetRecipe(grid=(64, 48)))
    task = HeatmapTask.read(recipe, data, "cpu", None)
    task.export(model, task.new_network(), None)
    words = ["evaluate", "--device", "cpu", "--model", str(model), "--data", str(data), "--record"]
    assert main([*words, "--report", str(tmp_path / "given.json")]) == 0
    assert "Millimetres" not in (model / CARD).read_text()

    index = json.loads((data / INDEX).read_text())
    stated = {"spacing_source": "from_landmarks", "source": "blobs, the ears are 50 mm apart"}
    (data / INDEX).write_text(json.dumps({**index, **stated}))
    assert main([*words, "--report", str(tmp_path / "derived.json")]) == 0
    sentence = "Millimetres of `blobs` were derived from its landmarks (blobs, the ears are 50 mm apart): "
    assert sentence in (model / CARD).read_text()
    assert sentence in (tmp_path / "derived.md").read_text()
    assert json.loads((tmp_path / "derived.json").read_text())["spacing"]["source"] == "from_landmarks"
