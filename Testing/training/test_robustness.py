"""The robustness table measures what it says: with predictors whose answers are known beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.registry import open_predictor
from training.__main__ import main
from training.data import read_dataset
from training.robustness import LIMIT, markdown_of, measure_robustness


@dataclass
class Stubborn:
    """Predicts as the model does on the first image that it is shown of a case, whatever it is shown later."""

    model: object
    remembered: dict[str, Prediction] = field(default_factory=dict)

    def predict(self, image: MedicalImage, view: View | None = None) -> Prediction:
        key = image.name
        if key not in self.remembered:
            self.remembered[key] = self.model.predict(image, view)  # type: ignore[attr-defined]
        prediction = self.remembered[key]
        # The same millimetres on whatever grid the altered image needs.
        mirrored = image.pixels_yx[:, :8].mean() > image.pixels_yx[:, -8:].mean()
        judgement = Plausibility(("mirrored",), suggested_view=View(flip=True)) if mirrored else Plausibility()
        return replace(prediction, grid=fit_grid(image, prediction.grid.size), plausibility=judgement)


def test_what_an_alteration_costs_is_measured_on_the_landmarks_that_it_leaves(
    tiny_bundle: Path, phantom_folder: Path
) -> None:
    dataset = read_dataset(phantom_folder).of_split("train")
    dataset = replace(dataset, cases=dataset.cases[:2])
    report = measure_robustness(Stubborn(open_predictor(str(tiny_bundle), "cpu")), dataset)
    rows = {row["alteration"]: row for row in report["alterations"]}
    # What leaves the geometry alone costs a model that does not look nothing.
    for name in ("gamma 0.5", "gamma 2", "inverted", "collimated", "written on", "12-bit DICOM"):
        assert rows[name]["ratio"] == pytest.approx(1, abs=1e-3), name
        assert rows[name]["tre_unaltered_mm"] == pytest.approx(report["tre_mm"]), name
    # The truth moved and the predictions did not.
    assert rows["turned by 20 degrees"]["tre_mm"] != pytest.approx(report["tre_mm"], rel=0.01)
    # Landmarks that were cut off count on neither side.
    assert rows["20 % cropped"]["tre_unaltered_mm"] != pytest.approx(report["tre_mm"], rel=1e-6)
    assert [row["cases"] for row in report["views"]] == [2] * 4
    assert all(row["advised"] <= row["flagged"] for row in report["views"])
    lines = markdown_of(report).splitlines()
    for row in report["alterations"]:
        (line,) = (line for line in lines if line.startswith(f"| {row['alteration']} |"))
        assert f"{row['ratio']:.2f}" in line


def test_the_command_writes_its_table_and_fails_when_the_promise_is_broken(
    tiny_bundle: Path, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("no image")
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90), dtype=np.uint8)).save(foreign / "noise.png")
    report_path = tmp_path / "table.json"
    arguments = [
        "--model",
        str(tiny_bundle),
        "--data",
        str(phantom_folder),
        "--split",
        "train",
        "--foreign",
        str(foreign),
    ]
    status = main(["robustness", *arguments, "--report", str(report_path)])
    report = json.loads(report_path.read_text())
    assert status == int(any(row["ratio"] > LIMIT for row in report["alterations"]))
    assert report["foreign"] == [{"folder": "foreign", "flagged": 0, "images": 1, "unread": 1}]
    assert report_path.with_suffix(".md").read_text().strip() in capsys.readouterr().out
