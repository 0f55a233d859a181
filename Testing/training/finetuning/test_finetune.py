"""Fine-tuning from the library to the new version: what a run leaves, and that only what people decided teaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from DenseLandmarksLib.annotation.file_lock import is_locked
from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.descent import descent_of
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning.chest_library import (
    FEW_STEPS,
    MODEL,
    case_ids,
    corrected_library,
    every_third,
    phantom_of,
    reopened,
    run,
    truth_of,
    write_phantom,
)
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.kept_state import rows_of
from training.__main__ import main
from training.finetuning.dense_shape import FinetuneDenseShape, finetune_task
from training.finetuning.recipe import FinetuneRecipe, recipe_of
from training.losses import landmark_loss
from training.phantoms import Phantom, landmarks_of
from training.recipe import recipe_from_dict

pytestmark = pytest.mark.usefixtures("one_thread")
LEARN = FinetuneRecipe(steps=60, epochs=3, ema=0.0, learning_rate_share=0.3, pull=0.0)


@pytest.fixture
def bundle(chest_bundle: Path) -> Path:
    return chest_bundle


@pytest.fixture
def library(corrected_chests: Annotator) -> Annotator:
    """Three corrected cases; nobody changes them."""
    return corrected_chests


@pytest.fixture(scope="module")
def learned(corrected_chests: Annotator, phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run that learned for long enough to see it, and saw the old cases again."""
    return run(corrected_chests, tmp_path_factory.mktemp("runs") / "learned", LEARN, replay=phantom_folder)


@pytest.fixture
def annotator(bundle: Path, chest_template: Template, tmp_path: Path) -> Annotator:
    """The same library, to change."""
    return corrected_library(tmp_path / "own", bundle, chest_template)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    return state


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def differ(one: Path, other: Path) -> bool:
    first, second = weights_of(one), weights_of(other)
    return any(not torch.equal(value, second[name]) for name, value in first.items())


def json_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# ---- what a run leaves ----------------------------------------------------------------------------------------------


def test_the_error_at_corrected_points_falls(learned: Path) -> None:
    curve = rows_of(learned / "validation.csv")
    assert curve[0]["epoch"] == 0
    assert curve[-1]["epoch"] == 3
    assert curve[-1]["error_mm"] < 0.8 * curve[0]["error_mm"]
    assert [row["epoch"] for row in rows_of(learned / "training.csv")] == [0, 1, 2]


def uv_error(task: FinetuneDenseShape, bundle: Path) -> float:
    """Mean error of the template coordinates that a model reads at the decided points."""
    network = task.new_network().eval()
    network.load_state_dict({name: torch.from_numpy(w).float() for name, w in load_bundle(bundle).weights.items()})
    data = task.data
    with torch.inference_mode():
        output = network(data.images.float())._replace(log_scale=None)
    stride = data.masks.shape[2] // output.uv.shape[3]
    return float(landmark_loss(output, data.points, data.landmark_uv, stride, 1.0))


def test_a_corrected_point_teaches_its_template_coordinate(library: Annotator, bundle: Path, tmp_path: Path) -> None:
    output = run(library, tmp_path / "run", LEARN)
    decisions, _ = read_decisions(library.library)
    recipe, parent = recipe_of(load_bundle(bundle)), load_bundle(bundle)
    task = finetune_task(recipe, decisions, library.library, None, parent, LEARN, "cpu")  # type: ignore[arg-type]
    assert uv_error(task, output / "bundle") < 0.5 * uv_error(task, bundle)


def test_a_new_version_is_listed_says_where_it_comes_from_and_is_not_active(learned: Path, library: Annotator) -> None:
    versions = {one.version: one for one in list_versions(MODEL.name, library.folder / "versions")}
    assert set(versions) >= {"1.0.0", "1.0.0+1"}
    assert versions["1.0.0"].active
    assert not versions["1.0.0+1"].problem
    descent = descent_of(versions["1.0.0+1"].metadata)
    assert descent is not None
    assert descent.parent == "small-chest 1.0.0"
    assert (descent.library_id, descent.library_name) == (library.library.id, library.library.name)
    assert dict(descent.revisions) == dict.fromkeys(case_ids(library.library), 1)
    decided = [row for one in read_decisions(library.library)[0] for row in one.landmarks]
    assert descent.corrections["corrected"] + descent.corrections["placed"] == len(decided)
    assert descent.outcome == "not enough evidence"
    assert descent.trained_on == set(case_ids(library.library))


def test_the_run_folder_holds_what_front_ends_read(learned: Path, library: Annotator) -> None:
    state = json_of(learned / "state.json")
    assert state["status"] == "done"
    assert state["fraction"] == 1
    assert "1.0.0+1" in state["line"]
    assert not is_locked(learned / "run.lock")
    about = json_of(learned / "run.json")
    assert about["parent"] == "small-chest 1.0.0"
    assert about["library"] == {
        "id": library.library.id,
        "name": library.library.name,
        "folder": str(library.library.folder.resolve()),
    }
    assert json_of(learned / "gate.json")["outcome"] == "not enough evidence"
    cases = json_of(learned / "cases.json")["cases"]
    assert {case["id"] for case in cases} == set(case_ids(library.library))
    assert {case["role"] for case in cases} == {"training"}
    assert sum(case["decisions"]["corrected"] for case in cases) > 0
    assert recipe_from_dict(json_of(learned / "recipe.json")).optimiser.steps == LEARN.steps
    report = (learned / "report.md").read_text()
    assert "small-chest 1.0.0+1" in report
    assert json_of(learned / "gate.json")["line"] in report
    assert "listed and not active" in report


def test_the_new_version_predicts_and_its_child_learns_as_fast_as_it_did(
    learned: Path, library: Annotator, bundle: Path, tmp_path: Path
) -> None:
    child = load_bundle(learned / "bundle")
    assert child.version == "1.0.0+1"
    prediction = open_predictor(str(learned / "bundle"), "cpu")
    assert prediction.template.landmark_names == load_bundle(bundle).landmark_names
    grown = Annotator(library.library, learned / "bundle", tmp_path)
    output = run(grown, tmp_path / "run", FEW_STEPS)
    rate = MODEL.optimiser.learning_rate * FEW_STEPS.learning_rate_share
    assert recipe_from_dict(json_of(output / "recipe.json")).optimiser.learning_rate == pytest.approx(rate)
    assert load_bundle(output / "bundle").version == "1.0.0+2"


def test_the_command_does_it_too_and_the_same_seed_gives_the_same_weights(
    library: Annotator, bundle: Path, tmp_path: Path
) -> None:
    toml = tmp_path / "few.toml"
    toml.write_text("[finetune]\nepochs = 3\nema = 0.0\nlearning_rate_share = 0.3\nsteps = 600\n")
    words = ["finetune", "--model", str(bundle), "--library", str(library.library.folder), "--recipe", str(toml)]
    words += ["--steps", "6", "--device", "cpu", "--data-folder", str(tmp_path / "versions")]
    assert main([*words, "--output", str(tmp_path / "one")]) == 0
    assert main([*words, "--output", str(tmp_path / "other"), "--seed", "1"]) == 0
    again = run(library, tmp_path / "again", data_folder=tmp_path / "versions")
    assert_same_weights(tmp_path / "one", again)
    assert differ(tmp_path / "one", tmp_path / "other")
    versions = [one.version for one in list_versions(MODEL.name, tmp_path / "versions")]
    assert versions == ["1.0.0", "1.0.0+1", "1.0.0+2", "1.0.0+3"]


# ---- what teaches ---------------------------------------------------------------------------------------------------


def test_what_is_unsure_or_only_predicted_changes_no_weight(annotator: Annotator, tmp_path: Path) -> None:
    before = run(annotator, tmp_path / "before")
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
    assert_same_weights(before, run(annotator, tmp_path / "after"))


def test_one_point_more_changes_the_weights(annotator: Annotator, chest_template: Template, tmp_path: Path) -> None:
    before = run(annotator, tmp_path / "before")
    session = reopened(annotator, case_ids(annotator.library)[0])
    session.accept(next(iter(session.state.open_names())))
    session.save()
    session.close()
    assert differ(before, run(annotator, tmp_path / "after"))


def test_verified_landmarks_teach_as_much_as_the_recipe_says(annotator: Annotator, tmp_path: Path) -> None:
    before = run(annotator, tmp_path / "before")
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        session.accept(*session.state.open_names()[:6])
        session.save()
        session.close()
    nothing = FinetuneRecipe(**{**vars(FEW_STEPS), "verified_weight": 0.0})
    assert_same_weights(before, run(annotator, tmp_path / "nothing", nothing))
    half, whole = (
        run(annotator, tmp_path / str(weight), FinetuneRecipe(**{**vars(FEW_STEPS), "verified_weight": weight}))
        for weight in (0.5, 1.0)
    )
    assert differ(before, half)
    assert differ(half, whole)


def mask_share(bundle: Path, image: Path, structure: str) -> float:
    """How much of a structure a model sees in an image."""
    prediction = open_predictor(str(bundle), "cpu").predict(read_image(image))
    return float(prediction.masks[prediction.structures.index(structure)].mean())


def test_a_structure_that_people_say_is_absent_is_seen_less(annotator: Annotator, bundle: Path, tmp_path: Path) -> None:
    template = load_bundle(bundle).need_template()
    for case_id in case_ids(annotator.library):
        session = reopened(annotator, case_id)
        session.mark_absent(*template.structure("left_lung").landmark_names)
        session.save()
        session.close()
    output = run(annotator, tmp_path / "run", LEARN)
    image = annotator.library.case(case_ids(annotator.library)[0]).image_path
    before, after = mask_share(bundle, image, "left_lung"), mask_share(output / "bundle", image, "left_lung")
    assert before > 0.02
    assert after < 0.5 * before
    assert mask_share(output / "bundle", image, "right_lung") > 0.02


def test_a_painted_mask_teaches_the_mask(annotator: Annotator, bundle: Path, tmp_path: Path) -> None:
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
    output = run(annotator, tmp_path / "run", LEARN)
    image = annotator.library.case(case_ids(annotator.library)[0]).image_path
    assert mask_share(output / "bundle", image, "left_lung") > 1.3 * mask_share(bundle, image, "left_lung")


def test_a_new_landmark_becomes_a_trained_one(
    annotator: Annotator, bundle: Path, chest_template: Template, tmp_path: Path
) -> None:
    template = load_bundle(bundle).need_template()
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
    output = run(annotator, tmp_path / "run", LEARN)
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
    annotator: Annotator, bundle: Path, tmp_path: Path
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


# ---- what keeps it --------------------------------------------------------------------------------------------------


def test_replayed_cases_make_their_share_of_each_batch(
    library: Annotator, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    draw_batch = FinetuneDenseShape.draw_batch

    def spy(task: FinetuneDenseShape, order: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        seen.append(order)
        return draw_batch(task, order, generator)

    monkeypatch.setattr(FinetuneDenseShape, "draw_batch", spy)
    run(library, tmp_path / "run", replay=phantom_folder)
    drawn = torch.cat(seen)
    assert [len(order) for order in seen] == [4] * 6
    assert (drawn >= 3).float().mean() == 0.5
    assert set(drawn[drawn < 3].tolist()) == {0, 1, 2}
    card = (tmp_path / "run" / "bundle" / "docs" / "README.md").read_text()
    assert "8 `train` cases of `phantoms` replayed" in card


def distance(run_folder: Path, bundle: Path) -> float:
    parent = load_bundle(bundle).weights
    own = weights_of(run_folder)
    return float(sum(((own[name] - torch.from_numpy(w).float()) ** 2).sum() for name, w in parent.items()))


def test_the_pull_keeps_weights_near_the_old_ones(library: Annotator, bundle: Path, tmp_path: Path) -> None:
    free, pulled = (
        run(library, tmp_path / str(pull), FinetuneRecipe(**{**vars(LEARN), "steps": 30, "pull": pull}))
        for pull in (0.0, 10.0)
    )
    assert 0 < distance(pulled, bundle) < 0.3 * distance(free, bundle)
    assert "pull" in rows_of(pulled / "training.csv")[0]
    assert "pull" not in rows_of(free / "training.csv")[0]


# ---- who is compared on ---------------------------------------------------------------------------------------------


def test_a_model_can_be_trained_anew_from_the_same_cases(library: Annotator, bundle: Path, tmp_path: Path) -> None:
    going_on, anew = (FinetuneRecipe(steps=1, epochs=1, ema=0.0, anew=anew) for anew in (False, True))
    near = distance(run(library, tmp_path / "going-on", going_on), bundle)
    assert distance(run(library, tmp_path / "anew", anew), bundle) > 10 * near


def test_nobody_learns_from_a_case_that_is_there_for_comparison(
    annotator: Annotator, bundle: Path, tmp_path: Path
) -> None:
    template = load_bundle(bundle).need_template()
    phantom = phantom_of(template, 7)
    names = every_third(template)[:5]
    owner = {name: s.name for s in template.structures for name in s.landmark_names}

    def decide(session: Session) -> None:
        session.start_blind([(name, owner[name]) for name in names])
        truth = truth_of(session, phantom)
        for name in names:
            session.place(name, truth[name], owner[name])

    before = run(annotator, tmp_path / "before")
    blind = annotator.work_on(write_phantom(tmp_path / "images", phantom), decide, is_predicted=False)
    after = run(annotator, tmp_path / "after")
    assert_same_weights(before, after)
    roles = {case["id"]: case["role"] for case in json_of(after / "cases.json")["cases"]}
    assert roles.pop(blind) == "comparison"
    assert set(roles.values()) == {"training"}
    descent = descent_of(load_bundle(after / "bundle").metadata)
    assert descent is not None
    assert blind not in descent.trained_on
    assert json_of(after / "gate.json")["cases"] == 1
    # The curve is that of the blind landmarks of this case, as the comparison measures them.
    gate = json_of(after / "gate.json")
    curve = rows_of(after / "validation.csv")
    assert curve[0]["error_mm"] == pytest.approx(gate["before_mm"], rel=1e-3)
    assert curve[-1]["error_mm"] == pytest.approx(gate["after_mm"], rel=1e-3)


def test_a_version_that_is_better_on_twenty_blind_cases_becomes_active_unless_asked_not_to(
    annotator: Annotator, chest_template: Template, phantom_folder: Path, tmp_path: Path
) -> None:
    names = every_third(chest_template)[::4]
    owner = {name: s.name for s in chest_template.structures for name in s.landmark_names}
    for number in range(20):
        phantom = phantom_of(chest_template, 10 + number)

        def decide(session: Session, phantom: Phantom = phantom) -> None:
            session.start_blind([(name, owner[name]) for name in names])
            truth = truth_of(session, phantom)
            for name in names:
                session.place(name, truth[name], owner[name])

        annotator.work_on(write_phantom(tmp_path / "images", phantom), decide, is_predicted=False)
    for activate in (True, False):
        versions = tmp_path / f"versions-{activate}"
        output = run(
            annotator, tmp_path / str(activate), LEARN, replay=phantom_folder, data_folder=versions, activate=activate
        )
        gate = json_of(output / "gate.json")
        assert (gate["cases"], gate["outcome"]) == (20, "not worse")
        assert gate["after_mm"] < gate["before_mm"]
        active = [one.version for one in list_versions(MODEL.name, versions) if one.active]
        assert active == ["1.0.0+1" if activate else "1.0.0"]
        report = (output / "report.md").read_text()
        assert f"The new version is {'active' if activate else 'listed and not active'}." in report
