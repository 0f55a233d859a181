"""A person sees what was corrected, and from where, without the mouse getting caught in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_masks import structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Accept, CorrectSpacing, Move
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.ghosts import Ghosts
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.test_ellipses import (
    a_covariance,
    a_state,
    an_image,
    assert_nothing_is_saved,
    drawn_index_ijk,
    node_ids,
    put_under_transform,
)

PREDICTED = np.array([[60.0, 70.0, 0.0], [140.0, 40.0, 0.0]])
NOW = np.array([[100.0, 90.0, 0.0], [140.0, 80.0, 0.0]])
RING = 32  # points


def corrected(geometry: ImageGeometry, predicted_ijk: FloatArray, now_ijk: FloatArray) -> CaseState:
    """Landmarks that a person moved from where they were predicted; the first is of another structure than the rest."""
    state = a_state(geometry, now_ijk, [a_covariance(geometry, 0, 2.0, 2.0)] * len(now_ijk))
    n = len(now_ijk)
    landmarks = replace(
        state.landmarks,
        structures=("bone", *["heart"] * (n - 1)),
        predicted_lps_mm=lps_mm_from_index(geometry, predicted_ijk),
        review=(Review.CORRECTED,) * n,
    )
    return replace(state, landmarks=landmarks)


def drawn(ghosts: Ghosts, image: ImageInScene) -> tuple[FloatArray, FloatArray]:
    """The rings (N, 32, 3) and the ends of the lines (N, 2, 3), in voxels."""
    points = drawn_index_ijk(ghosts.node, image.volume, 1)[:, 0]
    count = len(points) // (RING + 2)
    return points[: count * RING].reshape(count, RING, 3), points[count * RING :].reshape(count, 2, 3)


@pytest.mark.parametrize("how", ["as read", "calibrated", "under a transform", "hardened"])
def test_a_ghost_lies_where_the_model_saw_the_point_and_a_line_leads_to_where_it_is(scene: Any, how: str) -> None:
    film = an_image()
    state = corrected(film.geometry, PREDICTED, NOW)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    if how == "calibrated":
        state = apply_edit(state, CorrectSpacing((0.9, 0.7, 3.0)))
        image.show(state.geometry)
    elif how != "as read":
        put_under_transform(image, harden=how == "hardened")
    ghosts = Ghosts(scene, "film")
    ghosts.show(state, image)
    rings, lines = drawn(ghosts, image)
    np.testing.assert_allclose(rings.mean(1), PREDICTED, atol=1e-6)
    radius_mm = np.linalg.norm((rings - PREDICTED[:, None]) * state.geometry.spacing_mm, axis=2)
    assert np.ptp(radius_mm) < 1e-6  # round, on pixels that are no squares
    np.testing.assert_allclose(lines[:, 1], NOW, atol=1e-6)
    start_mm = np.linalg.norm((lines[:, 0] - PREDICTED) * state.geometry.spacing_mm, axis=1)
    np.testing.assert_allclose(start_mm, radius_mm[0, 0], rtol=1e-6)  # nothing covers the pixels in the ring


def test_only_a_present_point_that_a_person_moved_leaves_a_ghost(scene: Any) -> None:
    film = an_image()
    across = np.linspace(20, 180, 8)
    predicted = np.column_stack([across, np.full(8, 70.0), np.zeros(8)])
    now = predicted + [10, 0, 0]
    now[1] = predicted[1] + [0.4, 0, 0]  # 0.2 mm, less than half of 0.5 mm
    now[2] = predicted[2] + [0.6, 0, 0]
    state = corrected(film.geometry, predicted, now)
    presence, review = [Presence.PRESENT] * 8, [Review.CORRECTED] * 8
    presence[3] = Presence.ABSENT
    review[4:7] = Review.PREDICTED, Review.VERIFIED, Review.PLACED
    came = state.landmarks.predicted_lps_mm.copy()
    came[7] = np.nan
    landmarks = replace(state.landmarks, presence=tuple(presence), review=tuple(review), predicted_lps_mm=came)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ghosts = Ghosts(scene, "film")
    ghosts.show(replace(state, landmarks=landmarks), image)
    rings, lines = drawn(ghosts, image)
    np.testing.assert_allclose(rings.mean(1), predicted[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(lines[1, 0], lines[1, 1], atol=1e-6)  # within the ring there is no line


def test_an_edit_gives_and_takes_ghosts(scene: Any) -> None:
    film = an_image()
    state = a_state(film.geometry, PREDICTED, [a_covariance(film.geometry, 0, 2.0, 2.0)] * 2)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    ghosts = Ghosts(scene, "film")
    ghosts.show(state, image)
    assert len(drawn(ghosts, image)[0]) == 0
    moved = apply_edit(state, Move((("p0", (100.0, 90.0, 0.0)),)))
    ghosts.show(moved, image)
    rings, lines = drawn(ghosts, image)
    np.testing.assert_allclose(rings.mean(1), PREDICTED[:1], atol=1e-6)
    np.testing.assert_allclose(lines[:, 1], [[100, 90, 0]], atol=1e-6)
    shown = ghosts.node.GetPolyData()
    ghosts.show(apply_edit(moved, Accept(("p1",))), image)
    assert ghosts.node.GetPolyData() is shown  # nothing to draw anew
    ghosts.show(state, image)  # undo
    assert len(drawn(ghosts, image)[0]) == 0


def test_only_our_nodes_are_removed_and_all_of_them(scene: Any) -> None:
    film = an_image()
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    before = node_ids(scene)
    ghosts = Ghosts(scene, "film")
    ghosts.show(corrected(film.geometry, PREDICTED, NOW), image)
    assert len(node_ids(scene)) > len(before)
    ghosts.remove()
    assert node_ids(scene) == before


def test_ghosts_are_not_saved_and_appear_in_no_list(screen: OffscreenSlice, tmp_path: Path) -> None:
    film = an_image()
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    put_under_transform(image)
    before = node_ids(screen.scene)
    Ghosts(screen.scene, "film").show(corrected(film.geometry, PREDICTED, NOW), image)
    ours = node_ids(screen.scene) - before
    assert len(ours) == 3
    assert all(screen.scene.GetNodeByID(node).GetHideFromEditors() for node in ours)
    assert_nothing_is_saved(screen, ours, tmp_path)


def xy(screen: OffscreenSlice, image: ImageInScene, index_ijk: FloatArray) -> list[tuple[int, int]]:
    """Pixels of the view, counted from the bottom left, in which voxels are seen; the image is under no transform."""
    return [screen.display_xy(point.tolist()) for point in image.local_ras_mm(image.volume, index_ijk)]


def test_a_ghost_is_seen_faintly_in_its_structures_colour(screen: OffscreenSlice) -> None:
    film = an_image()
    state = corrected(film.geometry, PREDICTED, NOW)
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    ghosts = Ghosts(screen.scene, "film")
    ghosts.show(state, image)
    screen.look_at(image.volume)
    seen = screen.pixels().astype(float)
    ghosts.set_visible(False)
    without = screen.pixels().astype(float)
    rows, columns = np.nonzero((seen != without).any(2))
    changed = np.column_stack([columns, 1023 - rows])
    rings, lines = drawn(ghosts, image)
    assert len(changed) > 100
    for n, structure in enumerate(("bone", "heart")):
        start, end = lines[n]
        along = start + (end - start) * np.linspace(0, 1, 100)[:, None]
        expected = KDTree(xy(screen, image, np.concatenate([rings[n], along])))
        mine = expected.query(changed)[0] < 6
        assert KDTree(changed[mine]).query(expected.data)[0].max() < 3
        # What is seen is the image with some of the colour on it.
        at = rows[mine], columns[mine]
        colour = 255 * np.array(structure_style(state, structure).colour)
        added, full = (seen[at] - without[at]).ravel(), (colour - without[at]).ravel()
        assert 0.25 < added @ full / (full @ full) < 0.65
        assert np.corrcoef(added, full)[0, 1] > 0.9
    assert not set(map(tuple, xy(screen, image, PREDICTED))) & set(map(tuple, changed.tolist()))


def test_in_a_volume_some_slice_shows_the_ghost(screen: OffscreenSlice) -> None:
    scan = an_image(20, np.eye(3))
    state = corrected(scan.geometry, np.array([[60.0, 70.0, 9.5]]), np.array([[60.0, 70.0, 15.0]]))
    image = ImageInScene(add_volume_node(screen.scene, scan), scan.geometry)
    ghosts = Ghosts(screen.scene, "scan")
    ghosts.show(state, image)
    screen.look_at(image.volume)

    def pixels_at(k: float) -> tuple[int, float]:
        """How many pixels a slice shows of it, and how far they are from the prediction."""
        centre = image.local_ras_mm(image.volume, [[60.0, 70.0, k]])[0]
        screen.view._view_node.JumpSlice(*centre)
        ghosts.set_visible(True)
        seen = screen.pixels()
        ghosts.set_visible(False)
        rows, columns = np.nonzero((seen != screen.pixels()).any(2))
        x, y = screen.display_xy(centre.tolist())
        return len(rows), float(np.hypot(columns - x, 1023 - rows - y).max(initial=0))

    for k in (9.0, 10.0):
        count, distance = pixels_at(k)
        assert count > 8
        assert distance < 30
    assert pixels_at(3.0) == (0, 0)


def test_the_mouse_takes_the_landmark_that_lies_on_a_ghost(screen: OffscreenSlice) -> None:
    film = an_image()
    # The second point now is where the first was predicted.
    state = corrected(film.geometry, PREDICTED, np.array([NOW[0], PREDICTED[0]]))
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    lists, ghosts = FiducialLists(screen.scene, "film"), Ghosts(screen.scene, "film")
    lists.show(state, image)
    ghosts.show(state, image)
    screen.look_at(image.volume)
    (x, y), (still_x, still_y) = xy(screen, image, np.array([PREDICTED[0], NOW[0]]))
    screen.drag((x, y), (x + 50, y - 30))
    heart, bone = lists.nodes["heart"], lists.nodes["bone"]
    assert screen.display_xy(heart.GetNthControlPointPositionWorld(0)) == pytest.approx((x + 50, y - 30), abs=2)
    assert screen.display_xy(bone.GetNthControlPointPositionWorld(0)) == pytest.approx((still_x, still_y), abs=1)


def test_a_lone_ghost_cannot_be_dragged(screen: OffscreenSlice) -> None:
    film = an_image()
    state = corrected(film.geometry, PREDICTED, NOW)
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    lists, ghosts = FiducialLists(screen.scene, "film"), Ghosts(screen.scene, "film")
    lists.show(state, image)
    ghosts.show(state, image)
    screen.look_at(image.volume)
    rings, lines = drawn(ghosts, image)
    middle = lines.mean(1)
    for x, y in xy(screen, image, np.concatenate([rings[:, 0], middle, PREDICTED])):
        screen.drag((x, y), (x + 50, y - 30))
    assert lists.gesture(state, image).is_nothing
    np.testing.assert_array_equal(drawn(ghosts, image)[0], rings)
