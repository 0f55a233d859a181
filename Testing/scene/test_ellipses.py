"""A person sees at a glance where the model is unsure, how far, and in which direction."""

from __future__ import annotations

import re
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import KDTree
from scipy.stats import chi2
from vtkmodules.util.numpy_support import vtk_to_numpy

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import CorrectSpacing, Move, TakePrediction
from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.ellipses import Ellipses
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.ras import FloatArray, to_vtk
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.scene.offscreen import OffscreenSlice

TURN = np.deg2rad(25)
# A patient who stands a little turned: no axis of the image is one of the body's.
DIRECTION = np.array([[np.cos(TURN), 0, np.sin(TURN)], [np.sin(TURN), 0, -np.cos(TURN)], [0, -1, 0]])
TURNED = np.array([[0.866, -0.5, 0, 12], [0.5, 0.866, 0, -7], [0, 0, 1, 5], [0, 0, 0, 1]])
LONG, SHORT = 6.0, 1.5  # standard deviations in mm


def an_image(slices: int = 1, direction: FloatArray = DIRECTION) -> MedicalImage:
    """Noise; the voxels are no cubes."""
    voxels = np.random.default_rng(0).integers(0, 1000, (slices, 150, 200)).astype(np.int16)
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing((0.5, 0.8, 3.0))
    volume.SetOrigin((-20.0, 35.0, 4.0))
    volume.SetDirection(direction.ravel().tolist())
    return MedicalImage(volume, SpacingSource.DETECTOR, "film")


def a_covariance(geometry: ImageGeometry, degrees: float, *deviations_mm: float) -> FloatArray:
    """The covariance (3, 3) in LPS of that spread along image axes that are turned about the third one."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    spread = geometry.axes_lps @ turn @ np.diag(np.resize([*deviations_mm, 0.0, 0.0], 3))
    return np.asarray(spread @ spread.T)


def a_state(geometry: ImageGeometry, index_ijk: FloatArray, covariance_mm2: Sequence[FloatArray]) -> CaseState:
    """A case of predicted landmarks, from doubtful (0.1) to sure (0.9)."""
    n = len(index_ijk)
    points = lps_mm_from_index(geometry, index_ijk)
    unplaced = LandmarkSet.unplaced([f"p{i}" for i in range(n)], ["bone"] * n)
    landmarks = replace(
        unplaced,
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT,) * n,
        confidence=np.linspace(0.1, 0.9, n),
        covariance_mm2=np.array(covariance_mm2),
    )
    return CaseState(geometry, landmarks)


def drawn_world_ras_mm(node: Any, points_each: int) -> FloatArray:
    """What a model draws, (N, points_each, 3), where it is in the world."""
    data, made = node.GetPolyData(), []
    for n in range(data.GetNumberOfPoints()):
        world = [0.0, 0.0, 0.0]
        node.TransformPointToWorld(data.GetPoint(n), world)
        made.append(world)
    return np.array(made).reshape(-1, points_each, 3)


def drawn_index_ijk(node: Any, volume: Any, points_each: int = 32) -> FloatArray:
    """The voxels (N, points_each, 3) that a model's points lie on, as Slicer shows both."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    to_ijk = vtkMatrix4x4()
    volume.GetRASToIJKMatrix(to_ijk)
    world = drawn_world_ras_mm(node, points_each)
    made = []
    for point in world.reshape(-1, 3):
        local = [0.0, 0.0, 0.0]
        volume.TransformPointFromWorld(point.tolist(), local)
        made.append(to_ijk.MultiplyPoint((*local, 1.0))[:3])
    return np.array(made).reshape(world.shape)


def put_under_transform(image: ImageInScene, harden: bool = False) -> None:
    """Turn and move the image as a person does it with Slicer's Transforms module."""
    transform = image.volume.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(TURNED))
    image.volume.SetAndObserveTransformNodeID(transform.GetID())
    if harden:
        image.volume.HardenTransform()


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def assert_nothing_is_saved(screen: OffscreenSlice, ours: set[str], folder: Path) -> None:
    """A saved scene neither holds nor mentions any of those nodes, and can be opened."""
    path = folder / "scene.mrb"
    assert screen.scene.WriteToMRB(str(path))
    with zipfile.ZipFile(path) as bundle:
        (name,) = [name for name in bundle.namelist() if name.endswith(".mrml")]
        text = bundle.read(name).decode()
        files = "\n".join(bundle.namelist())
    assert "ScalarVolume" in text
    for node in ours:
        assert not re.search(rf"{node}\b", text), node
        assert screen.scene.GetNodeByID(node).GetName().replace(" ", "_") not in files
    classes = Counter(screen.scene.GetNodeByID(node).GetClassName() for node in ours)
    there = {name: screen.scene.GetNumberOfNodesByClass(name) for name in classes}
    assert screen.scene.ReadFromMRB(str(path), True)
    for name, count in classes.items():
        assert screen.scene.GetNumberOfNodesByClass(name) == there[name] - count


@pytest.mark.parametrize("how", ["as read", "calibrated", "under a transform", "hardened"])
def test_the_ellipse_lies_about_its_point_and_holds_it_with_90_percent(scene: Any, how: str) -> None:
    film = an_image()
    geometry = film.geometry
    index = np.array([[60.3, 70.6, 0.0], [120, 40, 0]])
    state = a_state(geometry, index, [a_covariance(geometry, angle, LONG, SHORT) for angle in (30, -70)])
    image = ImageInScene(add_volume_node(scene, film), geometry)
    if how == "calibrated":
        state = apply_edit(state, CorrectSpacing((0.9, 0.7, 3.0)))
        image.show(state.geometry)
    elif how != "as read":
        put_under_transform(image, harden=how == "hardened")
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    if how == "under a transform":
        image.volume.GetParentTransformNode().Inverse()  # what lies on the image goes along without being asked
    drawn_ijk = drawn_index_ijk(ellipses.node, image.volume)
    np.testing.assert_allclose(drawn_ijk[:, :, 2], 0, atol=1e-6)  # in the image's plane
    np.testing.assert_allclose(drawn_ijk.mean(1), index, atol=1e-6)
    # As many standard deviations from the point on all sides, and every side is there.
    offsets = (drawn_ijk - index[:, None])[:, :, :2] * state.geometry.spacing_mm[:2]
    axes = state.geometry.axes_lps[:, :2]
    in_plane = axes.T @ state.landmarks.covariance_mm2 @ axes
    squared = np.einsum("npi,nij,npj->np", offsets, np.linalg.inv(in_plane), offsets)
    np.testing.assert_allclose(squared, chi2.ppf(0.9, 2), rtol=1e-3)
    if how != "calibrated":
        lengths = np.linalg.norm(offsets, axis=2)
        np.testing.assert_allclose(lengths.max(1), LONG * np.sqrt(chi2.ppf(0.9, 2)), rtol=0.01)
        np.testing.assert_allclose(lengths.min(1), SHORT * np.sqrt(chi2.ppf(0.9, 2)), rtol=0.01)


def test_in_a_volume_the_region_is_an_ellipsoid(scene: Any) -> None:
    scan = an_image(slices=20)
    geometry = scan.geometry
    index = np.array([[60.3, 70.6, 9.5]])
    state = a_state(geometry, index, [a_covariance(geometry, 30, LONG, SHORT, 4.0)])
    image = ImageInScene(add_volume_node(scene, scan), geometry)
    put_under_transform(image)
    ellipses = Ellipses(scene, "scan")
    ellipses.show(state, image)
    points_each = ellipses.node.GetPolyData().GetNumberOfPoints()
    drawn_ijk = drawn_index_ijk(ellipses.node, image.volume, points_each)
    offsets = lps_mm_from_index(geometry, drawn_ijk[0]) - lps_mm_from_index(geometry, index)
    squared = np.einsum("pi,ij,pj->p", offsets, np.linalg.inv(state.landmarks.covariance_mm2[0]), offsets)
    np.testing.assert_allclose(squared, chi2.ppf(0.9, 3), rtol=1e-3)
    across = np.abs(offsets @ geometry.axes_lps[:, 2]).max()
    assert across == pytest.approx(4.0 * np.sqrt(chi2.ppf(0.9, 3)), rel=0.01)
    # A closed surface: a slice through it shows a closed line. Each edge belongs to two triangles.
    triangles = vtk_to_numpy(ellipses.node.GetPolyData().GetPolys().GetConnectivityArray()).reshape(-1, 3)
    edges = Counter(frozenset((a, b)) for corners in triangles.tolist() for a, b in combinations(corners, 2))
    assert set(edges.values()) == {2}
    assert points_each - len(edges) + len(triangles) == 2  # Euler: no holes


@pytest.mark.parametrize("slices", [1, 20])
def test_a_model_that_knows_less_or_more_than_a_full_ellipse_breaks_nothing(scene: Any, slices: int) -> None:
    scan = an_image(slices)
    geometry = scan.geometry
    index = np.column_stack([np.linspace(20, 180, 6), np.full(6, 70.0), np.full(6, (slices - 1) / 2)])
    line = a_covariance(geometry, 0, LONG)
    rounded = line - 1e-12 * np.eye(3)
    unknown = np.full((3, 3), np.nan)
    state = a_state(geometry, index, [line, a_covariance(geometry, 0, LONG, SHORT), 0 * line, rounded, unknown, line])
    state.landmarks.points_lps_mm[5] = np.nan
    image = ImageInScene(add_volume_node(scene, scan), geometry)
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    points_each = ellipses.node.GetPolyData().GetNumberOfPoints() // 4  # what is unknown has no region
    drawn_ijk = drawn_index_ijk(ellipses.node, image.volume, points_each)
    assert np.isfinite(drawn_ijk).all()
    np.testing.assert_allclose((drawn_ijk.max(1) + drawn_ijk.min(1)) / 2, index[:4], atol=0.01)
    half_mm = (drawn_ijk.max(1) - drawn_ijk.min(1)) / 2 * geometry.spacing_mm
    longest = LONG * np.sqrt(chi2.ppf(0.9, 2 if slices == 1 else 3))
    np.testing.assert_allclose(half_mm[[0, 1, 3], 0], longest, rtol=0.01)
    np.testing.assert_allclose(half_mm[2], 0, atol=0.2)


def test_only_what_a_person_has_not_settled_has_a_region(scene: Any) -> None:
    film = an_image()
    n = len(Review) + 2
    index = np.column_stack([np.linspace(20, 180, n), np.full(n, 70.0), np.zeros(n)])
    state = a_state(film.geometry, index, [a_covariance(film.geometry, 0, LONG, SHORT)] * n)
    presence = (*[Presence.PRESENT] * len(Review), Presence.ABSENT, Presence.UNPLACED)
    review = (*Review, Review.PREDICTED, Review.PREDICTED)
    state = replace(state, landmarks=replace(state.landmarks, presence=presence, review=review))
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    shown = drawn_index_ijk(ellipses.node, image.volume).mean(1)[:, 0]
    expected = [index[i, 0] for i, review in enumerate(Review) if review in (Review.PREDICTED, Review.UNSURE)]
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_a_case_without_landmarks_has_no_regions(scene: Any) -> None:
    film = an_image()
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ellipses = Ellipses(scene, "film")
    ellipses.show(CaseState(film.geometry), image)
    assert ellipses.node.GetPolyData().GetNumberOfPoints() == 0


def test_the_regions_follow_every_edit_and_are_left_alone_between(scene: Any) -> None:
    film = an_image()
    index = np.array([[60.3, 70.6, 0.0], [120, 40, 0]])
    state = a_state(film.geometry, index, [a_covariance(film.geometry, 30, LONG, SHORT)] * 2)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    drawn = ellipses.node.GetPolyData()
    ellipses.show(replace(state), image)
    assert ellipses.node.GetPolyData() is drawn
    landmarks = state.landmarks
    for change in (
        {"points_lps_mm": landmarks.points_lps_mm + [0, 0, 0.01]},
        {"covariance_mm2": landmarks.covariance_mm2 * 1.01},
        {"review": (Review.VERIFIED, Review.PREDICTED)},
        {"presence": (Presence.PRESENT, Presence.ABSENT)},
        {"confidence": landmarks.confidence + 0.01},
    ):
        ellipses.show(replace(state, landmarks=replace(landmarks, **change)), image)
        assert ellipses.node.GetPolyData() is not drawn, change
        ellipses.show(state, image)
        drawn = ellipses.node.GetPolyData()
    put_under_transform(image, harden=True)
    ellipses.show(state, image)
    np.testing.assert_allclose(drawn_index_ijk(ellipses.node, image.volume).mean(1), index, atol=1e-6)
    # A person closed the scene's display, or all of it.
    scene.RemoveNode(ellipses.node.GetDisplayNode())
    ellipses.set_visible(False)
    ellipses.show(state, image)
    assert not ellipses.node.GetDisplayNode().GetVisibility()
    scene.Clear(False)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ellipses.show(state, image)
    assert scene.IsNodePresent(ellipses.node)
    assert scene.IsNodePresent(ellipses.node.GetDisplayNode().GetColorNode())
    np.testing.assert_allclose(drawn_index_ijk(ellipses.node, image.volume).mean(1), index, atol=1e-6)


def test_a_landmark_of_unknown_confidence_is_doubtful(scene: Any) -> None:
    film = an_image()
    index = np.array([[60.0, 70.0, 0.0], [120, 40, 0]])
    state = a_state(film.geometry, index, [a_covariance(film.geometry, 30, LONG, SHORT)] * 2)
    state = replace(state, landmarks=replace(state.landmarks, confidence=np.array([np.nan, 0.5])))
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, ImageInScene(add_volume_node(scene, film), film.geometry))
    scalars = vtk_to_numpy(ellipses.node.GetPolyData().GetPointData().GetScalars())
    np.testing.assert_array_equal(scalars, np.repeat([0.0, 0.5], 32))


def test_undo_of_the_scene_takes_no_region_back(scene: Any) -> None:
    film = an_image()
    state = a_state(film.geometry, np.array([[60.0, 70.0, 0.0]]), [a_covariance(film.geometry, 0, LONG, SHORT)])
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    scene.SaveStateForUndo()
    moved = replace(state.landmarks, points_lps_mm=lps_mm_from_index(film.geometry, [[90.0, 70.0, 0.0]]))
    ellipses.show(replace(state, landmarks=moved), image)
    scene.Undo()
    scene.Undo()
    assert scene.IsNodePresent(ellipses.node)
    np.testing.assert_allclose(drawn_index_ijk(ellipses.node, image.volume).mean(1), [[90, 70, 0]], atol=1e-6)


def test_only_our_nodes_are_removed_and_all_of_them(scene: Any) -> None:
    film = an_image()
    state = a_state(film.geometry, np.array([[60.0, 70.0, 0.0]]), [a_covariance(film.geometry, 0, LONG, SHORT)])
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    before = node_ids(scene)
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, image)
    assert len(node_ids(scene)) > len(before)
    ellipses.remove()
    assert node_ids(scene) == before
    ellipses.show(state, image)
    assert scene.IsNodePresent(ellipses.node)


def test_regions_are_not_saved_and_appear_in_no_list(screen: OffscreenSlice, tmp_path: Path) -> None:
    film = an_image()
    state = a_state(film.geometry, np.array([[60.0, 70.0, 0.0]]), [a_covariance(film.geometry, 0, LONG, SHORT)])
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    put_under_transform(image)
    before = node_ids(screen.scene)
    Ellipses(screen.scene, "film").show(state, image)
    ours = node_ids(screen.scene) - before
    assert len(ours) == 3
    assert all(screen.scene.GetNodeByID(node).GetHideFromEditors() for node in ours)
    assert not any(screen.scene.GetNodeByID(node).GetSelectable() for node in ours)
    assert_nothing_is_saved(screen, ours, tmp_path)


def outlines_xy(screen: OffscreenSlice, node: Any) -> FloatArray:
    """Pixels (N, P, 2) of the view, x and y from the top, along N ellipses."""
    world = drawn_world_ras_mm(node, 32)
    ends = np.roll(world, -1, axis=1)
    along = np.concatenate([world + (ends - world) * t for t in np.linspace(0, 1, 12)], axis=1)
    pixels = np.array([screen.display_xy(point.tolist()) for point in along.reshape(-1, 3)])
    return (pixels * [1, -1] + [0, screen.view.render_window().GetSize()[1] - 1]).reshape(len(world), -1, 2)


def test_an_ellipse_is_seen_where_it_is_in_the_colour_of_its_confidence(screen: OffscreenSlice) -> None:
    film = an_image()
    index = np.array([[60.0, 70.0, 0.0], [130, 70, 0]])
    state = a_state(film.geometry, index, [a_covariance(film.geometry, 30, LONG, SHORT)] * 2)
    state = replace(state, landmarks=replace(state.landmarks, confidence=np.array([0.0, 1.0])))
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    put_under_transform(image)
    ellipses = Ellipses(screen.scene, "film")
    ellipses.show(state, image)
    screen.look_at(image.volume)
    seen = screen.pixels()
    ellipses.set_visible(False)
    without = screen.pixels()
    rows, columns = np.nonzero((seen != without).any(2))
    changed = np.column_stack([columns, rows])
    doubtful, sure = (KDTree(outline) for outline in outlines_xy(screen, ellipses.node))
    near_doubtful, near_sure = doubtful.query(changed)[0] < 3, sure.query(changed)[0] < 3
    assert (near_doubtful ^ near_sure).all()
    for outline in (doubtful, sure):
        assert KDTree(changed).query(outline.data)[0].max() < 3
    colours = seen[rows, columns].astype(float)
    orange, violet = np.median(colours[near_doubtful], axis=0), np.median(colours[near_sure], axis=0)
    np.testing.assert_allclose(orange, [254, 186, 44], atol=8)
    np.testing.assert_allclose(violet, [107, 0, 168], atol=8)
    ellipses.set_visible(True)
    np.testing.assert_array_equal(screen.pixels(), seen)
    ellipses.remove()
    np.testing.assert_array_equal(screen.pixels(), without)


def test_doubt_stands_out_from_a_grey_image_for_the_colour_blind_too(scene: Any) -> None:
    film = an_image()
    state = a_state(film.geometry, np.array([[60.0, 70.0, 0.0]]), [a_covariance(film.geometry, 0, LONG, SHORT)])
    ellipses = Ellipses(scene, "film")
    ellipses.show(state, ImageInScene(add_volume_node(scene, film), film.geometry))
    display = ellipses.node.GetDisplayNode()
    assert display.GetScalarRange() == (0.0, 1.0)
    table = display.GetColorNode()
    colours = np.zeros((table.GetNumberOfColors(), 4))
    for n in range(len(colours)):
        table.GetColor(n, colours[n])
    lightness = colours[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert len(colours) == 256
    assert (np.diff(lightness[::16]) < 0).all()
    # Blue against yellow is what the colour-blind tell apart; red against green is not.
    yellow_to_blue = colours[:, :2].mean(1) - colours[:, 2]
    assert yellow_to_blue[0] > 0.5
    assert yellow_to_blue[-1] < -0.3
    assert np.ptp(colours[:, :3], axis=1).min() > 0.4


def test_a_flat_ellipsoid_is_seen_in_the_slice_that_it_lies_in(screen: OffscreenSlice) -> None:
    scan = an_image(20, np.eye(3))
    index = np.array([[60.0, 70.0, 9.0]])
    state = a_state(scan.geometry, index, [a_covariance(scan.geometry, 0, LONG, LONG)])
    image = ImageInScene(add_volume_node(screen.scene, scan), scan.geometry)
    ellipses = Ellipses(screen.scene, "scan")
    ellipses.show(state, image)
    screen.look_at(image.volume)
    centre = image.local_ras_mm(ellipses.node, index)[0]
    screen.view._view_node.JumpSlice(*centre)
    seen = screen.pixels()
    ellipses.set_visible(False)
    rows, columns = np.nonzero((seen != screen.pixels()).any(2))
    x, y = screen.display_xy(centre.tolist())
    edge = image.local_ras_mm(ellipses.node, index + [LONG * np.sqrt(chi2.ppf(0.9, 3)) / 0.5, 0, 0])[0]
    radius = abs(screen.display_xy(edge.tolist())[0] - x)
    distance = np.hypot(columns - x, 1023 - rows - y)
    assert len(rows) > 2 * np.pi * radius * 0.8
    assert distance.min() > 0.94 * radius - 2
    assert distance.max() < radius + 2


@pytest.mark.timed
def test_regions_cost_no_frame_while_a_point_is_dragged(screen: OffscreenSlice, chest_template: Template) -> None:
    film = chest_image(chest_template, 1024)
    state = apply_edit(CaseState(film.geometry), TakePrediction(perfect_answer(chest_template, film), film.geometry))
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    lists, ellipses = FiducialLists(screen.scene, "film"), Ellipses(screen.scene, "film")
    lists.show(state, image)
    screen.look_at(image.volume)
    name = state.landmarks.names[10]
    i, j, k = state.index_ijk[10]
    steps = [apply_edit(state, Move(((name, (i + step, j, k)),))) for step in range(1, 9)]

    def seconds(with_ellipses: bool) -> float:
        took = []
        for step in steps:
            start = time.perf_counter()
            lists.show(step, image)
            if with_ellipses:
                ellipses.show(step, image)
            screen.render()
            took.append(time.perf_counter() - start)
        return float(np.median(took))

    seconds(True)
    ellipses.remove()
    without = seconds(False)
    assert seconds(True) - without < 0.1
    assert ellipses.node.GetPolyData().GetNumberOfPoints() == 32 * (len(state.landmarks) - 1)


def test_a_landmark_under_its_ellipse_is_dragged_as_without(screen: OffscreenSlice) -> None:
    film = an_image()
    index = np.array([[60.0, 70.0, 0.0]])
    state = a_state(film.geometry, index, [a_covariance(film.geometry, 0, LONG, 0.01)])
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    lists, ellipses = FiducialLists(screen.scene, "film"), Ellipses(screen.scene, "film")
    lists.show(state, image)
    ellipses.show(state, image)
    screen.look_at(image.volume)
    node = lists.nodes["bone"]
    x, y = screen.display_xy(node.GetNthControlPointPositionWorld(0))
    screen.drag((x, y), (x + 60, y + 20))
    assert screen.display_xy(node.GetNthControlPointPositionWorld(0)) == pytest.approx((x + 60, y + 20), abs=2)
    local = np.array([node.GetNthControlPointPosition(0)])
    assert np.abs(index_from_lps_mm(film.geometry, local * [-1, -1, 1]) - index)[0, :2].max() > 5
