"""A person sees over the image what spoke for a landmark: where it is high and nowhere else, and nothing of it stays behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, View
from DenseLandmarksLib.models.evidence import EvidenceMap, grid_to_index
from DenseLandmarksLib.scene.evidence_overlay import EvidenceOverlay, ramp_colours
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.saved_scene import files_in, read_scene, save_scene
from Testing.scene.test_ellipses import DIRECTION, node_ids, put_under_transform

SIZE = 1024
SPACING_MM, ORIGIN_MM = (0.5, 0.8, 3.0), (-20.0, 35.0, 4.0)
POINT = np.array([61.3, 88.7, 0.0])
OBLIQUE = Rotation.from_euler("xyz", [15, -20, 35], degrees=True).as_matrix()
VOXEL = np.array([90.4, 60.8, 9.2])


def grey(slices: int = 1, direction: NDArray[np.float64] = DIRECTION) -> MedicalImage:
    """The same grey everywhere but in two corners, so that a difference is the overlay's alone."""
    voxels = np.full((slices, 150, 200), 500, np.int16)
    voxels[:, 0, 0], voxels[:, -1, -1] = 0, 1000
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing(SPACING_MM)
    volume.SetOrigin(ORIGIN_MM)
    volume.SetDirection(direction.ravel().tolist())
    return MedicalImage(volume, SpacingSource.DETECTOR, "film")


def spot_on(film: MedicalImage, view: View = AS_STORED) -> EvidenceMap:
    """A spot of 3 grid pixels about ``POINT``, as a model sees it through a view; cut off where it is hardly there."""
    grid = fit_grid(film, (64, 64), view)
    centre = grid.from_pixels(POINT[None, :2])[0]
    y, x = np.indices(grid.size)
    values = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 3.0**2))
    values[values < 1e-3] = 0
    return EvidenceMap("Heatmap", "A spot.", values[None].astype(np.float32), grid_to_index(grid))


def spot_in(scan: MedicalImage, at_ijk: NDArray[np.float64] = VOXEL) -> EvidenceMap:
    """A spot of 6 mm about a voxel, in a crop that lies askew to the scan, its middle beside the spot."""
    axes = Rotation.from_euler("xyz", [-30, 10, 50], degrees=True).as_matrix() * 2.0
    to_lps_mm = np.eye(4)
    centre = lps_mm_from_index(scan.geometry, at_ijk[None])[0]
    to_lps_mm[:3, :3], to_lps_mm[:3, 3] = axes, centre + [3.0, -2.0, 4.0] - axes @ np.full(3, 11.5)
    kji = np.indices((24, 24, 24)).reshape(3, -1)
    points = (to_lps_mm[:3, :3] @ kji[::-1]).T + to_lps_mm[:3, 3]
    values = np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * 6.0**2)).reshape(24, 24, 24)
    to_voxel = np.eye(4)
    to_voxel[:3, :3] = np.linalg.inv(scan.geometry.index_to_lps_mm)
    to_voxel[:3, 3] = index_from_lps_mm(scan.geometry, [[0.0, 0, 0]])[0]
    values[values < 1e-3] = 0
    return EvidenceMap("Fine heatmap", "A spot.", values.astype(np.float32), to_voxel @ to_lps_mm)


class Shown:
    """An image in a view, without the overlay at first."""

    def __init__(self, screen: OffscreenSlice, film: MedicalImage, orientation: str = "Axial") -> None:
        self.screen, self.film = screen, film
        self.image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
        self.overlay = EvidenceOverlay(screen.scene)
        self.orientation = orientation

    def look(self) -> NDArray[np.float64]:
        return self.screen.pixels().astype(float)

    def change(self, one: EvidenceMap, strength: float = 1.0) -> NDArray[np.float64]:
        """How much each pixel of the picture (1024, 1024), the first row on top, is changed by the overlay."""
        self.overlay.remove()
        before = self.look()
        self.overlay.put(one, strength, self.image)
        return np.asarray(np.abs(self.look() - before).sum(axis=2))

    def pixel_of(self, index_ijk: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = self.screen.display_xy(self.image.world_ras_mm(index_ijk[None])[0].tolist())
        return np.array([x, SIZE - 1 - y])


@pytest.fixture
def shown(screen: OffscreenSlice) -> Shown:
    shown = Shown(screen, grey())
    screen.look_at(shown.image.volume, "Coronal")
    return shown


def middle_of(change: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = np.indices(change.shape)
    weight = change**2
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("view", [AS_STORED, View(0, True), View(90), View(180, True), View(270)], ids=str)
@pytest.mark.parametrize("how", ["as read", "calibrated", "under a transform", "hardened"])
def test_it_lies_on_the_landmark_of_a_radiograph_to_within_a_pixel(shown: Shown, view: View, how: str) -> None:
    one = spot_on(shown.film, view)
    if how == "calibrated":
        shown.image.show(shown.film.geometry.with_spacing((0.9, 0.7, 3.0), SpacingSource.GIVEN))
    elif how != "as read":
        put_under_transform(shown.image, harden=how == "hardened")
    shown.screen.look_at(shown.image.volume, "Coronal")
    change = shown.change(one)
    # Screen pixels per pixel of the image, along its shorter side.
    per_pixel = np.linalg.norm(shown.pixel_of(POINT + [1000, 0, 0]) - shown.pixel_of(POINT)) / 1000
    other = np.linalg.norm(shown.pixel_of(POINT + [0, 1000, 0]) - shown.pixel_of(POINT)) / 1000
    assert np.linalg.norm(middle_of(change) - shown.pixel_of(POINT)) < min(per_pixel, other)
    # Seen where it is high, and not at all where it is nothing.
    x, y = shown.pixel_of(POINT).astype(int)
    assert change[y, x] > 150
    to_map = np.linalg.inv(one.to_index)
    for far in ([20.0, 20.0, 0], [180.0, 130.0, 0]):
        x, y = shown.pixel_of(np.array(far)).astype(int)
        i, j = np.rint(to_map @ [*far, 1])[:2].astype(int)
        assert one.values[0, j, i] == 0
        assert change[y, x] == 0


@pytest.mark.parametrize("orientation", ["Axial", "Sagittal", "Coronal"])
def test_it_lies_on_the_landmark_of_an_oblique_volume_to_within_a_voxel(
    screen: OffscreenSlice, orientation: str
) -> None:
    shown = Shown(screen, grey(20, OBLIQUE))
    screen.look_at(shown.image.volume, orientation)
    centre = shown.image.world_ras_mm(VOXEL[None])[0]
    screen.view._view_node.JumpSlice(*centre)
    change = shown.change(spot_in(shown.film))
    mm_per_pixel = screen.view._view_node.GetFieldOfView()[0] / SIZE
    off_mm = (middle_of(change) - shown.pixel_of(VOXEL)) * mm_per_pixel
    assert np.linalg.norm(off_mm) < min(SPACING_MM)
    # 20 mm further along the view there is nothing of it.
    normal = np.array([screen.view._view_node.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
    screen.view._view_node.JumpSlice(*(centre + 40 * normal))
    assert shown.change(spot_in(shown.film)).max() == 0


def test_a_higher_value_is_brighter_and_hides_more_and_opacity_is_the_persons(shown: Shown) -> None:
    one = spot_on(shown.film)
    full = shown.change(one)
    half = shown.change(one, 0.5)
    seen = full > 100
    assert half[seen].mean() == pytest.approx(0.5 * full[seen].mean(), rel=0.1)
    to_map = np.linalg.inv(one.to_index)
    grey_before = shown_without(shown)
    for index_ijk in (POINT, POINT + [8.0, 0, 0]):
        x, y = shown.pixel_of(index_ijk).astype(int)
        value = float(map_coordinates(one.values[0], (to_map @ [*index_ijk, 1])[[1, 0]][:, None], order=1)[0])
        for strength in (0.5, 1.0):
            shown.overlay.put(one, strength, shown.image)
            opacity = strength * np.sqrt(value)
            expected = opacity * 255 * ramp_colours(np.array([value]))[0] + (1 - opacity) * grey_before[y, x]
            np.testing.assert_allclose(shown.look()[y, x], expected, atol=8)


def shown_without(shown: Shown) -> NDArray[np.float64]:
    shown.overlay.remove()
    return shown.look()


def test_another_map_takes_the_place_of_the_first(shown: Shown) -> None:
    one = spot_on(shown.film)
    first = shown.change(one)
    mirrored = EvidenceMap("Other", "", one.values[:, ::-1].copy(), one.to_index)
    shown.overlay.put(mirrored, 1.0, shown.image)
    both = node_ids(shown.screen.scene)
    shown.overlay.put(one, 1.0, shown.image)
    assert node_ids(shown.screen.scene) == both
    np.testing.assert_array_equal(shown.change(one), first)


def test_what_a_person_has_as_foreground_and_labels_stays(shown: Shown) -> None:
    scene, view = shown.screen.scene, shown.screen.view._logic.GetSliceCompositeNode()
    mine = add_volume_node(scene, grey())
    view.SetForegroundVolumeID(mine.GetID())
    view.SetForegroundOpacity(0.3)
    view.SetNthLayerVolumeID(view.Layer_Last, mine.GetID())  # of another extension
    before, seen = node_ids(scene), shown.look()

    def layers() -> list[Any]:
        return [view.GetNthLayerVolumeID(n) for n in range(view.Layer_Last + 1)] + [view.GetForegroundOpacity()]

    theirs = layers()
    assert shown.change(spot_on(shown.film)).max() > 100
    assert layers() == theirs
    shown.overlay.remove()
    assert layers() == theirs
    assert view.GetNumberOfAdditionalLayers() == 1
    assert node_ids(scene) == before
    np.testing.assert_array_equal(shown.look(), seen)


def test_it_is_in_all_views_of_the_image_also_new_ones_and_in_no_others(shown: Shown) -> None:
    shown.overlay.put(spot_on(shown.film), 1.0, shown.image)
    yellow = OffscreenSlice((200, 200), "Yellow", shown.screen)
    try:
        yellow.look_at(shown.image.volume, "Coronal")
        without = yellow.pixels()
        shown.overlay.keep_in_views(shown.image)
        assert (yellow.pixels() != without).any()
        other = add_volume_node(shown.screen.scene, grey())
        yellow.view.set_background_volume_id(other.GetID())
        shown.overlay.keep_in_views(shown.image)
        np.testing.assert_array_equal(yellow.pixels(), without)
    finally:
        yellow.close()


def test_what_somebody_takes_out_of_the_scene_is_made_anew(shown: Shown) -> None:
    before, one = node_ids(shown.screen.scene), spot_on(shown.film)
    shown.overlay.put(one, 1.0, shown.image)
    there = len(node_ids(shown.screen.scene))
    seen = shown.look()
    shown.screen.scene.RemoveNode(shown.overlay.node)
    shown.overlay.put(one, 1.0, shown.image)
    np.testing.assert_array_equal(shown.look(), seen)
    assert len(node_ids(shown.screen.scene)) <= there + 1  # a display node that was left alone
    shown.screen.scene.RemoveNode(shown.overlay.node)
    shown.overlay.remove()
    assert len(node_ids(shown.screen.scene) - before) <= 2


def test_a_saved_scene_has_nothing_of_it_and_nothing_comes_up_in_its_place(shown: Shown, tmp_path: Path) -> None:
    scene = shown.screen.scene
    before = node_ids(scene)
    shown.overlay.put(spot_on(shown.film), 1.0, shown.image)
    ours = node_ids(scene) - before
    assert len(ours) == 2
    assert all(scene.GetNodeByID(node).GetHideFromEditors() for node in ours)
    saved = save_scene(scene, tmp_path / "scene.mrb")
    files = files_in(saved)
    (text,) = (content.decode() for name, content in files.items() if name.endswith(".mrml"))
    # Views mention their layer, by an identity that is no other node's.
    assert shown.overlay.node is not None
    for node in ours - {shown.overlay.node.GetID()}:
        assert not re.search(rf"{node}\b", text), node
    assert len([name for name in files if "/Data/" in name]) == 1
    shown.overlay.remove()
    assert {node for node in node_ids(scene) - before if "Storage" not in node} == set()
    scene.Clear(False)
    read_scene(saved, scene)
    assert scene.GetNodesByClass("vtkMRMLVolumeNode").GetNumberOfItems() == 1
    without = shown.look()
    for _ in range(4):  # whatever comes into that scene is not taken for it
        add_volume_node(scene, grey())
        scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    view = shown.screen.view._logic.GetSliceCompositeNode()
    assert scene.GetNodeByID(view.GetBackgroundVolumeID()) is not None
    assert view.GetNthLayerVolume(view.Layer_Last) is None
    np.testing.assert_array_equal(shown.look(), without)
