"""A ruler over something of known length calibrates the image, and everything stays on its pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.calibration import LINE_CLASS, Ruler, spacing_from_line
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.open_cases import everything_is_on_its_voxel, predict, world_ras_mm
from Testing.scene.saved_scene import read_scene, save_scene
from Testing.scene.test_volume_node import an_image

ENDS_IJK = np.array([[20.0, 30.0, 0.0], [60.5, 90.25, 0.0]])


@pytest.fixture
def case(desk: Desk, library: Library, chest_template: Template) -> CaseInScene:
    """A predicted chest with a correction, saved."""
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.save()
    return case


def line_over(scene: Any, case: CaseInScene, ends_ijk: np.ndarray = ENDS_IJK) -> Any:
    """A line with its ends over two voxels."""
    line = scene.AddNewNodeByClass(LINE_CLASS)
    for end in case.image.local_ras_mm(line, ends_ijk):
        line.AddControlPoint(*end)
    return line


def turned(scene: Any, degrees: float, scale: float = 1.0) -> Any:
    """A transform node."""
    angle, matrix = np.deg2rad(degrees), np.eye(4)
    matrix[:2, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix[:3, 3] = 5, -7, 3
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(to_vtk(matrix))
    return node


def test_the_line_has_its_length_afterwards_and_one_undo_takes_it_back(scene: Any, case: CaseInScene) -> None:
    names = case.session.state.landmarks.names
    before, spacing = {name: world_ras_mm(case, name) for name in names}, case.image.volume.GetSpacing()
    index = np.array(case.session.state.index_ijk)
    line = line_over(scene, case)
    old_mm = line.GetLineLengthWorld()
    spacing_mm = spacing_from_line(case.image, line, 150.0)
    assert spacing_mm == pytest.approx((spacing[0] * 150 / old_mm, spacing[1] * 150 / old_mm, spacing[2]))
    scene.RemoveNode(line)
    case.settle()
    case.session.correct_spacing(spacing_mm)
    assert line_over(scene, case).GetLineLengthWorld() == pytest.approx(150)
    assert case.session.state.geometry.spacing_source is SpacingSource.GIVEN
    assert case.image.volume.GetSpacing() == pytest.approx(spacing_mm)
    assert everything_is_on_its_voxel(case)
    np.testing.assert_allclose(case.session.state.index_ijk, index, atol=1e-9)
    case.undo()
    assert case.image.volume.GetSpacing() == pytest.approx(spacing)
    for name, world in before.items():
        np.testing.assert_allclose(world_ras_mm(case, name), world, atol=1e-6)


@pytest.mark.parametrize("above", ["image", "line", "both", "stretched image"])
def test_transforms_above_the_image_and_the_line_do_not_count(scene: Any, case: CaseInScene, above: str) -> None:
    expected = spacing_from_line(case.image, line_over(scene, case), 150.0)
    line = scene.AddNewNodeByClass(LINE_CLASS)
    if above != "line":
        case.image.volume.SetAndObserveTransformNodeID(turned(scene, 25, 3 if "stretched" in above else 1).GetID())
        case.settle()
    if above in ("line", "both"):
        line.SetAndObserveTransformNodeID(turned(scene, -40).GetID())
    for end in case.image.local_ras_mm(line, ENDS_IJK):
        line.AddControlPoint(*end)
    assert spacing_from_line(case.image, line, 150.0) == pytest.approx(expected)


def test_pixels_that_are_not_square_keep_their_shape(scene: Any, case: CaseInScene) -> None:
    x, y, z = case.session.state.geometry.spacing_mm
    case.session.correct_spacing((x, 2 * y, z))
    x, y, z = spacing_from_line(case.image, line_over(scene, case), 150.0)
    assert y == pytest.approx(2 * x)
    assert np.hypot(*(np.ptp(ENDS_IJK, axis=0)[:2] * (x, y))) == pytest.approx(150)


def test_in_a_volume_a_line_in_any_direction_scales_all_axes(scene: Any, desk: Desk, tmp_path: Path) -> None:
    image = an_image(slices=12)
    case = desk.open_volume(add_volume_node(scene, image), Library.create(tmp_path / "volumes", "volumes"))
    ends = np.array([[3.0, 4.0, 1.0], [30.0, 20.0, 9.0]])
    spacing = image.geometry.spacing_mm
    length = float(np.linalg.norm((ends[1] - ends[0]) * spacing))
    assert spacing_from_line(case.image, line_over(scene, case, ends), 2 * length) == pytest.approx(
        tuple(2 * np.array(spacing))
    )


@pytest.mark.parametrize("length_mm", [0.0, -3.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_told_in_one_line(scene: Any, case: CaseInScene, length_mm: float) -> None:
    with pytest.raises(InputError, match="expected the length of the ruler in mm, got") as told:
        spacing_from_line(case.image, line_over(scene, case), length_mm)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("ends_ijk", "length_mm", "expected"),
    [
        (ENDS_IJK[:0], 10, "expected a ruler with two ends, got 0"),
        (ENDS_IJK[:1], 10, "expected a ruler with two ends, got 1"),
        (ENDS_IJK[[0, 0]], 10, "expected a ruler with a length, got two ends in one place"),
        (ENDS_IJK + [[0, 0, 0], [0, 0, 2]], 10, "expected a ruler in the plane of the image"),
        (ENDS_IJK, 0.1, r"expected voxels of 0\.01 to 10 mm, got 0\.00138 mm by a ruler of 0\.1 mm"),
        (ENDS_IJK, 1500, r"expected voxels of 0\.01 to 10 mm, got 20\.\d mm by a ruler of 1500 mm"),
    ],
    ids=["nothing", "one end", "no length", "out of the plane", "too small", "too large"],
)
def test_a_line_that_calibrates_nothing_is_told_in_one_line(
    scene: Any, case: CaseInScene, ends_ijk: np.ndarray, length_mm: float, expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as told:
        spacing_from_line(case.image, line_over(scene, case, ends_ijk), length_mm)
    assert "\n" not in str(told.value)


def test_an_end_without_a_position_is_not_placed(scene: Any, case: CaseInScene) -> None:
    line = line_over(scene, case, ENDS_IJK[:1])
    line.AddControlPoint(10, 10, 0)
    line.UnsetNthControlPointPosition(1)
    with pytest.raises(InputError, match="expected a ruler with two ends, got 1"):
        spacing_from_line(case.image, line, 100)


def test_a_ruler_leaves_nothing_behind(scene: Any, case: CaseInScene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path / "before.mrb")  # adds storage nodes
    before, state = scene.GetNumberOfNodes(), case.session.state
    ruler = Ruler(scene)
    assert (ruler.is_done, ruler.was_given_up, ruler.length_mm(case.image)) == (False, False, None)
    for end in case.image.local_ras_mm(ruler.node, ENDS_IJK):
        ruler.node.AddControlPoint(*end)
    case.poll()
    assert ruler.is_done
    assert ruler.length_mm(case.image) == pytest.approx(ruler.node.GetLineLengthWorld())
    assert case.session.state is state
    opened = read_scene(save_scene(scene, tmp_path / "scene.mrb"))
    assert opened.GetNumberOfNodesByClass(LINE_CLASS) == 0
    assert not ruler.node.GetUndoEnabled()
    ruler.remove()
    ruler.remove()
    assert scene.GetNumberOfNodes() == before
    assert (ruler.is_done, ruler.was_given_up, ruler.length_mm(case.image)) == (False, True, None)


class TestInAView:
    """With the mouse."""

    @pytest.fixture
    def scene(self, screen: OffscreenSlice) -> Any:
        return screen.scene

    def click(self, screen: OffscreenSlice, case: CaseInScene, index_ijk: np.ndarray) -> None:
        volume = case.image.volume
        x, y = screen.display_xy(case.image.local_ras_mm(volume, [index_ijk])[0])
        screen.move(x, y)
        screen.press(x, y)
        screen.release(x, y)

    def test_two_clicks_draw_a_ruler_that_calibrates(self, screen: OffscreenSlice, case: CaseInScene) -> None:
        screen.look_at(case.image.volume)
        ruler = Ruler(screen.scene)
        self.click(screen, case, ENDS_IJK[0])
        assert not ruler.is_done
        assert not ruler.was_given_up
        self.click(screen, case, ENDS_IJK[1])
        assert ruler.is_done
        interaction = screen.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        assert interaction.GetCurrentInteractionMode() == 2, "the mouse looks around again"
        spacing_mm = spacing_from_line(case.image, ruler.node, 150.0)
        ruler.remove()
        case.settle()
        case.session.correct_spacing(spacing_mm)
        drawn_mm = np.linalg.norm((ENDS_IJK[1] - ENDS_IJK[0]) * case.session.state.geometry.spacing_mm)
        assert drawn_mm == pytest.approx(150, rel=0.02), "two pixels of the view"
        assert everything_is_on_its_voxel(case)

    def test_a_ruler_can_be_given_up_after_one_click(self, screen: OffscreenSlice, case: CaseInScene) -> None:
        screen.look_at(case.image.volume)
        nodes = screen.scene.GetNumberOfNodes()
        ruler = Ruler(screen.scene)
        self.click(screen, case, ENDS_IJK[0])
        screen.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SetCurrentInteractionMode(2)
        assert ruler.was_given_up
        ruler.remove()
        assert screen.scene.GetNumberOfNodes() == nodes
