"""A new landmark is one click in one image, and from then on it is found in all of them, corrected or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import KDTree

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels, pixels_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.plane import lps_mm_from_plane_mm, plane_mm_from_grid, plane_mm_from_lps_mm
from DenseLandmarksLib.geometry.view import VIEWS, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import locate_landmarks
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.polygon import contains
from DenseLandmarksLib.landmarks.propagation import landmark_propagation, propagate
from DenseLandmarksLib.landmarks.structure_warp import structure_warp
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.warp_mask import warp_mask
from DenseLandmarksLib.models.look_up import Definition, Method, define, find, with_landmarks
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from Testing.models.perfect_prediction import GRID, Patient, corrected, patient, perfect_prediction, radiograph

FloatArray = NDArray[np.float64]
GEOMETRY: ImageGeometry = radiograph().geometry
PIXEL_MM = 360 / 256  # of the grid


def lps(move: Patient, points_mm: FloatArray) -> FloatArray:
    """Where a patient has points (N, 2) of the template."""
    return lps_mm_from_pixels(GEOMETRY, move(points_mm))


def inside(template: Template, structure: str, count: int = 30) -> FloatArray:
    """Points of the template, in mm, inside a structure and off its border."""
    contour = template.structure(structure).points_mm
    contour = contour.mean(axis=0) + 0.85 * (contour - contour.mean(axis=0))
    points = np.random.default_rng(5).uniform(contour.min(axis=0), contour.max(axis=0), (60 * count, 2))
    return points[contains(contour, points)][:count]


def new_of(definitions: Sequence[Definition]) -> list[NewLandmark]:
    return [NewLandmark(f"new {i}", d.structure, d.uv) for i, d in enumerate(definitions)]


def distances(points_lps_mm: FloatArray, others_lps_mm: FloatArray) -> FloatArray:
    return np.linalg.norm(points_lps_mm - others_lps_mm, axis=1)


# ---- one click, every image ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["right_lung", "heart", "left_clavicle"])
@pytest.mark.parametrize("stride", [1, 2])
def test_what_was_clicked_in_one_patient_is_found_in_another(
    chest_template: Template, structure: str, stride: int
) -> None:
    here, there = patient(1), patient(2)
    points_mm = inside(chest_template, structure)
    first = perfect_prediction(chest_template, here, stride=stride)
    definitions = [define(first, GEOMETRY, chest_template, click, structure) for click in lps(here, points_mm)]
    assert {d.structure for d in definitions} == {structure}
    assert {d.method for d in definitions} == {Method.UV_MAP}
    assert {d.outside_mm for d in definitions} == {0}
    second = perfect_prediction(chest_template, there, stride=stride)
    found = find(second, GEOMETRY, chest_template, new_of(definitions))
    assert found.found.all()
    assert set(found.method) == {Method.UV_MAP}
    error = distances(found.points_lps_mm, lps(there, points_mm))
    # The patients bend inside of the contour, which the template's triangles follow only so far.
    moved = distances(lps(here, points_mm), lps(there, points_mm))
    assert error.mean() < 1.5
    assert error.mean() < 0.3 * moved.mean()


def test_the_clicked_image_has_it_where_it_was_clicked(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    clicks = lps(here, inside(chest_template, "heart"))
    definitions = [define(prediction, GEOMETRY, chest_template, click) for click in clicks]
    found = find(prediction, GEOMETRY, chest_template, new_of(definitions))
    assert distances(found.points_lps_mm, clicks).max() < 0.1 * PIXEL_MM


def test_inside_the_uv_map_counts_also_when_it_is_noisy(chest_template: Template) -> None:
    """It knows the inside of this image; the bent template, which finds every click again exactly, only the outline."""
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    field = prediction.uv_field
    assert field is not None
    noise = np.random.default_rng(0).normal(0, 0.01, field.uv.shape).astype(np.float32)
    noisy = replace(prediction, uv_field=UvField(field.structures, field.uv + noise, None, field.masks, 1))
    clicks = lps(here, inside(chest_template, "heart"))
    definitions = [define(noisy, GEOMETRY, chest_template, click) for click in clicks]
    found = find(noisy, GEOMETRY, chest_template, new_of(definitions))
    assert {d.method for d in definitions} == set(found.method) == {Method.UV_MAP}
    assert np.median(distances(found.points_lps_mm, clicks)) < 0.1 * PIXEL_MM


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_a_turned_or_mirrored_film_is_as_good(chest_template: Template, view: View) -> None:
    here = patient(1)
    clicks = lps(here, inside(chest_template, "right_lung", 10))
    prediction = perfect_prediction(chest_template, here, view=view)
    upright = perfect_prediction(chest_template, here)
    for click in clicks:
        definition = define(prediction, GEOMETRY, chest_template, click)
        assert definition.structure == "right_lung"
        expected = define(upright, GEOMETRY, chest_template, click)
        np.testing.assert_allclose(definition.uv, expected.uv, atol=0.01)
        (point,) = find(prediction, GEOMETRY, chest_template, new_of([expected])).points_lps_mm
        assert np.linalg.norm(point - click) < 0.5


# ---- on which structure ----------------------------------------------------------------------------------------------


def test_a_click_belongs_to_the_structure_in_which_it_lies_deepest(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    lung, heart = (prediction.masks[chest_template.structure_names.index(name)] for name in ("left_lung", "heart"))
    y, x = np.nonzero(lung & heart)
    assert len(x) > 200  # they overlap
    on_grid = np.column_stack([x, y]).astype(float)
    chosen = []
    for click in lps_mm_from_plane_mm(GEOMETRY, plane_mm_from_grid(GEOMETRY, prediction.grid, on_grid[::20])):
        chosen.append(define(prediction, GEOMETRY, chest_template, click).structure)
        for name in ("left_lung", "heart"):
            assert define(prediction, GEOMETRY, chest_template, click, name).structure == name
    depth = np.column_stack([KDTree(np.argwhere(~mask)[:, ::-1]).query(on_grid[::20])[0] for mask in (lung, heart)])
    clear = np.abs(depth[:, 0] - depth[:, 1]) > 1
    assert clear.sum() > 5
    expected = np.where(depth[:, 0] > depth[:, 1], "left_lung", "heart")
    np.testing.assert_array_equal(np.array(chosen)[clear], expected[clear])
    assert len(set(expected[clear])) == 2


@pytest.mark.parametrize(("away_mm", "refused"), [(3.0, False), (8.0, False), (12.5, True), (60.0, True)])
def test_beside_all_structures_the_nearest_counts_up_to_ten_millimetres(
    chest_template: Template, away_mm: float, refused: bool
) -> None:
    here = patient(1, bend_mm=0)
    prediction = perfect_prediction(chest_template, here)
    lowest = lps(here, chest_template.structure("right_lung").points_mm)
    plane = plane_mm_from_lps_mm(GEOMETRY, lowest)
    click = lps_mm_from_plane_mm(GEOMETRY, plane[[plane[:, 1].argmax()]] + np.array([0, away_mm]))[0]
    for structure in (None, "right_lung"):
        if refused:
            with pytest.raises(InputError) as error:
                define(prediction, GEOMETRY, chest_template, click, structure)
            assert "expected a point on right_lung or at most 10 mm outside, got one" in str(error.value)
            assert "\n" not in str(error.value)
        else:
            definition = define(prediction, GEOMETRY, chest_template, click, structure)
            assert definition.structure == "right_lung"
            assert definition.outside_mm == pytest.approx(away_mm, abs=1.5)
            found = find(prediction, GEOMETRY, chest_template, new_of([definition]))
            assert np.linalg.norm(found.points_lps_mm[0] - click) < 0.5


def test_how_far_outside_is_measured_from_the_border_not_from_a_pixel(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    contour = plane_mm_from_lps_mm(GEOMETRY, lps(here, chest_template.structure("right_lung").points_mm))
    lateral = contour[contour[:, 0].argsort()[:8]]  # where nothing else is near, and the outline runs straight down
    clicks = lps_mm_from_plane_mm(GEOMETRY, lateral - np.array([6.0, 0.0]))
    outside_mm = [define(prediction, GEOMETRY, chest_template, click, "right_lung").outside_mm for click in clicks]
    distance = np.linalg.norm(lateral - np.array([6.0, 0.0]) - contour[:, None], axis=2).min(axis=0)
    np.testing.assert_allclose(outside_mm, distance, atol=1.0)
    assert np.mean(outside_mm - distance) == pytest.approx(0, abs=0.35)


@pytest.mark.parametrize(("away_mm", "method"), [(2.0, Method.UV_MAP), (8.0, Method.TEMPLATE_WARP)])
def test_a_click_outside_of_a_bent_structure_is_found_again_where_it_was(
    chest_template: Template, away_mm: float, method: Method
) -> None:
    here = patient(3, bend_mm=10)
    prediction = perfect_prediction(chest_template, here, stride=2)
    heart = plane_mm_from_lps_mm(GEOMETRY, lps(here, chest_template.structure("heart").points_mm))
    away = heart - heart.mean(axis=0)
    clicks = lps_mm_from_plane_mm(GEOMETRY, heart + away_mm * away / np.linalg.norm(away, axis=1, keepdims=True))
    definitions = [define(prediction, GEOMETRY, chest_template, click, "heart") for click in clicks]
    found = find(prediction, GEOMETRY, chest_template, new_of(definitions))
    assert distances(found.points_lps_mm, clicks).max() < 0.1 * PIXEL_MM
    assert {d.method for d in definitions} == set(found.method) == {method}


def test_ten_millimetres_of_an_image_without_spacing_are_those_of_the_template(chest_template: Template) -> None:
    image = radiograph(SpacingSource.UNKNOWN)
    image.volume.SetSpacing((1.0, 1.0, 1.0))
    fov_mm = chest_template.field_of_view_mm[0]

    def here(points_mm: FloatArray) -> FloatArray:
        return 0.7 * points_mm / fov_mm * 400 + 30  # 0.78 pixels per mm of the template

    prediction = perfect_prediction(chest_template, here, image)
    contour = here(chest_template.structure("right_lung").points_mm)
    lowest = contour[contour[:, 1].argmax()]
    for away_px, refused in ((5.0, False), (14.0, True)):  # 4.5 and 12.5 mm on a grid of 400 pixels in 358.4 mm
        click = lps_mm_from_pixels(image.geometry, [lowest + np.array([0, away_px])])[0]
        if refused:
            with pytest.raises(InputError, match="right_lung"):
                define(prediction, image.geometry, chest_template, click)
        else:
            assert define(prediction, image.geometry, chest_template, click).structure == "right_lung"


@pytest.mark.parametrize(
    ("structure", "said"),
    [
        (
            "spine",
            "expected a structure out of right_lung, left_lung, heart, right_clavicle, left_clavicle, got 'spine'",
        ),
        ("heart", "expected heart in this image, got none that was found"),
    ],
)
def test_a_structure_that_is_not_there_is_told_in_one_line(chest_template: Template, structure: str, said: str) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here, lost=("heart",))
    click = lps(here, inside(chest_template, "heart", 1))[0]
    with pytest.raises(InputError) as error:
        define(prediction, GEOMETRY, chest_template, click, structure)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_in_which_nothing_was_found_defines_nothing(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here, lost=chest_template.structure_names)
    with pytest.raises(InputError, match="expected a structure in this image, got none that was found"):
        define(prediction, GEOMETRY, chest_template, lps(here, inside(chest_template, "heart", 1))[0])


# ---- in a corrected case ---------------------------------------------------------------------------------------------


def drag(prediction: Prediction, template: Template, to: dict[str, FloatArray]) -> LandmarkSet:
    """The case after a person dragged some landmarks and the others followed."""
    axes = GEOMETRY.axes_lps[:, :2]
    propagation = landmark_propagation(prediction.landmarks, axes, template)
    return propagate(corrected(prediction.landmarks, to), propagation, axes)


def outward(prediction: Prediction, name: str, by_mm: float) -> dict[str, FloatArray]:
    """A landmark of the heart's contour, pulled away from the heart's centre."""
    landmarks = prediction.landmarks
    heart = landmarks.points_lps_mm[landmarks.of_structure("heart")]
    point = landmarks.points_lps_mm[landmarks.names.index(name)]
    away = point - heart.mean(axis=0)
    return {name: point + by_mm * away / np.linalg.norm(away)}


def test_a_click_beside_a_corrected_landmark_is_read_where_the_model_saw_it(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(1))
    now = drag(prediction, chest_template, outward(prediction, "heart_05", 14))
    row = now.names.index("heart_05")
    click = now.points_lps_mm[row]
    definition = define(prediction, GEOMETRY, chest_template, click, "heart", now)
    off_mm = (np.array(definition.uv) - now.template_uv[row]) * np.ptp(
        chest_template.structure("heart").points_mm, axis=0
    )
    assert np.linalg.norm(off_mm / 2) < 1.0
    before = define(prediction, GEOMETRY, chest_template, prediction.landmarks.points_lps_mm[row], "heart")
    np.testing.assert_allclose(definition.uv, before.uv, atol=0.01)


def test_what_is_found_in_a_corrected_case_goes_along_with_the_correction(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(1))
    now = drag(prediction, chest_template, outward(prediction, "heart_05", 14))
    row = now.names.index("heart_05")
    new = [NewLandmark("at the landmark", "heart", tuple(now.template_uv[row]))]  # type: ignore[arg-type]
    as_seen = find(prediction, GEOMETRY, chest_template, new).points_lps_mm[0]
    in_case = find(prediction, GEOMETRY, chest_template, new, now).points_lps_mm[0]
    assert np.linalg.norm(as_seen - now.predicted_lps_mm[row]) < 1
    assert np.linalg.norm(in_case - now.points_lps_mm[row]) < 1
    assert np.linalg.norm(in_case - as_seen) > 12


def test_define_and_find_undo_each_other_in_a_corrected_case(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    now = drag(prediction, chest_template, outward(prediction, "heart_05", 14) | outward(prediction, "heart_18", -10))
    clicks = lps(here, inside(chest_template, "heart"))
    definitions = [define(prediction, GEOMETRY, chest_template, click, "heart", now) for click in clicks]
    found = find(prediction, GEOMETRY, chest_template, new_of(definitions), now)
    assert distances(found.points_lps_mm, clicks).max() < 0.1 * PIXEL_MM
    uncorrected = find(prediction, GEOMETRY, chest_template, new_of(definitions))
    assert distances(uncorrected.points_lps_mm, clicks).max() > 3


def test_the_structure_of_a_click_is_that_of_the_corrected_mask(chest_template: Template) -> None:
    """The heart was predicted too small: what a person added to it belongs to it."""
    prediction = perfect_prediction(chest_template, patient(1))
    now = drag(prediction, chest_template, outward(prediction, "heart_20", 25))
    heart = chest_template.structure_names.index("heart")
    warp = structure_warp(now, "heart", GEOMETRY)
    added = warp_mask(prediction.masks[heart], warp, GEOMETRY, prediction.grid) & ~prediction.masks.any(axis=0)
    y, x = np.nonzero(added)
    assert len(x) > 20
    middle = np.array([[np.median(x), np.median(y)]])
    click = lps_mm_from_plane_mm(GEOMETRY, plane_mm_from_grid(GEOMETRY, prediction.grid, middle))[0]
    definition = define(prediction, GEOMETRY, chest_template, click, None, now)
    assert (definition.structure, definition.outside_mm) == ("heart", 0)
    assert define(prediction, GEOMETRY, chest_template, click).outside_mm > 0


def test_a_correction_that_enlarges_the_structure_enlarges_the_uncertainty(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(1))
    landmarks = prediction.landmarks
    heart = landmarks.of_structure("heart")
    centre = landmarks.points_lps_mm[heart].mean(axis=0)
    enlarged = {landmarks.names[i]: centre + 1.3 * (landmarks.points_lps_mm[i] - centre) for i in heart}
    new = [NewLandmark("centre", "heart", (0.0, 0.0))]
    before, after = (
        find(prediction, GEOMETRY, chest_template, new, case) for case in (None, corrected(landmarks, enlarged))
    )
    np.testing.assert_allclose(after.covariance_mm2, 1.3**2 * before.covariance_mm2, rtol=0.15, atol=0.02)
    assert after.error_mm[0] == pytest.approx(1.3 * before.error_mm[0], rel=0.07)
    assert after.confidence[0] < before.confidence[0]
    assert np.linalg.norm(after.points_lps_mm[0] - (centre + 1.3 * (before.points_lps_mm[0] - centre))) < 0.5


# ---- as the model itself would say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [(), ("heart",), ("heart", "left_clavicle")], ids=["whole", "no heart", "two lost"])
@pytest.mark.parametrize("stride", [1, 2])
def test_it_is_what_a_template_with_the_landmark_would_have_given(
    chest_template: Template, lost: tuple[str, ...], stride: int
) -> None:
    prediction = perfect_prediction(chest_template, patient(1), lost=lost, stride=stride)
    new = [NewLandmark("apex", "heart", (0.4, 0.3)), NewLandmark("hilum", "left_lung", (-0.5, 0.1))]
    more = chest_template
    for landmark in new:
        more = more.with_landmark(landmark.structure, landmark.name, landmark.uv)
    assert prediction.uv_field is not None
    located = locate_landmarks(prediction.uv_field, more, GRID)
    rows = [more.landmark_names.index(landmark.name) for landmark in new]
    found = find(prediction, GEOMETRY, chest_template, new)
    np.testing.assert_array_equal(found.found, located.found[rows])
    expected_lps_mm = lps_mm_from_pixels(GEOMETRY, prediction.grid.to_pixels(located.points[rows]))
    # A guess is made from the landmarks found, to which the template's own look-up adds the new ones.
    assert distances(found.points_lps_mm, expected_lps_mm)[found.found].max() < 1e-6
    assert distances(found.points_lps_mm, expected_lps_mm).max() < 0.2
    per_pixel = prediction.grid.pixels_per_grid
    covariance = lps_mm2_from_pixel_covariance(GEOMETRY, per_pixel @ located.covariance[rows] @ per_pixel.T)
    np.testing.assert_allclose(found.covariance_mm2, covariance, atol=1e-9)
    expected = np.where(located.found[rows], located.confidence[rows], 0)
    np.testing.assert_allclose(found.confidence, expected, atol=1e-12)
    np.testing.assert_allclose(found.error_mm, np.sqrt(np.trace(covariance, axis1=1, axis2=2)), atol=1e-9)
    assert found.method == tuple(Method.GUESS if n.structure in lost else Method.UV_MAP for n in new)


def test_in_an_implausible_prediction_nothing_is_believed_and_nothing_hidden(chest_template: Template) -> None:
    prediction = replace(
        perfect_prediction(chest_template, patient(1)), plausibility=Plausibility(doubts=("this is a hand",))
    )
    found = find(prediction, GEOMETRY, chest_template, [NewLandmark("apex", "heart", (0.4, 0.3))])
    assert found.found.all()
    assert found.confidence[0] == 0
    assert np.isfinite(found.points_lps_mm).all()
    assert found.error_mm[0] > 0


def test_a_person_who_says_that_the_heart_is_not_there_is_not_contradicted(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(1))
    landmarks = prediction.landmarks
    presence = tuple(
        Presence.ABSENT if structure == "heart" else Presence.PRESENT for structure in landmarks.structures
    )
    now = replace(landmarks, presence=presence)
    new = [NewLandmark("apex", "heart", (0.4, 0.3)), NewLandmark("hilum", "left_lung", (-0.5, 0.1))]
    found = find(prediction, GEOMETRY, chest_template, new, now)
    np.testing.assert_array_equal(found.found, [False, True])
    assert found.method[0] is Method.GUESS
    # The guess is made from what is still there, and so not far off.
    as_seen = find(prediction, GEOMETRY, chest_template, new)
    assert 0.1 < np.linalg.norm(found.points_lps_mm[0] - as_seen.points_lps_mm[0]) < 20
    click = landmarks.points_lps_mm[landmarks.of_structure("heart")].mean(axis=0)
    assert define(prediction, GEOMETRY, chest_template, click).structure == "heart"
    with pytest.raises(InputError, match="expected heart in this image, got none that was found"):
        define(prediction, GEOMETRY, chest_template, click, "heart", now)


# ---- without a uv map ------------------------------------------------------------------------------------------------


def test_a_model_without_uv_maps_bends_the_template_through_its_landmarks(chest_template: Template) -> None:
    here, there = patient(1), patient(2)
    points_mm = inside(chest_template, "left_lung")
    heatmaps = [replace(perfect_prediction(chest_template, move), uv_field=None) for move in (here, there)]
    definitions = [define(heatmaps[0], GEOMETRY, chest_template, click, "left_lung") for click in lps(here, points_mm)]
    assert {d.method for d in definitions} == {Method.TEMPLATE_WARP}
    again = find(heatmaps[0], GEOMETRY, chest_template, new_of(definitions))
    np.testing.assert_allclose(again.points_lps_mm, lps(here, points_mm), atol=1e-5)
    found = find(heatmaps[1], GEOMETRY, chest_template, new_of(definitions))
    assert found.found.all()
    assert set(found.method) == {Method.TEMPLATE_WARP}
    error = distances(found.points_lps_mm, lps(there, points_mm))
    assert error.mean() < 0.3 * distances(lps(here, points_mm), lps(there, points_mm)).mean()
    assert 0.02 < found.error_mm[0] < 5
    np.testing.assert_allclose(np.sqrt(np.trace(found.covariance_mm2, axis1=1, axis2=2)), found.error_mm)
    assert (found.confidence > 0.5).all()


def test_a_model_with_landmarks_only_knows_on_which_structure_a_click_lies(chest_template: Template) -> None:
    here = patient(1)
    whole = perfect_prediction(chest_template, here)
    prediction = replace(whole, uv_field=None, structures=(), masks=np.zeros((0, *GRID), bool))
    click = lps(here, inside(chest_template, "right_lung", 1))[0]
    definition = define(prediction, GEOMETRY, chest_template, click)
    assert (definition.structure, definition.outside_mm) == ("right_lung", 0)


def test_a_structure_that_only_a_person_found_can_be_looked_up_in(chest_template: Template) -> None:
    here = patient(1)
    truth = perfect_prediction(chest_template, here).landmarks
    prediction = perfect_prediction(chest_template, here, lost=("heart",))
    placed = {truth.names[i]: truth.points_lps_mm[i] for i in truth.of_structure("heart")}
    now = corrected(prediction.landmarks, placed)
    presence = tuple(Presence.PRESENT for _ in now.names)
    now = replace(now, presence=presence)
    points_mm = inside(chest_template, "heart", 5)
    for click in lps(here, points_mm):
        definition = define(prediction, GEOMETRY, chest_template, click, "heart", now)
        assert definition.method is Method.TEMPLATE_WARP
        found = find(prediction, GEOMETRY, chest_template, new_of([definition]), now)
        assert found.found.all()
        assert np.linalg.norm(found.points_lps_mm[0] - click) < 1e-5


def test_what_lies_beyond_the_uv_map_is_not_put_on_its_edge(chest_template: Template) -> None:
    """The map's nearest pixel would be the answer otherwise, 12 mm off."""
    here = patient(1, bend_mm=0)
    prediction = perfect_prediction(chest_template, here)
    heart = chest_template.structure("heart")
    far_mm = heart.points_mm[[0]] + 12 * (heart.points_mm[[0]] - heart.points_mm.mean(axis=0)) / 68
    uv = heart.uv_at(heart.points_mm, far_mm)[0]
    found = find(prediction, GEOMETRY, chest_template, [NewLandmark("beyond", "heart", (uv[0], uv[1]))])
    assert found.method == (Method.TEMPLATE_WARP,)
    assert distances(found.points_lps_mm, lps(here, far_mm))[0] < 1.5


def test_a_model_without_a_template_still_reads_its_uv_map(chest_template: Template) -> None:
    here = patient(1)
    prediction = perfect_prediction(chest_template, here)
    click = lps(here, inside(chest_template, "heart", 1))[0]
    definition = define(prediction, GEOMETRY, None, click)
    found = find(prediction, GEOMETRY, None, new_of([definition]))
    assert distances(found.points_lps_mm, click[None])[0] < 0.1
    assert 0 < found.confidence[0] <= 1
    lost = perfect_prediction(chest_template, here, lost=("heart",))
    with pytest.raises(InputError, match="expected heart in the image, or a model with a template"):
        find(lost, GEOMETRY, None, new_of([definition]))


# ---- appended to a prediction ----------------------------------------------------------------------------------------


def test_they_are_landmarks_like_the_others(chest_template: Template) -> None:
    prediction = perfect_prediction(chest_template, patient(1), lost=("heart",))
    new = [NewLandmark("apex", "heart", (0.4, 0.3)), NewLandmark("hilum", "left_lung", (-0.5, 0.1))]
    more = with_landmarks(prediction, GEOMETRY, chest_template, new)
    before = len(prediction.landmarks)
    assert more.landmarks.names == (*prediction.landmarks.names, "apex", "hilum")
    assert more.landmarks.structures[before:] == ("heart", "left_lung")
    assert more.landmarks.presence[before:] == (Presence.ABSENT, Presence.PRESENT)
    assert more.landmarks.review[before:] == (Review.PREDICTED, Review.PREDICTED)
    np.testing.assert_array_equal(more.landmarks.template_uv[before:], [[0.4, 0.3], [-0.5, 0.1]])
    np.testing.assert_array_equal(more.landmarks.points_lps_mm[:before], prediction.landmarks.points_lps_mm)
    np.testing.assert_array_equal(more.landmarks.points_lps_mm[before:], more.landmarks.predicted_lps_mm[before:])
    assert more.landmarks.confidence[before] == 0
    assert more.landmarks.confidence[before + 1] > 0
    assert replace(more, landmarks=prediction.landmarks) == prediction
    none = with_landmarks(prediction, GEOMETRY, chest_template, [])
    assert none.landmarks.names == prediction.landmarks.names
    assert np.isfinite(pixels_from_lps_mm(GEOMETRY, more.landmarks.points_lps_mm)).all()


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([NewLandmark("heart_01", "heart", (0, 0))], "expected a name that is not taken, got 'heart_01'"),
        ([NewLandmark("a", "heart", (0, 0)), NewLandmark("a", "heart", (0, 0.1))], "not taken, got 'a'"),
        ([NewLandmark("a", "spine", (0, 0))], "expected the structure of 'a' to be one of right_lung, left_lung"),
    ],
    ids=["taken", "twice", "unknown structure"],
)
def test_what_cannot_be_appended_is_told_in_one_line(
    chest_template: Template, new: list[NewLandmark], said: str
) -> None:
    prediction = perfect_prediction(chest_template, patient(1))
    with pytest.raises(InputError) as error:
        with_landmarks(prediction, GEOMETRY, chest_template, new)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
