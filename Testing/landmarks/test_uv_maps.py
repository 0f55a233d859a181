"""The uv maps a network is taught: exact to the last pixel, whatever the pose of the patient."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt
from scipy.spatial import Delaunay

from DenseLandmarksLib.landmarks.barycentric import interpolate_at
from DenseLandmarksLib.landmarks.mesh_raster import Mesh, interpolate_on_grid
from DenseLandmarksLib.landmarks.polygon import contains, polygon_mask
from DenseLandmarksLib.landmarks.template import Chart, StructureTemplate, Template, build_template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map, draw_uv_maps

SIZE = (128, 160)  # height, width
STRUCTURES = ("right_lung", "left_lung", "heart", "right_clavicle", "left_clavicle")
POSES = {
    "upright": [[0.35, 0.0], [0.0, 0.35]],
    "turned": [[0.30, -0.12], [0.12, 0.30]],
    "sheared and squashed": [[0.25, 0.10], [0.02, 0.40]],
    "mirrored": [[-0.35, 0.0], [0.05, 0.3]],
}


def posed(points: NDArray[np.float64], pose: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (N, 2) under an affine pose in the middle of the image, and the pose as ``[x, y, 1] @ map``, (3, 2)."""
    matrix = np.array(POSES[pose]).T
    shift = (np.array(SIZE[::-1]) - 1) / 2 - points.mean(axis=0) @ matrix
    return points @ matrix + shift, np.vstack([matrix, shift])


def bent(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions under a smooth map that no affine one is close to, inside the image."""
    x, y = (points / 358.4).T
    return np.stack([20 + 118 * x + 6 * np.sin(5 * y), 8 + 105 * y + 5 * np.sin(6 * x + 1)], axis=1)


def pixel_centres() -> NDArray[np.float64]:
    """Positions x, y of all pixels, (H * W, 2), row after row."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def in_chart(template: Template, structure: str, chart: Chart) -> StructureTemplate:
    """A structure of the template in another chart."""
    old = template.structure(structure)
    built = build_template({structure: old.points_mm[None]}, {structure: old.landmark_names}, (358.4, 358.4), chart)
    return built.structures[0]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("pose", POSES)
def test_the_map_of_an_affine_pose_is_the_affine_map(chest_template: Template, structure: str, pose: str) -> None:
    template = chest_template.structure(structure)
    contour, affine = posed(template.points_mm, pose)
    uv = draw_uv_map(template, contour, SIZE)
    back = (pixel_centres() - affine[2]) @ np.linalg.inv(affine[:2])
    low, high = template.points_mm.min(axis=0), template.points_mm.max(axis=0)
    expected = 2 * (back - low) / (high - low) - 1
    # Also where the triangulation does not reach: what is continued is affine too.
    np.testing.assert_allclose(uv.reshape(2, -1).T, expected, atol=2e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_neither_axis_of_the_box_is_compressed(chest_template: Template, structure: str) -> None:
    """The released code loses the box's aspect ratio on the shorter axis: slope 0.46 on the lung."""
    template = chest_template.structure(structure)
    contour = template.points_mm / 2.8
    mask = polygon_mask(contour, SIZE)
    uv = draw_uv_map(template, contour, SIZE)
    rows, columns = np.nonzero(mask)
    low, high = contour.min(axis=0), contour.max(axis=0)
    for axis, position in enumerate((columns, rows)):
        identity = 2 * (position - low[axis]) / (high[axis] - low[axis]) - 1
        slope, offset = np.polyfit(identity, uv[axis][mask], 1)
        assert slope == pytest.approx(1, abs=1e-4)
        assert offset == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_papers_triangulation_per_image_is_the_linear_interpolation_of_that_image(
    chest_template: Template, structure: str
) -> None:
    template = chest_template.structure(structure)
    contour = bent(template.points_mm)
    expected = LinearNDInterpolator(Delaunay(contour), template.uv)(pixel_centres()).T.reshape(2, *SIZE)
    inside = np.isfinite(expected[0]) & polygon_mask(contour, SIZE)
    uv = draw_uv_map(template, contour, SIZE, per_image_triangulation=True)
    assert inside.sum() > 100
    np.testing.assert_allclose(uv[:, inside], expected[:, inside], atol=1e-5)


def test_the_templates_triangles_keep_interior_points_where_the_papers_drift(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    matrix = np.array([[1.0, 0.6], [-0.4, 0.5]])  # squashes the heart enough to change its Delaunay triangles
    contour = (heart.points_mm - heart.points_mm.mean(axis=0)) @ matrix.T * 0.4 + [80, 64]
    contour += 2 * np.sin(np.arange(len(contour)) * 1.7)[:, None]
    drift = draw_uv_map(heart, contour, SIZE, per_image_triangulation=True) - draw_uv_map(heart, contour, SIZE)
    mask = polygon_mask(contour, SIZE)
    assert np.abs(drift[:, mask]).max() > 0.05
    # The fixed map sends every triangle of the template to the same triangle of the image.
    centres = np.clip(contour[heart.triangles].mean(axis=1), 0, None)
    np.testing.assert_allclose(heart.uv_at(contour, centres), heart.uv[heart.triangles].mean(axis=1), atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("per_image", [False, True])
def test_every_pixel_of_the_mask_has_a_coordinate(chest_template: Template, structure: str, per_image: bool) -> None:
    """A hole at a concave border would leave landmarks there without supervision."""
    template = chest_template.structure(structure)
    contour = bent(template.points_mm)
    mask = polygon_mask(contour, SIZE)
    uv = draw_uv_map(template, contour, SIZE, per_image_triangulation=per_image)
    assert np.isfinite(uv).all()
    assert np.abs(uv[:, mask]).max() < 1.2


def test_the_margin_says_how_far_the_map_is_continued(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    contour = bent(heart.points_mm)
    covered = np.isfinite(draw_uv_map(heart, contour, SIZE, margin=0)[0])
    distance = distance_transform_edt(~covered)
    assert covered.sum() == pytest.approx(polygon_mask(contour, SIZE).sum(), rel=0.05)
    for margin in (3.0, 7.5):
        reached = np.isfinite(draw_uv_map(heart, contour, SIZE, margin)).all(axis=0)
        np.testing.assert_array_equal(reached, distance <= margin)


def test_the_continued_map_joins_the_exact_one_without_a_step(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    contour = bent(heart.points_mm)
    uv = draw_uv_map(heart, contour, SIZE, margin=3)
    steps = np.concatenate([np.abs(np.diff(uv, axis=1)).ravel(), np.abs(np.diff(uv, axis=2)).ravel()])
    per_pixel = 2 / np.ptp(contour, axis=0).min()
    assert np.nanmax(steps) < 3 * per_pixel


def test_the_polar_chart_has_its_contour_on_the_unit_square_and_its_centre_at_zero(chest_template: Template) -> None:
    heart = in_chart(chest_template, "heart", "polar")
    np.testing.assert_allclose(np.abs(heart.uv).max(axis=1), 1, atol=1e-12)
    contour = bent(heart.points_mm)
    centre = contour.mean(axis=0)
    np.testing.assert_allclose(heart.uv_at(contour, centre), [[0, 0]], atol=1e-12)
    # From the centre to each contour point the coordinate grows evenly.
    for share in (0.25, 0.6, 1.0):
        np.testing.assert_allclose(
            heart.uv_at(contour, centre + share * (contour - centre)), share * heart.uv, atol=1e-9
        )
    uv = draw_uv_map(heart, contour, SIZE)
    assert np.abs(uv[:, polygon_mask(contour, SIZE)]).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("structure", "chart"),
    # The polar chart is for star-shaped structures, which a bent clavicle is not.
    [*((name, "cartesian") for name in STRUCTURES), *((name, "polar") for name in STRUCTURES[:3])],
)
def test_a_point_taken_to_the_template_comes_back(chest_template: Template, structure: str, chart: Chart) -> None:
    template = in_chart(chest_template, structure, chart)
    for contour in (template.points_mm, bent(template.points_mm)):
        corners = template.with_centre(contour)[template.triangles]
        inside = np.concatenate([np.einsum("tcd,c->td", corners, w) for w in ([0.2, 0.3, 0.5], [0.7, 0.2, 0.1])])
        uv = template.uv_at(contour, inside)
        back = interpolate_at(template.vertex_uv, template.triangles, template.with_centre(contour), uv)
        np.testing.assert_allclose(back, inside, atol=1e-7)
    middle = template.with_centre(template.points_mm)[template.triangles].mean(axis=1)
    np.testing.assert_allclose(template.position_at(template.uv_at(template.points_mm, middle)), middle, atol=1e-7)


def test_a_landmark_held_out_of_the_map_is_found_in_another_pose(chest_template: Template) -> None:
    lung = chest_template.structure("left_lung")
    held = np.arange(len(lung.points_mm)) % 4 == 3
    kept_names = [name for name, out in zip(lung.landmark_names, held, strict=True) if not out]
    reduced = build_template({"lung": lung.points_mm[None, ~held]}, {"lung": kept_names}, (358.4, 358.4)).structures[0]
    one, _ = posed(lung.points_mm, "turned")
    other, affine = posed(lung.points_mm, "sheared and squashed")
    uv = reduced.uv_at(one[~held], one[held])
    # The same anatomical position in the template, so the same in every image, though it is no vertex of any map.
    found = np.column_stack([reduced.position_at(uv), np.ones(held.sum())]) @ affine
    np.testing.assert_allclose(found, other[held], atol=1e-7)
    assert not set(reduced.landmark_names) & {n for n, out in zip(lung.landmark_names, held, strict=True) if out}


FOLDS = {
    "a figure of eight": lambda contour: (
        contour * np.where(np.arange(len(contour)) < len(contour) // 2, 1, -1)[:, None]
    ),
    "turned over": lambda contour: contour[::-1],
    "every second point moved across": lambda contour: (
        contour * np.where(np.arange(len(contour)) % 2, 1, -0.5)[:, None]
    ),
    "squashed to a line": lambda contour: contour * [1, 0],
    "squashed to a point": lambda contour: contour * 0,
}


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("chart", ["cartesian", "polar"])
def test_a_folded_contour_never_stops_training(chest_template: Template, fold: str, chart: Chart) -> None:
    heart = in_chart(chest_template, "heart", chart)
    centred = heart.points_mm - heart.points_mm.mean(axis=0)
    contour = FOLDS[fold](0.4 * centred) + np.array([80.25, 64.25])
    mask = polygon_mask(contour, SIZE)
    uv = draw_uv_map(heart, contour, SIZE)
    assert uv.shape == (2, *SIZE)
    assert np.isfinite(uv[:, mask]).all()


def test_where_triangles_overlap_those_not_turned_over_count() -> None:
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    names = {"square": [str(i) for i in range(4)]}
    template = build_template({"square": square[None]}, names, (20.0, 20.0)).structures[0]
    folded = square.copy()
    corner = next(i for i in range(4) if (template.triangles == i).any(axis=1).sum() == 1)
    opposite = (corner + 2) % 4
    folded[corner] = square[opposite] + 0.1 * (square[corner] - square[opposite])
    large = template.triangles[(template.triangles != corner).all(axis=1)][0]
    uv = draw_uv_map(template, folded, (16, 16), margin=0)
    # Middle of the triangle that was not folded: its own affine map is the square's.
    x, y = np.round(folded[large].mean(axis=0)).astype(int)
    np.testing.assert_allclose(uv[:, y, x], np.array([x, y]) / 5 - 1, atol=1e-5)


def test_all_structures_at_once_are_the_maps_of_each(chest_template: Template) -> None:
    contours = {structure.name: bent(structure.points_mm) for structure in chest_template.structures}
    for margin in (0.0, 4.0, np.inf):
        together = draw_uv_maps(chest_template, contours, SIZE, margin)
        one_by_one = [draw_uv_map(s, contours[s.name], SIZE, margin) for s in chest_template.structures]
        np.testing.assert_array_equal(together, one_by_one)
    heartless = draw_uv_maps(chest_template, {name: c for name, c in contours.items() if name != "heart"}, SIZE)
    missing = np.isnan(heartless).all(axis=(1, 2, 3))
    assert [name for name, gone in zip(chest_template.structure_names, missing, strict=True) if gone] == ["heart"]
    assert np.isnan(draw_uv_maps(chest_template, {}, SIZE)).all()


def test_a_bow_tie_whose_areas_cancel_is_drawn_on_both_sides() -> None:
    points = np.array([[0.0, 0.0], [0.0, 8.0], [4.0, 4.0], [8.0, 0.0], [8.0, 8.0]])
    found = interpolate_on_grid([Mesh(points, np.array([[0, 1, 2], [3, 4, 2]]), points)], (9, 9), margin=0)[0]
    np.testing.assert_allclose(found[:, 4, [1, 4, 7]], [[1, 4, 7], [4, 4, 4]], atol=1e-6)
    assert np.isnan(found[:, 1, 4]).all()


@pytest.mark.parametrize("off_the_pixels", [0.0, 1e-10, -1e-10, 0.3])
def test_no_pixel_is_lost_where_triangles_meet(off_the_pixels: float) -> None:
    """Corners and sides that run exactly through pixel centres, and slivers a billionth of a pixel thick."""
    rng = np.random.default_rng(3)
    for flatten in ([1.0, 1.0], [1.0, 0.05], [0.05, 1.0]):
        points = np.unique(np.round(rng.uniform(-5, 40, (30, 2)) * flatten) + 2, axis=0)
        points = np.vstack([points, [[0, 0], [30, 0], [0, 30], [30, 30]]])
        points += off_the_pixels * rng.choice([0.0, 1.0], points.shape)
        triangulation = Delaunay(points)
        centres = np.stack(np.meshgrid(np.arange(36), np.arange(34)), axis=-1).astype(np.float64)
        covered = triangulation.find_simplex(centres, tol=1e-12) >= 0
        mesh = Mesh(points, triangulation.simplices.astype(np.intp), points / 30)
        found = interpolate_on_grid([mesh], (34, 36), margin=0)[0]
        np.testing.assert_allclose(found[:, covered].T, centres[covered] / 30, atol=1e-6)


def test_a_contour_beside_the_image_leaves_the_map_empty(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    uv = draw_uv_map(heart, heart.points_mm + 1000, SIZE)
    assert np.isnan(uv).all()


def test_a_contour_across_the_border_is_exact_where_it_is_seen(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    whole = draw_uv_map(heart, bent(heart.points_mm), SIZE)
    cut = draw_uv_map(heart, bent(heart.points_mm) - [60, 0], SIZE)
    seen = contains(bent(heart.points_mm), pixel_centres()).reshape(SIZE)[:, 60:]
    np.testing.assert_allclose(cut[:, :, :-60][:, seen], whole[:, :, 60:][:, seen], atol=1e-5)
