"""A model on disk: what was saved is loaded, and what is broken is told in one line instead of predicting nonsense."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import (
    INFERENCE,
    METADATA,
    TEMPLATE,
    WEIGHTS,
    load_bundle,
    read_description,
    save_bundle,
    sha256,
)
from DenseLandmarksLib.models.registry import find_bundle, open_bundle, open_predictor
from DenseLandmarksLib.models.versions import shipped_bundles


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A whole bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def one_line(error: BaseException) -> str:
    """The message, which must be one line that names what was expected and ends with what to do."""
    text = str(error)
    assert "\n" not in text
    assert "expected" in text
    assert text.rstrip().endswith(".")
    return text


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sign(folder: Path) -> None:
    """Write the checksums of the files as they are, as somebody who means harm would."""
    metadata = json.loads((folder / METADATA).read_text())
    metadata["checksums"] = {name: sha256(folder / name) for name in metadata["checksums"]}
    (folder / METADATA).write_text(json.dumps(metadata))


def test_what_was_saved_is_loaded(tiny_bundle: Path, chest_template: Template) -> None:
    bundle = load_bundle(tiny_bundle)
    assert (bundle.name, bundle.version, bundle.grid_size) == ("tiny", "1.0.0", (64, 64))
    assert bundle.template.landmark_names == chest_template.landmark_names
    assert tuple(style.name for style in bundle.styles) == chest_template.structure_names
    assert bundle.styles[2].terminology.type[2] == "Heart"
    assert bundle.metadata["coordinate_system"] == "LPS"
    assert bundle.metadata["units"] == "mm"


def test_a_bundle_describes_itself_without_its_weights(copy: Path, chest_template: Template) -> None:
    """What shows results and looks up landmarks in them never reads the weights, which may not even be there."""
    whole = load_bundle(copy)
    (copy / WEIGHTS).unlink()
    described = read_description(copy)
    assert (described.name, described.version, described.grid_size) == ("tiny", "1.0.0", (64, 64))
    assert described.template.landmark_names == chest_template.landmark_names
    assert (described.styles, described.limits, described.expectation, described.read_out) == (
        whole.styles,
        whole.limits,
        whole.expectation,
        whole.read_out,
    )
    with pytest.raises(InputError, match="is missing"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [INFERENCE, TEMPLATE])
def test_a_description_that_was_changed_or_is_missing_is_refused(copy: Path, name: str) -> None:
    edit(copy / name, lambda content: content.update(note="changed"))
    with pytest.raises(InputError) as error:
        read_description(copy)
    assert f"{name} is not the file that was saved" in one_line(error.value)
    (copy / name).unlink()
    with pytest.raises(InputError) as error:
        read_description(copy)
    assert f"{name} is missing" in one_line(error.value)


def test_weights_are_half_precision_and_are_the_networks_own(tmp_path: Path, tiny_bundle: Path) -> None:
    source = load_bundle(tiny_bundle)
    weights = {name: np.random.default_rng(0).normal(size=w.shape) for name, w in source.weights.items()}
    save_bundle(tmp_path / "b", source.metadata, source.inference, source.family_files(), weights, "card", "terms")
    loaded = load_bundle(tmp_path / "b")
    assert {w.dtype for w in loaded.weights.values()} == {np.dtype(np.float16)}
    network = open_bundle(loaded, "cpu").network
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(value.numpy(), weights[name], rtol=1e-3, atol=1e-6)
    assert (tmp_path / "b" / "docs" / "README.md").read_text() == "card"
    assert (tmp_path / "b" / "LICENSE").read_text() == "terms"


def test_a_bundle_opens_by_its_folder(tiny_bundle: Path) -> None:
    predictor = open_predictor(str(tiny_bundle), "cpu")
    assert (predictor.name, predictor.version, predictor.grid_size) == ("tiny", "1.0.0", (64, 64))
    assert not predictor.network.training


@pytest.mark.parametrize("name", [INFERENCE, TEMPLATE, WEIGHTS, METADATA])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError) as error:
        load_bundle(find_bundle(str(copy)))
    assert f"{name} is missing" in one_line(error.value)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize("name", [INFERENCE, TEMPLATE, WEIGHTS])
def test_a_changed_file_is_refused_even_if_it_could_be_read(copy: Path, name: str) -> None:
    if name == WEIGHTS:
        save_file({n: w + np.float16(0.01) for n, w in load_file(copy / name).items()}, copy / name)
    else:
        edit(copy / name, lambda content: content.update(note="changed"))
    with pytest.raises(InputError) as error:
        load_bundle(copy)
    assert "its checksum differs" in one_line(error.value)
    assert name in str(error.value)


def test_truncated_weights_are_refused(copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    for length in (0, 4, 100, len(whole) - 1):
        (copy / WEIGHTS).write_bytes(whole[:length])
        with pytest.raises(InputError) as error:
            load_bundle(copy)
        one_line(error.value)
        sign(copy)  # even when the checksum was made afterwards
        with pytest.raises(InputError) as error:
            load_bundle(copy)
        assert "is not a safetensors file" in one_line(error.value)


class Harmful:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("kind", ["torch.save", "torch.save, old format", *range(2, pickle.HIGHEST_PROTOCOL + 1)])
def test_a_pickle_in_place_of_the_weights_is_refused_and_never_run(copy: Path, kind: str | int, tmp_path: Path) -> None:
    trace = tmp_path / "harm"
    content = {"weight": torch.zeros(3), "harm": Harmful(trace)}
    if isinstance(kind, int):
        (copy / WEIGHTS).write_bytes(pickle.dumps(content, protocol=kind))
    else:
        torch.save(content, copy / WEIGHTS, _use_new_zipfile_serialization=kind == "torch.save")
    sign(copy)
    with pytest.raises(InputError) as error:
        load_bundle(copy)
    assert "is a pickle" in one_line(error.value)
    assert not trace.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_are_no_numbers_in_half_precision_are_not_saved(
    tmp_path: Path, tiny_bundle: Path, value: float
) -> None:
    source = load_bundle(tiny_bundle)
    weights = {name: weight.astype(np.float32) for name, weight in source.weights.items()}
    name = next(iter(weights))
    weights[name].flat[-1] = value
    with pytest.raises(InputError, match="expected weights that are finite numbers in 16 bits") as caught:
        save_bundle(tmp_path / "b", source.metadata, source.inference, source.family_files(), weights, "", "")
    assert name in one_line(caught.value)
    assert not (tmp_path / "b").exists()


def test_good_weights_are_not_taken_for_a_pickle(tmp_path: Path, tiny_bundle: Path) -> None:
    """A safetensors file begins with the length of its header, which may spell the first bytes of a pickle."""
    source = load_bundle(tiny_bundle)
    for length in range(1, 200):
        weights = {"w" * length: np.zeros(3), "v": np.zeros(2), "u" * 480: np.zeros(1)}
        save_bundle(tmp_path, source.metadata, source.inference, source.family_files(), weights, "", "")
        if (tmp_path / WEIGHTS).read_bytes()[:2] == b"\x80\x02":
            break
    else:
        pytest.fail("no header of 640 bytes was made")
    assert load_bundle(tmp_path).weights.keys() == weights.keys()


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    name = next(n for n, w in weights.items() if w.ndim == 4)
    for changed in ({**weights, name: weights[name][:, :, :1]}, {n: w for n, w in weights.items() if n != name}):
        save_file({n: np.ascontiguousarray(w) for n, w in changed.items()}, copy / WEIGHTS)
        sign(copy)
        with pytest.raises(InputError) as error:
            open_predictor(str(copy), "cpu")
        assert "do not fit its network" in one_line(error.value)
        assert name in str(error.value)


def test_a_bundle_cannot_name_code_of_its_choice(copy: Path) -> None:
    for target in ("os.system", "subprocess.Popen", "torch.nn.Conv2d", ""):
        edit(copy / INFERENCE, lambda content, target=target: content["network_def"].update(_target_=target))
        sign(copy)
        with pytest.raises(InputError) as error:
            open_predictor(str(copy), "cpu")
        assert f"unknown network {target!r}" in one_line(error.value)


def test_a_network_for_other_structures_than_the_template_is_refused(copy: Path, chest_template: Template) -> None:
    from dataclasses import replace

    fewer = replace(chest_template, structures=chest_template.structures[:4])
    (copy / TEMPLATE).write_text(fewer.to_json())
    sign(copy)
    with pytest.raises(InputError) as error:
        open_predictor(str(copy), "cpu")
    assert "5 structures" in one_line(error.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (INFERENCE, lambda content: content.pop("grid_size")),
        (INFERENCE, lambda content: content.update(grid_size=256)),
        (INFERENCE, lambda content: content["network_def"].update(channels=[4])),
        (INFERENCE, lambda content: content["network_def"].update(depth=3)),
        (INFERENCE, lambda content: content.pop("network_def")),
        (TEMPLATE, lambda content: content.pop("structures")),
        (TEMPLATE, lambda content: content["structures"][0].pop("uv")),
        (METADATA, lambda content: content.pop("checksums")),
        (METADATA, lambda content: content.pop("landmark_names")),
        (METADATA, lambda content: content["structures"][0].pop("colour")),
        (METADATA, lambda content: content.update(structures=["lung"])),
    ],
)
def test_a_configuration_that_lacks_or_twists_something_is_refused(
    copy: Path, name: str, change: Callable[[dict], None]
) -> None:
    edit(copy / name, change)
    if name != METADATA:
        sign(copy)
    with pytest.raises(InputError) as error:
        open_predictor(str(copy), "cpu")
    one_line(error.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "\udcff"])
def test_metadata_that_is_no_json_object_is_refused(copy: Path, content: str) -> None:
    (copy / METADATA).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as error:
        load_bundle(copy)
    assert METADATA in one_line(error.value)


def test_an_unknown_read_out_is_refused(copy: Path) -> None:
    inference = json.loads((copy / INFERENCE).read_text())
    (copy / INFERENCE).write_text(json.dumps({**inference, "read_out": "guess"}))
    sign(copy)
    with pytest.raises(InputError) as error:
        open_predictor(str(copy), "cpu")
    assert "unknown read-out 'guess'" in one_line(error.value)


def test_a_folder_that_is_no_bundle_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_predictor(str(tmp_path))
    assert f"{METADATA} is missing" in one_line(error.value)
    with pytest.raises(InputError) as error:
        open_predictor("no-such-model")
    assert "'no-such-model'" in one_line(error.value)
    assert "Models here:" in str(error.value)


def test_shipped_models_are_listed_and_open_by_name(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "SHIPPED", tiny_bundle.parent)
    assert shipped_bundles() == (tiny_bundle,)
    assert find_bundle("tiny") == tiny_bundle
    with pytest.raises(InputError, match="Models here: tiny"):
        find_bundle("other")


def test_a_wish_for_cuda_without_cuda_is_told(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError) as error:
        open_predictor(str(tiny_bundle), "cuda")
    assert "CUDA device" in one_line(error.value)
    assert open_predictor(str(tiny_bundle), "auto").device == "cpu"
