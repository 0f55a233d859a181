"""New landmarks of models without uv maps: what the template's warp alone finds, of landmarks whose places are known."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib.landmarks.template import Template, build_template
from Testing.training.blob_radiographs import write_blob_radiographs
from training.__main__ import main
from training.data import Dataset, read_dataset
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_task import HeatmapTask
from training.left_out_landmarks import (
    EXPECTED,
    MEAN_SHAPE,
    TRAINED,
    left_out_study,
    looked_up,
    marked_case,
    new_points,
    without,
)
from training.new_landmark_cases import EXAMPLES, PredictedCase

SPACING, SIZE = (0.8, 0.5), (200, 240)  # mm x, y; width, height
GRID = (120, 100)
# Points so near to each other that none lies 10 mm outside of the others, and one that does.
SHAPE_MM = np.array(
    [[56, 56], [74, 54], [90, 58], [58, 65], [74, 66], [88, 68], [61, 75], [75, 74], [85, 77], [75, 47]], np.float64
)
FAR_MM = np.array([[60.0, 112.0]])
ROWS = {TRAINED, *map(looked_up, EXAMPLES), EXPECTED, MEAN_SHAPE}


def write_hands(folder: Path, shape_mm: NDArray[np.float64]) -> Dataset:
    """Nine training and four test cases, each a similarity of one shape, with landmarks counted from 0."""
    rng, cases, rows = np.random.default_rng(2), [], []
    (folder / "images").mkdir(parents=True)
    for i in range(13):
        name, angle, scale = f"hand{i:02d}", rng.uniform(-0.15, 0.15), rng.uniform(0.85, 1.05)
        rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points_mm = (shape_mm - 70) @ rotation.T + [78, 62] + rng.uniform(-8, 8, 2)
        Image.fromarray(rng.integers(0, 255, SIZE[::-1], np.uint8)).save(folder / "images" / f"{name}.png")
        split = "train" if i < 9 else "test"
        cases.append(
            {"case": name, "image": f"images/{name}.png", "split": split, "spacing_mm": SPACING, "size_px": SIZE}
        )
        rows += [(name, f"p{j}", "hand", *map(float, p)) for j, p in enumerate(points_mm / SPACING - 0.5)]
    (folder / "dataset.json").write_text(json.dumps({"name": "hands", "spacing_source": "given", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "structure", "x_px", "y_px"), *rows])
    return read_dataset(folder)


def template_of(shape_mm: NDArray[np.float64]) -> Template:
    names = [f"p{j}" for j in range(len(shape_mm))]
    return build_template({"hand": shape_mm[None]}, {"hand": names}, (120.0, 160.0), "points")


def exactly_seen(dataset: Dataset, template: Template) -> list[PredictedCase]:
    return [marked_case(dataset, case, template, GRID) for case in dataset.of_split("test").cases]


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_hands(tmp_path_factory.mktemp("hands") / "data", SHAPE_MM)


def test_where_shapes_are_similar_a_new_landmark_is_exactly_where_one_image_showed_it(hands: Dataset) -> None:
    template = template_of(SHAPE_MM)
    study = left_out_study(template, GRID, hands, exactly_seen(hands, template))
    held_out = study["held_out"]
    assert held_out.keys() == ROWS
    for row in ROWS - {MEAN_SHAPE}:
        assert held_out[row]["average"]["mean"] < 0.02 or row == EXPECTED, row
        assert held_out[row]["average"]["defined"] == 4
        assert held_out[row]["structures"].keys() == {"hand"}
    assert held_out[MEAN_SHAPE]["average"]["mean"] > 3
    assert len(study["by_warp"]["measured"]) == len(SHAPE_MM)
    assert study["by_warp"]["refused_definitions"] == 0


def test_what_the_model_says_of_the_landmark_itself_is_not_looked_at(hands: Dataset) -> None:
    """It would be found where the model already has it, and no new landmark would be measured."""
    template = template_of(SHAPE_MM)
    defining = [marked_case(hands, case, template, GRID) for case in hands.of_split("train").cases[:5]]
    points, _ = new_points(template, "hand", hands, defining)
    point = next(point for point in points if point.name == "p4")
    assert "p4" not in point.template.landmark_names
    (seen, *_) = exactly_seen(hands, template)
    landmarks = seen.prediction.landmarks
    off = landmarks.points_lps_mm + 30.0 * np.array([name == "p4" for name in landmarks.names])[:, None] * [1, 0, 0]
    misled = replace(seen, prediction=replace(seen.prediction, landmarks=replace(landmarks, points_lps_mm=off)))
    errors, calm, _ = point.look_up(misled, point.uv)
    assert len(errors) == 5
    assert errors.max() < 0.02
    # Other landmarks that are wrong do mislead, and the model expects it.
    off = landmarks.points_lps_mm + 12.0 * np.array([name == "p1" for name in landmarks.names])[:, None] * [1, 0, 0]
    misled = replace(seen, prediction=replace(seen.prediction, landmarks=replace(landmarks, points_lps_mm=off)))
    errors, expected, _ = point.look_up(misled, point.uv)
    assert errors.min() > 0.3
    assert expected.min() > calm.max() + 0.3


def test_errors_are_those_of_the_truth_in_millimetres(hands: Dataset) -> None:
    template = template_of(SHAPE_MM)
    moved = np.array([3 / SPACING[0], 4 / SPACING[1]])  # all truths of the test by 5 mm, after they were seen
    seen = [
        replace(one, case=replace(one.case, points_px=one.case.points_px + moved))
        for one in exactly_seen(hands, template)
    ]
    rows = left_out_study(template, GRID, hands, seen)["held_out"]
    for row in (TRAINED, *map(looked_up, EXAMPLES)):
        assert rows[row]["average"]["mean"] == pytest.approx(5, abs=0.02)


def test_what_a_session_refuses_to_define_is_counted_and_not_measured(tmp_path: Path) -> None:
    shape_mm = np.vstack([SHAPE_MM, FAR_MM])
    hands, template = write_hands(tmp_path / "data", shape_mm), template_of(shape_mm)
    of_warp = left_out_study(template, GRID, hands, exactly_seen(hands, template))["by_warp"]
    assert of_warp["measured"] == [f"p{j}" for j in range(len(SHAPE_MM))]
    assert (of_warp["refused_definitions"], of_warp["definitions"]) == (9, 9 * len(shape_mm))


def test_landmarks_that_the_model_was_trained_without_are_the_new_ones(hands: Dataset) -> None:
    template = without(template_of(SHAPE_MM), "hand", "p4")
    study = left_out_study(template, GRID, hands, exactly_seen(hands, template))
    assert study["by_warp"]["measured"] == ["p4"]
    assert study["held_out"][looked_up(1)]["average"]["mean"] < 0.02


@pytest.mark.parametrize("chart", ["points", "cartesian", "polar"])
def test_leaving_one_landmark_out_moves_no_other(chart: str) -> None:
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    contour = np.column_stack([60 + 30 * np.cos(angles), 50 + 20 * np.sin(angles)])
    names = [f"c{i}" for i in range(8)]
    template = build_template({"ring": contour[None]}, {"ring": names}, (100.0, 120.0), chart)  # type: ignore[arg-type]
    template = template.with_landmark("ring", "middle", (0.1, 0.1))
    old, rest = template.structure("ring"), without(template, "ring", "c3").structure("ring")
    assert rest.landmark_names == tuple(name for name in old.landmark_names if name != "c3")
    assert len(rest.points_mm) == 7
    np.testing.assert_allclose(rest.position_at(rest.uv), np.delete(contour, 3, axis=0), atol=1e-9)
    inner = without(template, "ring", "middle").structure("ring")
    assert inner.landmark_names == tuple(names)
    assert len(inner.points_mm) == 8


@pytest.fixture(scope="module")
def blob_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A heatmap model that nobody trained, to which everything is there, and its data."""
    root = tmp_path_factory.mktemp("blobs")
    data = write_blob_radiographs(root / "data")
    recipe = HeatmapRecipe(
        "tiny",
        present_above=1e-9,
        network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [2, 4], "residual_units": 1}),
        target=HeatmapTargetRecipe(grid=(64, 48)),
    )
    torch.manual_seed(0)
    task = HeatmapTask.read(recipe, data, "cpu", None)
    task.export(root / "model", task.new_network(), None)
    return root / "model", data


def test_the_command_measures_heatmap_models(
    blob_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = blob_model
    words = [
        "new-landmarks",
        "--device",
        "cpu",
        "--model",
        str(model),
        "--report",
        str(tmp_path / "new.json"),
        "--data",
    ]
    assert main([*words, str(data)]) == 0
    report = json.loads((tmp_path / "new.json").read_text())
    assert (report["model"], report["data"], report["split"], report["cases"]) == ("tiny 1.0.0", "blobs", "test", 2)
    assert report["held_out"].keys() == ROWS
    assert report["by_warp"]["measured"] == ["nose"]  # the others are corners, far outside of the rest
    table = (tmp_path / "new.md").read_text()
    assert all(f"| {row} |" in table for row in ROWS)
    assert "a session refuses them" in table
    assert table.strip() in capsys.readouterr().out


def test_data_without_the_models_landmarks_are_told_in_one_line(
    blob_model: tuple[Path, Path], phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["new-landmarks", "--device", "cpu", "--model", str(blob_model[0]), "--report", str(tmp_path / "new.json")]
    assert main([*words, "--data", str(phantom_folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected landmarks of phantoms, tiny finds" in line
