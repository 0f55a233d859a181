"""What people decided teaches, each decision in its way, and nothing that nobody decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.descent import descent_of
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.finetuning.chest_library import FEW_STEPS, LEARN, LEARN_MASKS, case_ids, phantom_of, reopened, run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import (
    assert_same_weights,
    differ,
    json_of,
)
from training.finetuning.dense_shape import FinetuneDenseShape, finetune_task
from training.finetuning.recipe import FinetuneRecipe, recipe_of
from training.losses import landmark_loss
from training.phantoms import landmarks_of

pytestmark = pytest.mark.usefixtures("one_thread")


def uv_error(task: FinetuneDenseShape, bundle: Path) -> float:
    """Mean error of the template coordinates that a model reads at the decided points."""
    network = task.new_network().eval()
    network.load_state_dict({name: torch.from_numpy(w).float() for name, w in load_bundle(bundle).weights.items()})
    data = task.data
    with torch.inference_mode():
        output = network(data.images.float())._replace(log_scale=None)
    stride = data.masks.shape[2] // output.uv.shape[3]
    return float(landmark_loss(output, data.points, data.landmark_uv, stride, 1.0))


def mask_share(bundle: Path, image: Path, structure: str) -> float:
    """How much of a structure a model sees in an image."""
    prediction = open_predictor(str(bundle), "cpu").predict(read_image(image))
    return float(prediction.masks[prediction.structures.index(structure)].mean())


def test_a_corrected_point_teaches_its_template_coordinate(
    library: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    output = run(library, tmp_path / "run", LEARN)
    decisions, _ = read_decisions(library.library)
    recipe, parent = recipe_of(load_bundle(chest_bundle)), load_bundle(chest_bundle)
    task = finetune_task(recipe, decisions, library.library, None, parent, LEARN, "cpu")  # type: ignore[arg-type]
    assert uv_error(task, output / "bundle") < 0.5 * uv_error(task, chest_bundle)


def test_what_is_unsure_or_only_predicted_changes_no_weight(annotator: Annotator, whole: Path, tmp_path: Path) -> None:
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        present = [
            name
            for name, presence in zip(session.state.landmarks.names, session.state.landmarks.presence, strict=True)
            if presence is Presence.PRESENT
        ]
        undecided = [name for name in session.state.open_names() if name in present]
        session.mark_unsure(*undecided[:4])
        session.set_strength(0.3)  # all that is only predicted lies elsewhere now
        session.save()
        session.close()
    assert {one.revision for one in read_decisions(annotator.library)[0]} == {2}
    assert_same_weights(whole, run(annotator, tmp_path / "after"))


def test_one_point_more_changes_the_weights(annotator: Annotator, whole: Path, tmp_path: Path) -> None:
    session = reopened(annotator, case_ids(annotator.library)[0])
    session.accept(next(iter(session.state.open_names())))
    session.save()
    session.close()
    assert differ(whole, run(annotator, tmp_path / "after"))


def test_verified_landmarks_teach_as_much_as_the_recipe_says(annotator: Annotator, whole: Path, tmp_path: Path) -> None:
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        session.accept(*session.state.open_names()[:6])
        session.save()
        session.close()
    nothing = FinetuneRecipe(**{**vars(FEW_STEPS), "verified_weight": 0.0})
    assert_same_weights(whole, run(annotator, tmp_path / "nothing", nothing))
    half, full = (
        run(annotator, tmp_path / str(weight), FinetuneRecipe(**{**vars(FEW_STEPS), "verified_weight": weight}))
        for weight in (0.5, 1.0)
    )
    assert differ(whole, half)
    assert differ(half, full)


def test_a_structure_that_people_say_is_absent_is_seen_less(
    annotator: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    template = load_bundle(chest_bundle).need_template()
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        session.mark_absent(*template.structure("left_lung").landmark_names)
        session.save()
        session.close()
    output = run(annotator, tmp_path / "run", LEARN_MASKS)
    image = annotator.library.case(case_ids(annotator.library)[0]).image_path
    before, after = mask_share(chest_bundle, image, "left_lung"), mask_share(output / "bundle", image, "left_lung")
    assert before > 0.02
    assert after < 0.5 * before
    assert mask_share(output / "bundle", image, "right_lung") > 0.02


def test_a_painted_mask_teaches_the_mask(annotator: Annotator, chest_bundle: Path, tmp_path: Path) -> None:
    """Somebody paints a lung much larger in each case: that is what the model then sees."""
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        answer = session.state.answer
        assert answer is not None
        prediction = answer.prediction
        lung = prediction.need_grid().mask_on_image(prediction.masks[prediction.structures.index("left_lung")])
        session.paint("left_lung", binary_dilation(lung, iterations=6)[None])
        session.save()
        session.close()
    output = run(annotator, tmp_path / "run", LEARN_MASKS)
    image = annotator.library.case(case_ids(annotator.library)[0]).image_path
    assert mask_share(output / "bundle", image, "left_lung") > 1.3 * mask_share(chest_bundle, image, "left_lung")


def test_a_mask_that_covers_no_pixel_of_the_grid_is_told_and_does_not_teach_absence(
    annotator: Annotator, chest_bundle: Path
) -> None:
    """A pixel of the image is a quarter of one of the grid; what a person wiped out is absent indeed."""
    lung = np.zeros((1, 96, 96), bool)
    for case_id, painted in zip(case_ids(annotator.library), (True, False, False), strict=True):
        session = reopened(annotator, case_id)
        lung[0, 40, 41] = painted
        session.paint("left_lung", lung)
        session.save()
        session.close()
    decisions, _ = read_decisions(annotator.library)
    recipe, parent = recipe_of(load_bundle(chest_bundle)), load_bundle(chest_bundle)
    task = finetune_task(recipe, decisions, annotator.library, None, parent, LEARN, "cpu")  # type: ignore[arg-type]
    s = task.template.structure_names.index("left_lung")
    assert task.data.mask_weights[:, s].tolist() == [0, 1, 1]
    assert not task.data.masks[:, s].any()
    names = dict(zip(task.run.case_ids, task.cases.names, strict=True))
    tiny = names[case_ids(annotator.library)[0]]
    assert task.run.lines == (f"{tiny}: the mask of left_lung covers no pixel; only its points teach",)


def test_a_new_landmark_becomes_a_trained_one(
    annotator: Annotator, chest_bundle: Path, chest_template: Template, tmp_path: Path
) -> None:
    template = load_bundle(chest_bundle).need_template()
    uv = np.array([0.2, -0.3])
    grown = template.with_landmark("right_lung", "nodule", uv)
    for number, case_id in enumerate(case_ids(annotator.library)):
        session = reopened(annotator, case_id)
        drawn = [phantom_of(chest_template, n) for n in range(3)]
        phantom = next(one for one in drawn if str(one.seed) in session.case.name)
        points = landmarks_of(grown, phantom.contours)[list(grown.landmark_names).index("nodule")]
        where = lps_mm_from_pixels(session.state.geometry, points[None])[0]
        if number == 0:
            session.define_landmark("nodule", where, "right_lung")
        else:
            session.look_up(*session.landmarks_of_library())
            session.move({"nodule": where})
        session.save()
        session.close()
    output = run(annotator, tmp_path / "run")
    child = load_bundle(output / "bundle")
    assert "nodule" in child.need_template().landmark_names
    assert child.landmark_names == child.need_template().landmark_names
    assert json_of(output / "cases.json")["new_landmarks"] == ["nodule"]
    descent = descent_of(child.metadata)
    assert descent is not None
    assert descent.new_landmarks == ("nodule",)
    assert (
        "nodule"
        in open_predictor(str(output / "bundle"), "cpu")
        .predict(annotator.library.case(case_id).read_image()[0])
        .landmarks.names
    )


def test_a_landmark_of_another_template_is_left_out_with_a_line(
    annotator: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    foreign = NewLandmark("nodule", "right_lung", (0.1, 0.1), template_key="0123456789abcdef")
    annotator.library.add_new_landmark(foreign)
    session = reopened(annotator, case_ids(annotator.library)[0])
    session.place("nodule", session.state.landmarks.points_lps_mm[0], "right_lung")
    session.save()
    session.close()
    output = run(annotator, tmp_path / "run")
    lines = json_of(output / "cases.json")["lines"]
    assert len([line for line in lines if "nodule" in line]) == 1
    assert "nodule" not in load_bundle(output / "bundle").landmark_names
    assert "nodule" in (output / "report.md").read_text()
