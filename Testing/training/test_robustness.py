"""The robustness table measures what it says: with predictors whose answers are known beforehand."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.view import MIRRORED, View
from DenseLandmarksLib.landmarks.template import build_template
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.disc_finder import (
    FIELD_OF_VIEW_MM,
    PIXELS,
    SHAPE_MM,
    SPACING_MM,
    STRUCTURE,
    patient,
    pixels_of,
    write_disc_finder,
    write_hand,
)
from training.__main__ import main
from training.alterations import seen_through
from training.data import Dataset, read_dataset
from training.robustness import (
    LIMIT,
    alterations_for,
    markdown_of,
    measure_alteration,
    measure_robustness,
    measure_views,
)


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


SIDED = ("wrist", "left thumb", "index", "middle", "ring", "right thumb", "palm")


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Hands whose outermost landmarks have the name of their side."""
    folder = tmp_path_factory.mktemp("hands")
    cases, rows = [], []
    for seed in (1, 2):
        write_hand(folder / f"{seed}.nrrd", seed)
        cases.append(
            {
                "case": str(seed),
                "image": f"{seed}.nrrd",
                "split": "test",
                "spacing_mm": [SPACING_MM, SPACING_MM],
                "size_px": PIXELS,
            }
        )
        at = pixels_of(patient(seed)).tolist()
        rows += [(str(seed), name, STRUCTURE, x, y) for name, (x, y) in zip(SIDED, at, strict=True)]
    (folder / "dataset.json").write_text(json.dumps({"name": "hands", "spacing_source": "given", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "structure", "x_px", "y_px"), *rows])
    return read_dataset(folder)


@pytest.mark.parametrize("either_side", [True, False])
def test_the_other_side_must_be_stood_by_who_knows_it_and_noticed_by_who_does_not(
    either_side: bool, hands: Dataset, tmp_path: Path
) -> None:
    predictor = open_predictor(str(write_disc_finder(tmp_path / "finder", either_side=either_side)), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    template = build_template({STRUCTURE: SHAPE_MM[None]}, {STRUCTURE: SIDED}, FIELD_OF_VIEW_MM, chart="points")
    predictor = replace(predictor, template=template)
    alterations = alterations_for(predictor, hands)
    noticed = {row["must_be"]: row for row in measure_views(predictor, hands)}
    assert ("mirrored" in alterations, "mirrored" in noticed) == (either_side, not either_side)
    if not either_side:
        assert (noticed["mirrored"]["flagged"], noticed["mirrored"]["advised"]) == (2, 2)
        return
    plain = [predictor.predict(read_image(case.image_path)) for case in hands.cases]
    row = measure_alteration(predictor, hands, plain, "mirrored", alterations["mirrored"])
    assert (row["flagged"], row["cases"]) == (0, 2)
    # Also of the landmarks that are called otherwise there.
    assert row["tre_mm"] < 0.3
    as_they_were_called = measure_alteration(predictor, hands, plain, "mirrored", seen_through(MIRRORED))
    assert as_they_were_called["tre_mm"] > 10


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
