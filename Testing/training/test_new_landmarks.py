"""Landmarks that no training saw: with exact maps they are found, whichever images defined them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from DenseLandmarksLib.models.networks.dense_shape import CompactDenseSegNet
from DenseLandmarksLib.models.prediction import Prediction
from training.__main__ import main
from training.data import Dataset, read_dataset
from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe, TargetRecipe
from training.export_dense_shape import export_bundle
from training.grid_cases import read_grid_cases
from training.held_out_landmarks import held_out_study, paper_studies
from training.new_landmark_cases import predict_cases, summarise
from training.targets import make_template

GRID = (128, 128)
PIXELS, SPACING = (150, 140), (2.4, 2.6)  # width, height; mm x, y
HELD_OUT = TargetRecipe(grid=GRID, hold_out_every=4)
ROWS = {
    "trained landmarks",
    *(f"new, {how}, k = {k}" for how in ("looked up", "thin-plate warp") for k in (1, 3, 5)),
    "new, mean shape",
}


def base_shapes(template: Template) -> dict[str, NDArray[np.float64]]:
    """The chest's contours in mm, the left lung with the 50 points that jsrt has."""
    shapes = {s.name: s.points_mm for s in template.structures}
    lung = shapes["left_lung"]
    along = np.linspace(0, len(lung), 50, endpoint=False)
    shapes["left_lung"] = np.stack(
        [np.interp(along, np.arange(len(lung) + 1), np.append(lung[:, a], lung[0, a])) for a in (0, 1)], axis=1
    )
    return shapes


def patient(rng: np.random.Generator, bend_mm: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A chest of its own: an affine map of the base, and a smooth bend on top of it."""
    matrix = 0.85 * (np.eye(2) + rng.uniform(-0.09, 0.09, (2, 2)))
    shift, phase = rng.uniform(-12, 12, 2), rng.uniform(0, 2 * np.pi, 2)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        bend = bend_mm * np.sin(points[:, ::-1] / 60 + phase)
        return (points - 179) @ matrix.T + 179 + shift + bend

    return move


def write_chests(folder: Path, template: Template, bend_mm: float) -> Path:
    """Eight training and four test cases that differ by an affine map (and a bend), landmarks counted from 00."""
    rng, cases, rows = np.random.default_rng(5), [], []
    (folder / "images").mkdir(parents=True)
    for i in range(12):
        name, move = f"chest{i:02d}", patient(rng, bend_mm)
        Image.fromarray(rng.integers(0, 255, PIXELS[::-1], np.uint8)).save(folder / "images" / f"{name}.png")
        split = "train" if i < 8 else "test"
        cases.append(
            {"case": name, "image": f"images/{name}.png", "split": split, "spacing_mm": SPACING, "size_px": PIXELS}
        )
        for structure, shape in base_shapes(template).items():
            points_px = move(shape) / SPACING - 0.5
            rows += [(name, f"{structure}_{j:02d}", structure, *map(float, p)) for j, p in enumerate(points_px)]
    (folder / "dataset.json").write_text(json.dumps({"name": "chests", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "landmark", "structure", "x_px", "y_px"), *rows])
    return folder


@dataclass(frozen=True)
class Exact:
    """A model whose uv fields are perfect, but for one structure that it loses in one case."""

    template: Template
    dataset: Dataset
    lost: tuple[str, str] = ("", "")

    def predict(self, image: MedicalImage) -> Prediction:
        case = next(case for case in self.dataset.cases if case.image_path.name == image.name)
        grid = fit_grid(image, GRID)
        masks, uv = [], []
        for structure in self.template.structures:
            rows = self.dataset.landmarks_of(structure.name)
            mask = polygon_mask(grid.from_pixels(case.points_px[rows]), GRID)
            trained = [self.dataset.landmark_names.index(name) for name in structure.landmark_names]
            masks.append(mask & ((case.name, structure.name) != self.lost))
            uv.append(draw_uv_map(structure, grid.from_pixels(case.points_px[trained]), GRID))
        names = self.template.structure_names
        nothing = LandmarkSet(
            (), (), np.zeros((0, 3)), np.zeros((0, 3)), (), (), np.zeros(0), np.zeros((0, 3, 3)), np.zeros((0, 2))
        )
        field = UvField(names, np.stack(uv), None, np.stack(masks), 1)
        return Prediction(nothing, names, np.stack(masks), grid, field, "exact", "1", "cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, chest_template: Template) -> dict[float, Path]:
    """Data folders by how far, in mm, their chests are bent beyond an affine map."""
    root = tmp_path_factory.mktemp("chests")
    return {bend: write_chests(root / str(bend), chest_template, bend) for bend in (0.0, 6.0)}


def study(folder: Path, lost: tuple[str, str] = ("", "")) -> dict[str, Any]:
    dataset = read_dataset(folder)
    template = make_template(read_grid_cases(folder, GRID).of_split("train"), HELD_OUT)
    predictor: Any = Exact(template, dataset, lost)
    return held_out_study(predictor, dataset, predict_cases(predictor, dataset.of_split("test")))


def test_on_exact_maps_a_new_landmark_is_where_one_image_showed_it(folders: dict[float, Path]) -> None:
    """Chests that differ by an affine map have one template coordinate per point: nothing but the read-out may err."""
    result = study(folders[0.0])
    assert result.keys() == ROWS
    for row in ROWS - {"new, mean shape"}:
        assert result[row]["average"]["mean"] < 0.1, row
        assert max(result[row]["structures"].values()) < 0.3, row
    assert result["new, mean shape"]["average"]["mean"] > 5
    assert result["trained landmarks"]["average"]["defined"] == 4
    assert result["trained landmarks"]["structures"].keys() == {
        "right_lung",
        "left_lung",
        "heart",
        "right_clavicle",
        "left_clavicle",
    }


def test_on_bent_chests_it_is_found_to_a_millimetre_and_better_than_by_the_mean_shape(
    folders: dict[float, Path],
) -> None:
    result = study(folders[6.0])
    for k in (1, 3, 5):
        found = result[f"new, looked up, k = {k}"]
        assert found["average"]["mean"] < 1.0
        for structure, error in found["structures"].items():
            assert error < 0.5 * result["new, mean shape"]["structures"][structure]
    # More images that show the landmark say better where it is.
    assert result["new, looked up, k = 5"]["average"]["mean"] < result["new, looked up, k = 1"]["average"]["mean"]
    low, high = result["trained landmarks"]["average"]["ci95"]
    assert low <= result["trained landmarks"]["average"]["mean"] <= high


def test_a_structure_lost_in_one_image_is_counted_and_stops_nothing(folders: dict[float, Path]) -> None:
    result = study(folders[0.0], ("chest09", "heart"))
    for row in ROWS - {"new, mean shape"}:
        assert result[row]["average"]["defined"] == 3
        assert result[row]["average"]["mean"] < 0.1
    assert result["new, mean shape"]["average"]["defined"] == 4


def test_a_structure_found_nowhere_gives_no_figure_and_no_crash() -> None:
    nowhere = summarise({"heart": [float("nan")] * 3, "left_lung": [1.0, 2.0, 3.0]})
    assert nowhere["average"] == {"mean": None, "sd": None, "ci95": None, "defined": 0}
    assert nowhere["structures"] == {"heart": None, "left_lung": 2.0}


def test_errors_are_in_millimetres_of_the_stored_image(folders: dict[float, Path]) -> None:
    dataset = read_dataset(folders[0.0])
    template = make_template(read_grid_cases(folders[0.0], GRID).of_split("train"), HELD_OUT)
    predictor: Any = Exact(template, dataset)
    (predicted, *_) = predict_cases(predictor, dataset.of_split("test"))
    truth_px = predicted.case.points_px[:5]
    error = predicted.error_mm(predicted.prediction.grid.from_pixels(truth_px + np.array([3, -4])), truth_px)
    np.testing.assert_allclose(error, np.hypot(3 * SPACING[0], 4 * SPACING[1]))


def test_the_papers_points_in_the_lung_are_found_in_its_map(folders: dict[float, Path]) -> None:
    dataset = read_dataset(folders[0.0])
    cases = read_grid_cases(folders[0.0], GRID).of_split("train")
    predictor: Any = Exact(make_template(cases, TargetRecipe(grid=GRID)), dataset)
    result = paper_studies(
        dataset, predict_cases(predictor, dataset.of_split("test")), predictor.template.structure("left_lung")
    )
    assert result.keys() == {"clavicle points", "lung centre", "contour midpoint", "corner midpoint"}
    for name in ("lung centre", "contour midpoint"):
        assert result[name]["looked_up_mm"] < 0.3
        assert result[name]["mean_position_mm"] > 4
    # The frozen box: the left lung's centre is in its middle, the clavicle's points are above it.
    assert np.abs(result["lung centre"]["uv"]).max() < 0.5
    assert all(v < -0.8 for _, v in result["clavicle points"]["uv"])


def test_the_command_writes_the_whole_table_and_says_when_there_is_nothing_new(
    folders: dict[float, Path],
    phantom_folder: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = read_grid_cases(folders[0.0], GRID).of_split("train")
    recipe = DenseShapeRecipe("held", network=NetworkRecipe(channels=(4, 8)), target=HELD_OUT)
    network = CompactDenseSegNet(5, (4, 8))
    for bias in (network.mask_head[-1].bias, network.uv_head[-1].bias):
        bias.data.fill_(1.0)  # everything is everywhere: a poor model, but none that finds nothing
    export_bundle(tmp_path / "held", recipe, make_template(cases, HELD_OUT), network, cases)
    command = ["new-landmarks", "--device", "cpu", "--model"]
    report = tmp_path / "report.json"
    assert main([*command, str(tmp_path / "held"), "--data", str(folders[0.0]), "--report", str(report)]) == 0
    content = json.loads(report.read_text())
    assert content["held_out"].keys() == ROWS
    assert (content["data"], content["split"], content["cases"]) == ("chests", "test", 4)
    markdown = report.with_suffix(".md").read_text()
    assert all(f"| {row} |" in markdown for row in ROWS)
    assert markdown.strip() in capsys.readouterr().out

    # This model was taught every landmark of its data, and they are not those of jsrt.
    none = tmp_path / "none.json"
    assert main([*command, str(tiny_bundle), "--data", str(phantom_folder), "--report", str(none)]) == 2
    assert "error: expected a model trained without some landmarks" in capsys.readouterr().err
    assert not none.exists()
