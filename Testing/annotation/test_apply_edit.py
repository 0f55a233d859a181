"""What a person's decisions do to a case, one kind after the other."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import (
    Absent,
    Accept,
    CorrectSpacing,
    Define,
    Edit,
    Import,
    ImportedRow,
    LookUp,
    Move,
    Paint,
    Place,
    Reset,
    Restore,
    SetStrength,
    TakePrediction,
    Unpaint,
    Unsure,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer

A, NEXT, FAR = "right_lung_10", "right_lung_11", "left_lung_10"


@pytest.fixture(scope="module")
def predicted(chest_template: Template) -> CaseState:
    """A case that a model predicted without its heart, and nobody looked at."""
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image, lost=("heart",))
    return apply_edit(CaseState(image.geometry), TakePrediction(answer, image.geometry))


def at(state: CaseState, name: str) -> np.ndarray:
    return state.index_ijk[state.landmarks.names.index(name)]


def word(state: CaseState, name: str) -> tuple[Presence, Review]:
    row = state.landmarks.names.index(name)
    return state.landmarks.presence[row], state.landmarks.review[row]


def moved(state: CaseState, name: str, x: float = 0, y: float = 0) -> Move:
    i, j, k = at(state, name)
    return Move(((name, (i + x, j + y, k)),))


def after(state: CaseState, *edits: Edit) -> CaseState:
    for edit in edits:
        state = apply_edit(state, edit)
    return state


def test_a_dragged_landmark_is_where_it_was_dropped_and_takes_its_neighbours_along(predicted: CaseState) -> None:
    state = apply_edit(predicted, moved(predicted, A, x=3))
    np.testing.assert_allclose(at(state, A) - at(predicted, A), [3, 0, 0], atol=1e-9)
    assert word(state, A) == (Presence.PRESENT, Review.CORRECTED)
    step = at(state, NEXT) - at(predicted, NEXT)
    assert 1 < step[0] < 3
    assert word(state, NEXT) == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_allclose(at(state, FAR), at(predicted, FAR), atol=1e-9)


def test_a_verified_neighbour_stays(predicted: CaseState) -> None:
    state = after(predicted, Accept((NEXT,)), moved(predicted, A, x=3))
    np.testing.assert_allclose(at(state, NEXT), at(predicted, NEXT), atol=1e-9)
    assert word(state, NEXT) == (Presence.PRESENT, Review.VERIFIED)


def test_with_strength_0_only_the_dragged_landmark_moves(predicted: CaseState) -> None:
    state = after(predicted, SetStrength(0.0), moved(predicted, A, x=3))
    others = [i for i, name in enumerate(predicted.landmarks.names) if name != A]
    np.testing.assert_allclose(state.index_ijk[others], predicted.index_ijk[others], atol=1e-9)
    again = apply_edit(state, SetStrength(1.0))
    np.testing.assert_allclose(
        again.landmarks.points_lps_mm, after(predicted, moved(predicted, A, x=3)).landmarks.points_lps_mm
    )


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_that_cannot_be_is_refused(predicted: CaseState, strength: float) -> None:
    with pytest.raises(InputError, match="0 to 1"):
        apply_edit(predicted, SetStrength(strength))


def test_the_order_of_corrections_does_not_matter(predicted: CaseState) -> None:
    one, other = moved(predicted, A, x=3), moved(predicted, "right_lung_20", y=-2)
    np.testing.assert_allclose(
        after(predicted, one, other).landmarks.points_lps_mm, after(predicted, other, one).landmarks.points_lps_mm
    )


def test_dropping_a_landmark_where_it_was_changes_nothing(predicted: CaseState) -> None:
    assert apply_edit(predicted, moved(predicted, A)) is predicted


def test_a_point_off_the_plane_of_a_radiograph_is_put_on_it(predicted: CaseState) -> None:
    i, j, _ = at(predicted, A)
    state = apply_edit(predicted, Move(((A, (i + 1, j, 0.4)),)))
    np.testing.assert_allclose(at(state, A), [i + 1, j, 0], atol=1e-9)


def test_what_is_not_there_cannot_be_dragged_but_placed(predicted: CaseState) -> None:
    assert word(predicted, "heart_01") == (Presence.ABSENT, Review.PREDICTED)
    with pytest.raises(InputError, match=r"'heart_01', which is absent\. Place it"):
        apply_edit(predicted, moved(predicted, "heart_01", x=2))
    state = apply_edit(predicted, Place("heart_01", "heart", (60.5, 70.0, 0.0)))
    assert word(state, "heart_01") == (Presence.PRESENT, Review.PLACED)
    np.testing.assert_allclose(at(state, "heart_01"), [60.5, 70, 0], atol=1e-9)
    # The guesses of its structure follow it.
    assert np.abs(at(state, "heart_02") - at(predicted, "heart_02")).max() > 0.1
    with pytest.raises(InputError, match="Drag it"):
        apply_edit(state, Place("heart_01", "heart", (1.0, 1.0, 0.0)))


def test_a_landmark_of_no_template_is_placed_moved_and_taken_away(predicted: CaseState) -> None:
    state = apply_edit(predicted, Place("pacemaker", "", (20.0, 30.0, 0.0)))
    assert word(state, "pacemaker") == (Presence.PRESENT, Review.PLACED)
    state = apply_edit(state, moved(state, "pacemaker", x=1))
    assert word(state, "pacemaker") == (Presence.PRESENT, Review.PLACED)
    np.testing.assert_allclose(at(state, "pacemaker"), [21, 30, 0], atol=1e-9)
    state = apply_edit(state, Reset(("pacemaker",)))
    assert word(state, "pacemaker") == (Presence.UNPLACED, Review.PREDICTED)
    assert np.isnan(at(state, "pacemaker")).all()
    with pytest.raises(InputError, match="unplaced"):
        apply_edit(state, Accept(("pacemaker",)))


def test_accepting_says_that_a_person_looked(predicted: CaseState) -> None:
    state = after(
        predicted, moved(predicted, A, x=1), Unsure((NEXT,)), Accept((A, NEXT, FAR, "heart_01"), ("right_lung",))
    )
    assert word(state, A) == (Presence.PRESENT, Review.CORRECTED)
    assert word(state, NEXT) == (Presence.PRESENT, Review.VERIFIED)
    assert word(state, FAR) == (Presence.PRESENT, Review.VERIFIED)
    assert word(state, "heart_01") == (Presence.ABSENT, Review.VERIFIED)
    assert state.structure_review("right_lung") is Review.VERIFIED
    assert state.structure_review("left_lung") is Review.PREDICTED
    assert apply_edit(state, Accept((A, FAR), ("right_lung",))) is state


def test_absence_is_told_from_the_models_word(predicted: CaseState) -> None:
    state = apply_edit(predicted, Absent((A, "heart_01")))
    assert word(state, A) == (Presence.ABSENT, Review.CORRECTED)
    assert word(state, "heart_01") == (Presence.ABSENT, Review.VERIFIED)
    assert np.isfinite(at(state, A)).all()  # the best guess stays


def test_what_a_person_is_unsure_of_neither_moves_nor_moves_others(predicted: CaseState) -> None:
    state = after(predicted, Unsure((NEXT,)), moved(predicted, A, x=3))
    np.testing.assert_allclose(at(state, NEXT), at(predicted, NEXT), atol=1e-9)
    assert word(state, NEXT) == (Presence.PRESENT, Review.UNSURE)


def test_the_predicted_point_is_kept_for_ever(predicted: CaseState) -> None:
    state = after(predicted, moved(predicted, A, x=3), Absent((A,)), Unsure((NEXT,)), Place(A, "", (5.0, 5.0, 0.0)))
    np.testing.assert_array_equal(state.landmarks.predicted_lps_mm, predicted.landmarks.predicted_lps_mm)
    state = apply_edit(state, Reset((A, NEXT)))
    assert word(state, A) == word(state, NEXT) == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_allclose(state.landmarks.points_lps_mm, predicted.landmarks.points_lps_mm, atol=1e-9)


def test_a_reset_landmark_follows_its_neighbours_again(predicted: CaseState) -> None:
    corrected = after(predicted, moved(predicted, A, x=3))
    state = after(corrected, moved(corrected, NEXT, y=5), Reset((NEXT,)))
    np.testing.assert_allclose(state.landmarks.points_lps_mm, corrected.landmarks.points_lps_mm, atol=1e-9)


def test_correcting_the_spacing_leaves_every_point_on_its_pixel(predicted: CaseState) -> None:
    state = after(predicted, moved(predicted, A, x=3))
    x, y, z = state.geometry.spacing_mm
    wider = apply_edit(state, CorrectSpacing((2 * x, 2 * y, z)))
    np.testing.assert_allclose(wider.index_ijk, state.index_ijk, atol=1e-9)
    origin = np.array(state.geometry.origin_lps_mm)
    np.testing.assert_allclose(wider.landmarks.points_lps_mm - origin, 2 * (state.landmarks.points_lps_mm - origin))
    np.testing.assert_allclose(wider.landmarks.covariance_mm2, 4 * state.landmarks.covariance_mm2)
    assert wider.answer is not None
    assert state.answer is not None
    np.testing.assert_allclose(
        wider.answer.prediction.landmarks.points_lps_mm - origin,
        2 * (state.answer.prediction.landmarks.points_lps_mm - origin),
    )
    back = apply_edit(wider, CorrectSpacing((x, y, z)))
    np.testing.assert_allclose(back.landmarks.points_lps_mm, state.landmarks.points_lps_mm, atol=1e-9)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)])
def test_a_spacing_that_cannot_be_is_refused(predicted: CaseState, spacing: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="positive millimetres"):
        apply_edit(predicted, CorrectSpacing(spacing))


def test_a_painted_structure_is_corrected_until_it_is_given_back(predicted: CaseState) -> None:
    mask = np.zeros(predicted.geometry.size[::-1], bool)
    mask[0, 40:80, 30:60] = True
    state = apply_edit(predicted, Paint("heart", mask))
    assert state.structure_review("heart") is Review.CORRECTED
    mask[:] = False  # the brush goes on
    assert state.painted["heart"].sum() == 40 * 30
    assert apply_edit(state, Paint("heart", state.painted["heart"])) is state
    assert apply_edit(state, Unpaint(("heart",))).structure_review("heart") is Review.PREDICTED
    assert after(predicted, Paint("implant", np.ones(predicted.geometry.size[::-1], bool))).structures[-1] == "implant"
    with pytest.raises(InputError, match="mask on the voxels"):
        apply_edit(predicted, Paint("heart", mask[:, 1:]))


def test_another_prediction_leaves_what_people_decided(predicted: CaseState, chest_template: Template) -> None:
    state = after(
        predicted, moved(predicted, A, x=3), Absent((FAR,)), Unsure((NEXT,)), Place("pacemaker", "", (20.0, 30.0, 0.0))
    )
    image = chest_image(chest_template)
    again = apply_edit(state, TakePrediction(perfect_answer(chest_template, image, shift_px=(2, 0)), image.geometry))
    for name in (A, NEXT, "pacemaker"):
        np.testing.assert_allclose(at(again, name), at(state, name), atol=1e-9)
        assert word(again, name) == word(state, name)
    assert word(again, FAR) == word(state, FAR)
    assert word(again, "heart_01") == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_allclose(at(again, "left_lung_20") - at(predicted, "left_lung_20"), [2, 0, 0], atol=0.1)
    row = again.landmarks.names.index(A)
    assert again.landmarks.predicted_lps_mm[row, 0] > predicted.landmarks.predicted_lps_mm[row, 0] + 4


def test_another_prediction_leaves_masks_that_people_accepted(predicted: CaseState, chest_template: Template) -> None:
    image = chest_image(chest_template)
    accepted = after(predicted, Accept((), ("right_lung", "left_lung")))
    masks = {name: structure_mask(accepted, name) for name in ("right_lung", "left_lung")}
    shifted = perfect_answer(chest_template, image, lost=("left_lung",), shift_px=(6.0, 0.0))
    other = after(accepted, TakePrediction(shifted, image.geometry))
    for name, mask in masks.items():
        np.testing.assert_array_equal(structure_mask(other, name), mask)
        assert other.structure_review(name) is Review.CORRECTED, "as if it had been painted: the model says otherwise"
    assert other.structure_review("heart") is Review.PREDICTED
    same = after(accepted, TakePrediction(perfect_answer(chest_template, image, lost=("heart",)), image.geometry))
    assert same.structure_review("right_lung") is Review.VERIFIED
    assert not same.painted


def test_a_prediction_of_the_image_before_its_spacing_was_corrected_lands_on_the_same_pixels(
    chest_template: Template,
) -> None:
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image)
    x, y, z = image.geometry.spacing_mm
    late = after(CaseState(image.geometry), CorrectSpacing((2 * x, 2 * y, z)), TakePrediction(answer, image.geometry))
    early = after(CaseState(image.geometry), TakePrediction(answer, image.geometry), CorrectSpacing((2 * x, 2 * y, z)))
    np.testing.assert_allclose(late.index_ijk, early.index_ijk, atol=1e-9)
    np.testing.assert_allclose(late.landmarks.points_lps_mm, early.landmarks.points_lps_mm, atol=1e-9)


def test_a_new_landmark_is_placed_here_and_found_elsewhere(predicted: CaseState, chest_template: Template) -> None:
    key = chest_template.structure("right_lung").key
    hilum = NewLandmark("hilum", "right_lung", (0.2, 0.1), "where the vessels enter", None, key)
    mean_mm = chest_template.structure("right_lung").position_at([hilum.uv])[0]
    here = mean_mm / (chest_template.field_of_view_mm[0] / 128) - 0.5
    state = apply_edit(predicted, Define(hilum, (here[0] + 1, here[1], 0.0)))
    assert word(state, "hilum") == (Presence.PRESENT, Review.PLACED)
    np.testing.assert_allclose(at(state, "hilum"), [here[0] + 1, here[1], 0], atol=1e-9)
    found = apply_edit(predicted, LookUp((hilum,)))
    assert word(found, "hilum") == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_allclose(at(found, "hilum")[:2], here, atol=0.3)
    assert found.new_landmarks == (hilum,)
    assert apply_edit(found, LookUp((hilum,))) is found
    with pytest.raises(InputError, match="new in this case"):
        apply_edit(state, Define(hilum, (1.0, 1.0, 0.0)))


def test_a_new_landmark_follows_corrections_made_before_and_after(predicted: CaseState) -> None:
    new = NewLandmark("near", "right_lung", tuple(predicted.landmarks.template_uv[9]))
    before = after(predicted, moved(predicted, A, x=3), LookUp((new,)))
    later = after(predicted, LookUp((new,)), moved(predicted, A, x=3))
    np.testing.assert_allclose(at(before, "near"), at(later, "near"), atol=1e-9)
    plain = at(apply_edit(predicted, LookUp((new,))), "near")
    assert at(before, "near")[0] - plain[0] > 1


@pytest.mark.parametrize(
    "new", [NewLandmark("x", "spleen", (0, 0)), NewLandmark("x", "heart", (0, 0), template_key="?")]
)
def test_a_landmark_of_another_template_is_refused(predicted: CaseState, new: NewLandmark) -> None:
    with pytest.raises(InputError, match="another template"):
        apply_edit(predicted, LookUp((new,)))


def test_a_new_landmark_of_a_lost_structure_is_absent_with_a_guess(predicted: CaseState) -> None:
    state = apply_edit(predicted, LookUp((NewLandmark("apex", "heart", (0.5, 0.5)),)))
    assert word(state, "apex") == (Presence.ABSENT, Review.PREDICTED)
    assert np.isfinite(at(state, "apex")).all()


def test_importing_takes_over_what_a_file_says(predicted: CaseState) -> None:
    rows = (
        ImportedRow(A, "right_lung", Presence.PRESENT, Review.CORRECTED, (12.25, 40.0, 0.0)),
        ImportedRow(NEXT, "right_lung", Presence.ABSENT, Review.CORRECTED),
        ImportedRow(FAR, "left_lung", Presence.UNPLACED, Review.PLACED),
        ImportedRow("clip", "heart", Presence.PRESENT, Review.PLACED, (50.0, 51.0, 0.0)),
        ImportedRow("guess", "heart", Presence.PRESENT, Review.PREDICTED, (52.0, 53.0, 0.0)),
    )
    state = apply_edit(predicted, Import(rows))
    np.testing.assert_allclose(at(state, A), [12.25, 40, 0], atol=1e-9)
    assert word(state, A) == (Presence.PRESENT, Review.CORRECTED)
    assert word(state, NEXT) == (Presence.ABSENT, Review.CORRECTED)
    assert word(state, FAR) == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_allclose(at(state, "clip"), [50, 51, 0], atol=1e-9)
    row = state.landmarks.names.index("guess")
    assert np.isfinite(state.landmarks.predicted_lps_mm[row]).all()
    # A file without predictions can be imported into a case without a model.
    empty = apply_edit(CaseState(predicted.geometry), Import(rows))
    assert set(empty.landmarks.names) == {A, NEXT, "clip", "guess"}
    assert apply_edit(state, Import(rows[:1])) is state


def test_an_older_revision_comes_back_whole(predicted: CaseState) -> None:
    state = after(predicted, moved(predicted, A, x=3))
    assert apply_edit(state, Restore(predicted)) is predicted


def test_every_edit_leaves_the_state_before_it_as_it_was(predicted: CaseState) -> None:
    points, review = predicted.landmarks.points_lps_mm.copy(), predicted.landmarks.review
    after(predicted, moved(predicted, A, x=3), Absent((FAR,)), Reset((FAR,)), CorrectSpacing((1.0, 1.0, 1.0)))
    np.testing.assert_array_equal(predicted.landmarks.points_lps_mm, points)
    assert predicted.landmarks.review == review


@pytest.mark.parametrize(
    "edit", [Accept(("spleen",)), Move((("spleen", (1, 1, 0)),)), Reset(("spleen",)), Unsure(("spleen",))]
)
def test_a_landmark_that_does_not_exist_is_named(predicted: CaseState, edit: Edit) -> None:
    with pytest.raises(InputError, match="'spleen'"):
        apply_edit(predicted, edit)


def test_a_position_that_is_nowhere_is_refused(predicted: CaseState) -> None:
    with pytest.raises(InputError, match="finite"):
        apply_edit(predicted, Move(((A, (float("nan"), 0.0, 0.0)),)))


def test_a_case_without_a_prediction_takes_landmarks(predicted: CaseState) -> None:
    state = after(CaseState(predicted.geometry), Place("apex", "", (3.0, 4.0, 0.0)), Place("base", "", (5.0, 6.0, 0.0)))
    assert state.landmarks.names == ("apex", "base")
    assert after(state, Absent(("apex",))).landmarks.presence[0] is Presence.ABSENT


@pytest.mark.parametrize("name", ["half a \ud800 character", " "])
def test_a_name_that_cannot_be_written_down_is_refused(predicted: CaseState, name: str) -> None:
    edits = (
        Place(name, "heart", (3.0, 4.0, 0.0)),
        Import((ImportedRow(name, "heart", Presence.PRESENT, Review.PLACED, (3.0, 4.0, 0.0)),)),
        Paint(name, np.zeros(predicted.geometry.size[::-1], bool)),
    )
    for edit in edits:
        with pytest.raises(InputError, match="expected a name") as raised:
            apply_edit(predicted, edit)
        str(raised.value).encode()
