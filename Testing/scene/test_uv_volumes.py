"""The uv field lies in a saved scene to the last bit, where the radiograph is, and nobody has to see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.edits import CorrectSpacing, TakePrediction
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import VIEWS, View
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.uv_volumes import NODE_CLASS, UvVolumes, uv_arrays
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.models.perfect_prediction import patient, perfect_prediction, radiograph
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.saved_scene import nodes_of, read_scene, save_scene

ANGLE = np.deg2rad(25)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE)], [0, np.sin(ANGLE), np.cos(ANGLE)]])
DIRECTIONS = {"upright": np.eye(3), "oblique": OBLIQUE, "left-handed": OBLIQUE @ np.diag([1, 1, -1])}


def a_case(template: Template, image: MedicalImage, **how: Any) -> CaseState:
    prediction = perfect_prediction(template, patient(), image, stride=2, **how)
    answer = ModelAnswer(prediction, template, ())
    return apply_edit(CaseState(image.geometry), TakePrediction(answer, image.geometry))


def with_field(state: CaseState, change: Callable[[UvField], UvField]) -> CaseState:
    """The case as if the model had said another field."""
    assert state.answer is not None
    prediction = state.answer.prediction
    assert prediction.uv_field is not None
    field = replace(change(prediction.uv_field), _indices={})
    return replace(state, answer=replace(state.answer, prediction=replace(prediction, uv_field=field)))


def field_of(state: CaseState) -> UvField:
    assert state.answer is not None
    assert state.answer.prediction.uv_field is not None
    return state.answer.prediction.uv_field


def turned(image: MedicalImage, direction: NDArray[np.float64]) -> MedicalImage:
    volume = sitk.Image(image.volume)
    volume.SetDirection(direction.ravel().tolist())
    return replace(image, volume=volume)


@pytest.fixture(scope="module")
def state(chest_template: Template) -> CaseState:
    return a_case(chest_template, radiograph())


class Shown:
    """A case in a scene."""

    def __init__(self, scene: Any, state: CaseState, image: MedicalImage | None = None) -> None:
        image = image or radiograph()
        self.scene, self.state = scene, state
        self.image = ImageInScene(add_volume_node(scene, image), image.geometry)
        self.volumes = UvVolumes(scene, "film")
        self.show(state)

    def show(self, state: CaseState) -> None:
        self.image.show(state.geometry)
        self.volumes.show(state, self.image)


def world_ras_mm(node: Any, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where Slicer has continuous indices (N, 3) of a volume, by its own matrices."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    matrix, to_world = vtkMatrix4x4(), vtkGeneralTransform()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    return np.array([to_world.TransformPoint(matrix.MultiplyPoint((*i, 1.0))[:3]) for i in index.tolist()])


def inside_index(field: UvField, row: int) -> NDArray[np.float64]:
    """Indices (N, 3) of the field's pixels inside of a structure."""
    y, x = np.nonzero(field.masks[row])
    return np.stack([x, y, 0 * x], axis=1).astype(float)


@pytest.mark.parametrize("with_scale", [True, False], ids=["with scale", "without"])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_saved_scene_keeps_the_field_to_the_last_bit(
    scene: Any, chest_template: Template, tmp_path: Path, direction: NDArray[np.float64], with_scale: bool
) -> None:
    rng = np.random.default_rng(0)

    def noise(field: UvField) -> UvField:
        # What a network says outside is anything but zero, and inside it may be any number.
        uv, scale = (rng.normal(size=field.uv.shape).astype(np.float32) for _ in range(2))
        y, x = np.argwhere(field.masks[2])[0]
        uv[2, :, y, x] = np.float32(-0.0), np.float32(1e-42)
        scale[2, :, y, x] = np.nan, np.inf
        return replace(field, uv=uv, uv_scale=scale if with_scale else None)

    image = turned(radiograph(), direction)
    state = with_field(a_case(chest_template, image), noise)
    Shown(scene, state, image)
    back = read_scene(save_scene(scene, tmp_path / "case.mrb"))
    field = field_of(state)
    nodes = {node.GetName().removeprefix("film uv "): node for node in nodes_of(back, NODE_CLASS)}
    found = uv_arrays(nodes, field.structures)
    np.testing.assert_array_equal(found["masks"], field.masks, strict=True)
    for name, wanted in (("uv", field.uv), ("uv_scale", field.uv_scale)):
        if wanted is None:
            assert name not in found
            continue
        wanted = np.where(field.masks[:, None], wanted, np.float32(0))
        assert found[name].dtype == np.float32
        assert found[name].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_each_structure_lies_on_the_radiograph_where_the_model_saw_it(
    scene: Any, chest_template: Template, view: View, direction: NDArray[np.float64]
) -> None:
    image = turned(radiograph(), direction)
    state = a_case(chest_template, image, view=view)
    shown = Shown(scene, state, image)
    assert state.answer is not None
    prediction, field = state.answer.prediction, field_of(state)
    for row, structure in enumerate(field.structures):
        volume = shown.volumes.nodes[structure]
        index = inside_index(field, row)
        where = world_ras_mm(volume, index)
        y, x = np.nonzero(prediction.grid.mask_on_image(prediction.masks[row]))
        on_image = world_ras_mm(shown.image.volume, np.stack([x, y, 0 * x], axis=1).astype(float))
        # A third of a pixel: half a pixel off, mirrored or turned is another place.
        assert np.linalg.norm(where.mean(axis=0) - on_image.mean(axis=0)) < 0.3
        np.testing.assert_allclose(np.cov(where.T), np.cov(on_image.T), atol=0.05 * np.cov(on_image.T).max())
        of_structure = [i for i, of in enumerate(state.landmarks.structures) if of == structure]
        points = state.landmarks.points_lps_mm[of_structure] * [-1, -1, 1]
        nearest = [int(np.linalg.norm(where - point, axis=1).argmin()) for point in points]
        assert np.linalg.norm(where[nearest] - points, axis=1).max() < 5  # of field pixels that measure 2.8
        held = uv_arrays(shown.volumes.nodes, [structure])["uv"][0]
        at = index[nearest].astype(int)
        assert np.abs(held[:, at[:, 1], at[:, 0]].T - state.landmarks.template_uv[of_structure]).max() < 0.3


def in_image(shown: Shown, structure: str = "heart") -> NDArray[np.float64]:
    """Where in the image, as voxel indices by way of the world, three pixels of the field are."""
    index = np.array([[0.0, 0, 0], [100, 0, 0], [0, 90, 0]])
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    origin, *axes = world_ras_mm(shown.image.volume, corners)
    return np.linalg.solve(
        np.transpose(np.array(axes) - origin), (world_ras_mm(shown.volumes.nodes[structure], index) - origin).T
    ).T


def test_the_field_stays_on_its_pixels_when_the_spacing_is_corrected_and_when_that_is_taken_back(
    scene: Any, state: CaseState
) -> None:
    shown = Shown(scene, state)
    before, node = in_image(shown), shown.volumes.nodes["heart"]
    data, stamp = node.GetImageData(), node.GetImageData().GetMTime()
    spacing = node.GetSpacing()
    shown.show(apply_edit(state, CorrectSpacing((0.25, 0.4, 2.0))))
    np.testing.assert_allclose(in_image(shown), before, atol=1e-9)
    assert node.GetSpacing() != spacing
    shown.show(state)
    np.testing.assert_allclose(in_image(shown), before, atol=1e-9)
    np.testing.assert_allclose(node.GetSpacing(), spacing)
    assert (node.GetImageData(), node.GetImageData().GetMTime()) == (data, stamp), "only the matrix is touched"


@pytest.mark.parametrize("way", ["under", "hardened", "taken away", "warped"])
def test_whoever_moves_the_radiograph_moves_the_field(scene: Any, state: CaseState, way: str) -> None:
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform, vtkTransform

    shown = Shown(scene, state)
    before, node = in_image(shown), shown.volumes.nodes["heart"]
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    turn = vtkTransform()
    turn.Translate(10, -20, 5)
    turn.RotateZ(30)
    transform.SetAndObserveTransformToParent(vtkThinPlateSplineTransform() if way == "warped" else turn)
    shown.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    shown.show(state)
    assert node.GetParentTransformNode() is transform
    if way == "hardened":
        shown.image.volume.HardenTransform()
    elif way == "taken away":
        scene.RemoveNode(transform)
    shown.show(state)
    assert node.GetParentTransformNode() is shown.image.volume.GetParentTransformNode()
    if way != "warped":
        np.testing.assert_allclose(in_image(shown), before, atol=1e-6)


def test_showing_the_same_again_touches_nothing(scene: Any, state: CaseState) -> None:
    shown = Shown(scene, state)
    heard: list[str] = []
    for node in shown.volumes.nodes.values():
        node.AddObserver("AnyEvent", lambda node, event: heard.append(event))
    shown.show(state)
    shown.volumes.adopt(dict(shown.volumes.nodes))
    shown.show(state)
    assert not heard
    shown.show(apply_edit(state, CorrectSpacing((0.25, 0.4, 2.0))))
    assert heard


def test_what_somebody_changed_or_deleted_is_put_right_at_the_next_edit(scene: Any, state: CaseState) -> None:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    shown = Shown(scene, state)
    wanted = uv_arrays(shown.volumes.nodes, field_of(state).structures)
    scalars = shown.volumes.nodes["heart"].GetImageData().GetPointData().GetScalars()
    vtk_to_numpy(scalars)[:] = 7
    scalars.Modified()
    scene.RemoveNode(shown.volumes.nodes["left_lung"])
    shown.volumes.nodes["right_lung"].SetAndObserveImageData(None)
    shown.show(state)
    found = uv_arrays(shown.volumes.nodes, field_of(state).structures)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
    assert len(nodes_of(scene, NODE_CLASS)) == len(field_of(state).structures)


def test_the_field_of_another_answer_takes_the_place_of_the_first(scene: Any, state: CaseState) -> None:
    def only_lungs(field: UvField) -> UvField:
        uv = field.uv[:2] + np.float32(0.25)
        return replace(field, structures=field.structures[:2], uv=uv, uv_scale=None, masks=field.masks[:2])

    shown = Shown(scene, state)
    other = with_field(state, only_lungs)
    shown.show(other)
    assert len(nodes_of(scene, NODE_CLASS)) == 2
    found = uv_arrays(shown.volumes.nodes, field_of(other).structures)
    inside = np.broadcast_to(field_of(other).masks[:, None], found["uv"].shape)
    np.testing.assert_array_equal(found["uv"][inside], field_of(other).uv[inside])
    assert "uv_scale" not in found
    shown.show(state)
    assert uv_arrays(shown.volumes.nodes, field_of(state).structures)["uv"].shape == field_of(state).uv.shape


def test_a_case_without_a_field_has_no_volumes(scene: Any, state: CaseState) -> None:
    assert state.answer is not None
    without = replace(state.answer, prediction=replace(state.answer.prediction, uv_field=None))
    for other in (CaseState(state.geometry), replace(state, answer=without)):
        shown = Shown(scene, state)
        assert shown.volumes.nodes
        shown.show(other)
        assert not shown.volumes.nodes
        assert not nodes_of(scene, NODE_CLASS)


def test_only_our_volumes_are_removed(scene: Any, state: CaseState) -> None:
    other = scene.AddNewNodeByClass(NODE_CLASS, "somebody else's")
    shown = Shown(scene, state)
    shown.volumes.remove()
    assert nodes_of(scene, NODE_CLASS) == [other]
    assert not shown.volumes.nodes
    assert shown.image.volume.GetScene() is scene


def test_nobody_sees_the_field(screen: OffscreenSlice, state: CaseState) -> None:
    image = radiograph()
    film = ImageInScene(add_volume_node(screen.scene, image), image.geometry)
    screen.look_at(film.volume)
    before = screen.pixels()
    volumes = UvVolumes(screen.scene, "film")
    volumes.show(state, film)
    np.testing.assert_array_equal(screen.pixels(), before)
    for node in volumes.nodes.values():
        assert node.GetHideFromEditors()
        assert not node.GetUndoEnabled()
        assert node.GetDisplayNode() is None


def test_a_volume_that_is_not_the_fields_is_told_in_one_line(scene: Any, state: CaseState) -> None:
    shown = Shown(scene, state)
    structures = field_of(state).structures
    short = MedicalImage(sitk.Image(4, 4, 1, sitk.sitkFloat32), SpacingSource.GIVEN)
    wrong = {
        "none": None,
        "no pixels": scene.AddNewNodeByClass(NODE_CLASS),
        "grey": add_volume_node(scene, short),
    }
    for node in wrong.values():
        with pytest.raises(InputError, match=r"^expected the uv volume of heart, got none\. Open .*\.$"):
            uv_arrays({**shown.volumes.nodes, "heart": node}, structures)
    small = with_field(state, lambda field: replace(field, uv_scale=None))
    other = UvVolumes(scene, "other")
    other.show(small, shown.image)
    with pytest.raises(InputError, match=r"^expected the uv volume of heart, got one of float32 and shape \(1, 128"):
        uv_arrays({**shown.volumes.nodes, "heart": other.nodes["heart"]}, structures)
