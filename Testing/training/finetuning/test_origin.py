"""A run of fine-tuning that goes on does so with the cases, images and weights that it was begun with, and says what is other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from Testing.training.finetuning import volume_cases
from Testing.training.finetuning.chest_library import FEW_STEPS, case_ids, request_for
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import json_of, state
from Testing.training.kept_state import assert_same, state_of
from training.finetune import finetune
from training.finetuning.origin import check_origin, origin_of
from training.rewrite_bundle import rewrite_bundle

pytestmark = pytest.mark.usefixtures("one_thread")


def refused(annotator: Annotator, output: Path, **changes: object) -> str:
    """The line with which a run does not go on; its checkpoint stays as it was."""
    before = (output / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError) as caught:
        finetune(request_for(annotator, output, resume=True, **changes))
    assert (output / "checkpoint.pt").read_bytes() == before
    assert state(output)["line"] == str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_case_whose_image_is_gone_is_not_left_out_when_a_run_goes_on(
    annotator: Annotator, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert not finetune(request_for(annotator, output, max_minutes=0.0))
    lost = annotator.library.case(case_ids(annotator.library)[1])
    away = lost.image_path.rename(tmp_path / "away")
    assert refused(annotator, output) == (
        f"expected case {lost.name}, one of the 3 that the run in {output} was begun with, got it left out. Bring its image "
        "back, or begin in another folder."
    )
    away.rename(lost.image_path)
    assert finetune(request_for(annotator, output, resume=True))
    assert_same(state_of(output), state_of(whole))


def moved(data: Path) -> None:
    header, *rows = (data / "landmarks.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    x = header.split(",").index("x_px")
    cells[0][x] = str(float(cells[0][x]) + 3)
    (data / "landmarks.csv").write_text("\n".join([header, *(",".join(row) for row in cells)]) + "\n")


def repainted(data: Path) -> None:
    path = sorted((data / "images").iterdir())[0]
    pixels = np.array(Image.open(path))
    pixels[:20] = 0
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("change", [moved, repainted])
def test_other_old_cases_are_not_gone_on_with(
    library: Annotator, phantom_folder: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    data = shutil.copytree(phantom_folder, tmp_path / "data")
    output, asked = tmp_path / "run", {"replay": data, "data_folder": tmp_path / "versions"}
    assert not finetune(request_for(library, output, max_minutes=0.0, **asked))
    change(data)
    assert f"expected the cases and the --replay data that the run in {output} was begun with" in refused(
        library, output, **asked
    )


def test_a_model_that_was_changed_meanwhile_is_not_gone_on_with(library: Annotator, tmp_path: Path) -> None:
    bundle = shutil.copytree(library.bundle, tmp_path / "bundle")
    own = Annotator(library.library, bundle, tmp_path)
    output, parent = tmp_path / "run", load_bundle(bundle)
    assert not finetune(request_for(own, output, max_minutes=0.0))
    rewrite_bundle(replace(parent, weights={name: weight / 2 for name, weight in parent.weights.items()}))
    assert "expected the weights of small-chest 1.0.0 that the run in" in refused(own, output)


def edit_run(output: Path, change: Callable[[dict[str, Any]], None]) -> None:
    begun = json_of(output / "run.json")
    change(begun)
    (output / "run.json").write_text(json.dumps(begun))


def test_what_it_computes_with_is_written_down_and_a_line_says_where_it_is_another(
    library: Annotator, tmp_path: Path
) -> None:
    output, asked = tmp_path / "run", {"data_folder": tmp_path / "versions"}
    assert not finetune(request_for(library, output, max_minutes=0.0, **asked))
    written = json_of(output / "run.json")["versions"]
    assert written["torch"] == torch.__version__
    assert {"DenseLandmarks", "monai", "numpy"} < set(written)

    def older(begun: dict[str, Any]) -> None:
        begun["versions"]["torch"] = "1.0"

    edit_run(output, older)
    assert finetune(request_for(library, output, resume=True, **asked))
    line = f"It was begun with torch 1.0 (now {torch.__version__})."
    (said,) = [one for one in (output / "report.md").read_text().splitlines() if line in one]
    assert "not the same to the last bit" in said


def test_a_run_of_which_nobody_wrote_what_it_was_begun_with_goes_on(
    library: Annotator, whole: Path, tmp_path: Path
) -> None:
    output, asked = tmp_path / "run", {"data_folder": tmp_path / "versions"}
    assert not finetune(request_for(library, output, max_minutes=0.0, **asked))

    def without(begun: dict[str, Any]) -> None:
        del begun["origin"], begun["versions"]

    edit_run(output, without)
    assert finetune(request_for(library, output, resume=True, **asked))
    assert_same(state_of(output), state_of(whole))
    assert "not the same to the last bit" not in (output / "report.md").read_text()


def test_of_one_case_alone_it_is_said_once(annotator: Annotator, tmp_path: Path) -> None:
    """Also where there were more, which are left out, and in a run that goes on."""
    for case_id in case_ids(annotator.library)[1:]:
        annotator.library.case(case_id).image_path.unlink()
    assert not finetune(request_for(annotator, tmp_path / "run", max_minutes=0.0))
    assert finetune(request_for(annotator, tmp_path / "run", FEW_STEPS, resume=True))
    assert (tmp_path / "run" / "report.md").read_text().count("one case alone") == 1


def test_the_same_volumes_are_the_same_and_others_are_not(multi_scale: Bundle, tmp_path: Path) -> None:
    library = volume_cases.annotated(tmp_path, multi_scale, volume_cases.correct_chin, 2)
    task, again = (volume_cases.task_of(library, multi_scale) for _ in range(2))
    begun = json.loads(json.dumps(origin_of(task)))
    check_origin(tmp_path, begun, origin_of(again), "")
    again.cases.pyramids[1].levels[0][0, 0, 0] += 1
    with pytest.raises(InputError, match=r"got others\. .*folder\. It was begun with numpy 1\.$"):
        check_origin(tmp_path, begun, origin_of(again), "It was begun with numpy 1.")
