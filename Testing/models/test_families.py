"""Bundles of several families: each holds its own files, and a front end asks none of them which it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import (
    INFERENCE,
    METADATA,
    WEIGHTS,
    load_bundle,
    read_description,
    save_bundle,
    sha256,
)
from DenseLandmarksLib.models.demonstration import SYNTHETIC
from DenseLandmarksLib.models.family import FAMILIES, JOINT_SHAPE, TEMPLATE
from DenseLandmarksLib.models.fitting_models import fitting_instead, misfit, models_for
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.registry import find_bundle, open_predictor
from DenseLandmarksLib.models.versions import list_versions, model_names
from Testing.models.disc_finder import write_disc_finder
from Testing.models.volume_model import NAMES, PLACES, STRUCTURES, write_volume_bundle


@pytest.fixture
def neck(tmp_path: Path) -> Path:
    return write_volume_bundle(tmp_path / "neck")


@pytest.fixture
def data(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder; shipped are a chest model, a demonstration that comes first by name, and a neck model."""
    shipped = tmp_path / "shipped"
    shutil.copytree(tiny_bundle, shipped / "tiny")
    write_volume_bundle(shipped / "a-phantom", demonstration=True)
    write_volume_bundle(shipped / "neck")
    monkeypatch.setattr(versions, "SHIPPED", shipped)
    return tmp_path / "data"


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file as somebody would who also signs it."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    metadata = json.loads((folder / METADATA).read_text())
    metadata["checksums"] = {name: sha256(folder / name) for name in metadata["checksums"]}
    (folder / METADATA).write_text(json.dumps(metadata))


def told(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_bundle(folder)
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith("Restore the folder from where it came.")
    return text


def test_a_bundle_for_volumes_says_what_a_front_end_asks(neck: Path) -> None:
    bundle = load_bundle(neck)
    assert (bundle.template, bundle.styles, bundle.is_for_radiographs, bundle.is_demonstration) == (
        None,
        (),
        False,
        False,
    )
    assert (bundle.landmark_names, bundle.landmark_structures) == (NAMES, STRUCTURES)
    assert bundle.joint_shape == {"mean_mm": PLACES.tolist(), "modes": []}
    assert set(bundle.metadata["checksums"]) == {INFERENCE, JOINT_SHAPE, WEIGHTS}
    with pytest.raises(InputError, match="which finds landmarks only"):
        bundle.need_template()


def test_a_bundle_with_a_template_says_the_same_in_its_way(tiny_bundle: Path) -> None:
    described = read_description(tiny_bundle)
    assert (described.family, described.joint_shape, described.is_for_radiographs) == (
        FAMILIES["dense_shape"],
        {},
        True,
    )
    assert described.template is not None
    names, structures = described.landmark_names, described.landmark_structures
    assert names == described.template.landmark_names
    assert [name.startswith(structure) for name, structure in zip(names, structures, strict=True)] == [True] * len(
        names
    )


def test_the_models_that_were_shipped_before_are_whole() -> None:
    described = read_description(find_bundle("chest-xray"))
    assert (described.family.name, described.is_for_radiographs, described.is_demonstration) == (
        "dense_shape",
        True,
        False,
    )


def test_a_bundle_that_states_no_family_is_one_of_the_first(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "old"))
    edit(folder, METADATA, lambda metadata: metadata.pop("family"))
    assert load_bundle(folder).template is not None


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        (
            METADATA,
            lambda said: said.update(family="crystal_ball"),
            "its family is 'crystal_ball', and this version knows",
        ),
        (METADATA, lambda said: said.update(family=["multi_scale"]), "its family is"),
        (METADATA, lambda said: said.pop("landmark_structures"), f"{METADATA} lacks landmark_structures"),
        (METADATA, lambda said: said["landmark_structures"].pop(), "something else as landmark_structures"),
        (METADATA, lambda said: said.update(landmark_structures="neck"), "something else as landmark_structures"),
        (
            METADATA,
            lambda said: said["landmark_structures"].__setitem__(0, ""),
            "something else as landmark_structures",
        ),
        (INFERENCE, lambda said: said.pop("dimensions"), "a configuration file cannot be read"),
        (INFERENCE, lambda said: said.update(dimensions=4), "a configuration file cannot be read"),
    ],
)
def test_what_a_bundle_lacks_is_told(
    neck: Path, name: str, change: Callable[[dict[str, Any]], object], what: str
) -> None:
    edit(neck, name, change)
    assert what in told(neck)


def test_the_joint_shape_is_checked_as_the_template_is(neck: Path) -> None:
    (neck / JOINT_SHAPE).write_text("{}")
    assert f"{JOINT_SHAPE} is not the file that was saved" in told(neck)
    (neck / JOINT_SHAPE).write_text("[]")
    edit(neck, METADATA, lambda said: None)
    assert "is no JSON object" in told(neck)
    (neck / JOINT_SHAPE).unlink()
    assert f"{JOINT_SHAPE} is missing" in told(neck)


def test_a_bundle_is_not_written_with_the_files_of_another_family(neck: Path, tmp_path: Path) -> None:
    bundle = load_bundle(neck)
    for files in ({}, {TEMPLATE: "{}"}, {JOINT_SHAPE: "{}", TEMPLATE: "{}"}):
        with pytest.raises(ValueError, match=f"multi_scale needs {JOINT_SHAPE}"):
            save_bundle(tmp_path / "b", bundle.metadata, bundle.inference, files, bundle.weights, "", "")
    assert not (tmp_path / "b").exists()


def test_a_bundle_that_is_saved_again_is_the_same(neck: Path, tmp_path: Path) -> None:
    bundle = load_bundle(neck)
    again = tmp_path / "again"
    save_bundle(again, bundle.metadata, bundle.inference, bundle.family_files(), bundle.weights, "", "")
    read = load_bundle(again)
    assert (read.metadata, read.joint_shape) == (bundle.metadata, bundle.joint_shape)
    np.testing.assert_array_equal(read.weights["one"], bundle.weights["one"])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_each_family_is_opened_by_its_own_predictor(family: Any) -> None:
    assert callable(getattr(import_module(family.predictor_module), family.opener))


def test_a_family_is_opened_by_what_its_bundle_states(tiny_bundle: Path) -> None:
    predictor = open_predictor(str(tiny_bundle), "cpu")
    assert (predictor.name, predictor.version, predictor.device) == ("tiny", "1.0.0", "cpu")
    assert type(predictor).__module__ == FAMILIES["dense_shape"].predictor_module
    assert predictor.run_once()


def test_a_bundle_for_volumes_is_opened_by_the_predictor_of_volumes(neck: Path) -> None:
    """Which refuses to build anything but its own networks."""
    edit(neck, INFERENCE, lambda said: said.update(network_def={"_target_": "os.system"}))
    with pytest.raises(InputError, match=r"it asks for the unknown network 'os\.system'"):
        open_predictor(str(neck), "cpu")


# ---- which model for which image ------------------------------------------------------------------------------------


def test_demonstrations_come_last_and_are_models_like_others(data: Path, tmp_path: Path) -> None:
    assert model_names(data) == ("neck", "tiny", "a-phantom")
    (shown,) = list_versions("a-phantom", data)
    assert (shown.problem, shown.metadata["demonstration"]) == ("", True)
    # A version of the user's that is active decides.
    add_version(write_volume_bundle(tmp_path / "trained" / "b-phantom", demonstration=True), data)
    assert model_names(data) == ("neck", "tiny", "a-phantom", "b-phantom")


def test_a_version_for_volumes_is_copied_whole(data: Path, tmp_path: Path) -> None:
    added = add_version(write_volume_bundle(tmp_path / "trained" / "mouse"), data)
    assert load_bundle(added.folder).joint_shape["modes"] == []


def test_a_model_for_other_images_is_told_with_those_that_fit(data: Path) -> None:
    assert (models_for(True, data), models_for(False, data)) == (("tiny",), ("neck", "a-phantom"))
    chest, neck = (read_description(find_bundle(name, data)) for name in ("tiny", "neck"))
    assert misfit(chest, "film", 1, data) == misfit(neck, "scan", 40, data) == ""
    assert misfit(chest, "scan", 40, data) == (
        "expected a radiograph (one slice) for the model tiny, got 'scan' with 40 slices. Choose a model for volumes: "
        "neck, a-phantom; or choose another image."
    )
    assert misfit(neck, "film", 1, data) == (
        "expected a volume for the model neck, got 'film' with one slice. Choose a model for radiographs: tiny; or choose "
        "another image."
    )


@pytest.mark.parametrize(
    ("chosen", "part", "slices", "instead"),
    [
        ("chest-xray", "HAND", 1, "hand-xray"),
        ("chest-xray", "skull", 1, "ceph-xray"),
        ("hand-xray", "CHEST", 1, "chest-xray"),
        ("headneck-ct", "HAND", 1, "hand-xray"),
        ("chest-xray", "CHEST", 1, ""),
        ("chest-xray", "", 1, ""),
        ("chest-xray", "FOOT", 1, ""),
        ("chest-xray", "NECK", 40, "headneck-ct"),
        ("ceph-xray", "HEAD", 40, "headneck-ct"),
        ("headneck-ct", "HEAD", 1, "ceph-xray"),
        ("headneck-ct", "HEAD", 40, ""),
        ("mouse-skull", "HEAD", 40, ""),
        ("chest-xray", "CHEST", 40, ""),
    ],
)
def test_the_model_that_knows_what_a_file_states_is_named(
    chosen: str, part: str, slices: int, instead: str, tmp_path: Path
) -> None:
    model = read_description(find_bundle(chosen))
    assert fitting_instead(model, part, slices, tmp_path) == instead


def test_none_is_named_where_two_know_it_or_the_chosen_one_does_not_say(
    tmp_path: Path,
) -> None:
    chest = read_description(find_bundle("chest-xray"))
    add_version(write_disc_finder(tmp_path / "my-hand", expects={"body_parts": ["HAND"]}), tmp_path / "data")
    assert fitting_instead(chest, "HAND", 1, tmp_path) == "hand-xray"
    assert fitting_instead(chest, "HAND", 1, tmp_path / "data") == ""
    silent = read_description(write_disc_finder(tmp_path / "silent"))
    assert fitting_instead(silent, "HAND", 1, tmp_path) == ""


def test_a_dense_shape_demonstration_doubts_itself_too(tiny_bundle: Path, tmp_path: Path) -> None:
    from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image

    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "shown"))
    edit(folder, METADATA, lambda said: said.update(demonstration=True))
    template = read_description(folder).need_template()
    phantom = phantom_image(draw_phantom(template, DEMO_SEEDS[0], (64, 64)))
    predictor = open_predictor(str(folder), "cpu")
    assert SYNTHETIC not in predictor.predict(phantom).plausibility.doubts
    doubted = predictor.predict(replace(phantom, name="film"))
    assert doubted.plausibility.doubts[0] == SYNTHETIC
    assert not doubted.landmarks.confidence.any()
