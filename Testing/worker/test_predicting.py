"""What is asked of a worker is answered as in this process; what cannot be is told, and the next is answered."""

from __future__ import annotations

import gc
import resource
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import METADATA, WEIGHTS, load_bundle, save_bundle
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.events import Cancelled, Done, Failed, Loaded, Progress
from DenseLandmarksLib.worker.launch import Launch
from Testing.models.same_prediction import assert_same
from Testing.worker.conftest import write_untrained
from Testing.worker.waiting import answers, wait_for_progress


def answer(worker: Worker, client: Client, request_id: int) -> object:
    return answers(worker, client, to=[request_id])[request_id]


def film(width_px: int, height_px: int, pixel_type: type[np.generic] = np.uint16) -> MedicalImage:
    noise = np.random.default_rng(0).integers(0, 255, (1, 1, width_px)).astype(pixel_type)
    volume = sitk.GetImageFromArray(np.repeat(noise, height_px, axis=1))
    return MedicalImage(volume, SpacingSource.UNKNOWN, "film")


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.timed
def test_a_prediction_is_the_same_as_in_this_process(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    import torch

    for view in (None, View(90, True)):
        asked_at = time.monotonic()
        done = answer(warm_worker, client, client.request(chest, tiny_bundle, view, "cpu"))
        took = time.monotonic() - asked_at
        assert isinstance(done, Done)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            assert_same(done.prediction, open_predictor(str(tiny_bundle), "cpu").predict(chest, view))
        finally:
            torch.set_num_threads(threads)
        assert min(vars(done.seconds).values()) >= 0
        assert done.seconds.total <= took < done.seconds.total + 0.05


def test_progress_goes_up_and_says_with_what(
    warm_worker: Worker, client: Client, slow_bundle: Path, chest: MedicalImage
) -> None:
    request = client.request(chest, slow_bundle, device="cpu")
    said: list[Progress] = []
    while True:
        warm_worker.wait(1.0)
        events = client.events()
        said += [event for event in events if isinstance(event, Progress)]
        if any(isinstance(event, Done) for event in events):
            break
    assert [progress.request_id for progress in said] == [request] * len(said)
    fractions = [progress.fraction for progress in said]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0
    assert fractions[-1] < 1
    texts = list(dict.fromkeys(progress.text for progress in said))
    assert texts[-1] == "predicting"
    assert len(texts) >= 2
    assert sum(progress.text == "predicting" for progress in said) >= 2  # the network looked twice


def test_a_model_is_loaded_before_the_first_image(warm_worker: Worker, client: Client, tiny_bundle: Path) -> None:
    assert answer(warm_worker, client, request := client.load(tiny_bundle, "cpu")) == Loaded(request, "cpu")


def test_a_model_that_changed_on_disk_is_read_again(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "model"))
    done = answer(warm_worker, client, client.request(chest, folder, device="cpu"))
    assert isinstance(done, Done)
    assert done.prediction.model_version == "1.0.0"
    bundle = load_bundle(folder)
    metadata = {**bundle.metadata, "version": "1.0.1"}
    save_bundle(folder, metadata, bundle.inference, bundle.family_files(), bundle.weights, "Untrained.", "None.")
    done = answer(warm_worker, client, client.request(chest, folder, device="cpu"))
    assert isinstance(done, Done)
    assert done.prediction.model_version == "1.0.1"


def test_a_relative_folder_is_that_of_the_one_who_asks(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    assert isinstance(answer(warm_worker, client, client.request(chest, tiny_bundle.name, device="cpu")), Done)


def test_an_image_is_held_until_it_is_answered_and_no_longer(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    image = replace(chest, volume=sitk.Image(chest.volume))
    held = weakref.ref(image.volume)
    request = client.request(image, tiny_bundle, device="cpu")
    del image
    gc.collect()
    assert held() is not None  # its memory is what is sent
    assert isinstance(answer(warm_worker, client, request), Done)
    gc.collect()
    assert held() is None


# ---- several clients ------------------------------------------------------------------------------------------------


def test_a_long_queue_of_one_does_not_starve_the_other(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    other = warm_worker.client()
    many = [client.request(chest, tiny_bundle, device="cpu") for _ in range(12)]
    few = [other.request(chest, tiny_bundle, device="cpu") for _ in range(2)]
    order = list(answers(warm_worker, client, other, to=[*many, *few]))
    other.close()
    assert [request for request in order if request in many] == many
    assert [request for request in order if request in few] == few
    assert order.index(few[0]) <= 3
    assert order.index(few[1]) <= 5


def test_a_client_that_closes_takes_only_its_own_along(
    warm_worker: Worker, client: Client, slow_bundle: Path, tiny_bundle: Path, chest: MedicalImage
) -> None:
    other, pid = warm_worker.client(), warm_worker.pid
    slow = other.request(chest, slow_bundle, device="cpu")
    other.request(chest, slow_bundle, device="cpu")
    wait_for_progress(warm_worker, other, slow)
    mine = client.request(chest, tiny_bundle, device="cpu")
    other.close()
    assert isinstance(answer(warm_worker, client, mine), Done)
    assert other.events() == ()
    with pytest.raises(RuntimeError, match="expected an open client, got a closed one"):
        other.request(chest, tiny_bundle)
    assert warm_worker.pid == pid


# ---- giving up ------------------------------------------------------------------------------------------------------


def test_a_cancelled_prediction_stops_between_two_passes(
    warm_worker: Worker, client: Client, slow_bundle: Path, chest: MedicalImage
) -> None:
    pid = warm_worker.pid
    request = client.request(chest, slow_bundle, device="cpu")
    wait_for_progress(warm_worker, client, request)
    client.cancel(request)
    client.cancel(request)  # pressed twice
    said = []
    while Cancelled(request) not in said:
        warm_worker.wait(1.0)
        said += client.events()
    assert said == [Cancelled(request)]
    assert warm_worker.log().splitlines()[-1].endswith(f"{chest.name} was given up")  # not predicted to its end
    assert warm_worker.pid == pid
    client.cancel(request)
    warm_worker.wait(0.05)
    assert client.events() == ()


def test_a_request_that_waits_is_cancelled_at_once_wherever_it_waits(
    warm_worker: Worker, client: Client, slow_bundle: Path, chest: MedicalImage
) -> None:
    running, there, here = (client.request(chest, slow_bundle, device="cpu") for _ in range(3))
    wait_for_progress(warm_worker, client, running)
    client.cancel(there)
    client.cancel(here)
    order = answers(warm_worker, client, to=[running, there, here])
    assert list(order)[:2] == [here, there]  # before the one that runs is done
    assert isinstance(order[running], Done)
    assert [order[there], order[here]] == [Cancelled(there), Cancelled(here)]


def test_nobody_cancels_the_request_of_another(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    other = warm_worker.client()
    request = client.request(chest, tiny_bundle, device="cpu")
    other.cancel(request)
    assert isinstance(answer(warm_worker, client, request), Done)
    other.close()


# ---- what cannot be answered ----------------------------------------------------------------------------------------


def test_an_unknown_model_is_told_without_a_worker(chest: MedicalImage) -> None:
    with Worker() as worker:
        client = worker.client()
        request = client.request(chest, "no-such-model")
        (failed,) = client.events()
        assert isinstance(failed, Failed)
        assert (failed.request_id, failed.kind) == (request, "model")
        assert failed.message.startswith("expected the name of a model or a bundle folder, got 'no-such-model'.")
        assert worker.pid is None


def test_a_broken_bundle_is_told_and_the_next_one_is_opened(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage, tmp_path: Path
) -> None:
    broken, unlike = (Path(shutil.copytree(tiny_bundle, tmp_path / name)) for name in ("broken", "unlike"))
    (broken / WEIGHTS).write_bytes(b"\x80\x04 a pickle")
    bundle = load_bundle(unlike)
    some_weights = dict(list(bundle.weights.items())[:3])
    save_bundle(unlike, bundle.metadata, bundle.inference, bundle.family_files(), some_weights, "", "")
    for folder, says in ((broken, "is a pickle"), (unlike, "its weights do not fit its network")):
        for ask in (client.request(chest, folder, device="cpu"), client.load(folder, "cpu")):
            failed = answer(warm_worker, client, ask)
            assert isinstance(failed, Failed)
            assert failed.kind == "model"
            assert failed.message.startswith(f"expected a model bundle in {folder}, but ")
            assert says in failed.message
    assert (tiny_bundle / METADATA).is_file()
    assert isinstance(answer(warm_worker, client, client.request(chest, tiny_bundle, device="cpu")), Done)


def test_an_image_that_the_model_cannot_use_is_told_in_the_models_words(
    warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    volume = MedicalImage(sitk.Image((8, 8, 8), sitk.sitkInt16), SpacingSource.CALIBRATED, "thorax")
    with pytest.raises(InputError) as expected:
        open_predictor(str(tiny_bundle), "cpu").predict(volume)
    request = client.request(volume, tiny_bundle, device="cpu")
    assert answer(warm_worker, client, request) == Failed(request, "image", str(expected.value))
    waves = MedicalImage(sitk.Image((8, 8, 1), sitk.sitkComplexFloat32), SpacingSource.UNKNOWN, "waves")
    failed = answer(warm_worker, client, client.request(waves, tiny_bundle, device="cpu"))
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.message[:60]) == (
        "image",
        "expected an image of whole or floating numbers, waves has co",
    )


def test_a_mistake_of_ours_is_one_line_and_its_traceback_is_in_the_log(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    failed = answer(warm_worker, client, client.request(chest, tiny_bundle, device="quantum"))
    assert isinstance(failed, Failed)
    assert failed.kind == "internal"
    assert "\n" not in failed.message
    assert f"{chest.name}: expected a prediction, got an error of this program (RuntimeError: " in failed.message
    assert "Traceback (most recent call last)" in warm_worker.log()
    assert isinstance(answer(warm_worker, client, client.request(chest, tiny_bundle, device="cpu")), Done)


@pytest.fixture(scope="module")
def lean_worker(launch: Launch) -> Iterator[Worker]:
    """One that did nothing else before: what others predicted leaves memory behind that is used again."""
    with Worker(launch) as worker:
        keeper = worker.client()
        yield worker
        keeper.close()


@pytest.fixture
def limit_memory(lean_worker: Worker) -> Iterator[Callable[[int], None]]:
    """``limit_memory(mib)``: the worker may have so much more memory than it has now."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit the memory of a running process")
    limits = resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)

    def limit(more_mib: int) -> None:
        assert lean_worker.pid is not None
        pages = int(Path(f"/proc/{lean_worker.pid}/statm").read_text().split()[0])
        soft = pages * resource.getpagesize() + (more_mib << 20)
        resource.prlimit(lean_worker.pid, limits[0], (soft, limits[1][1]))

    yield limit
    assert lean_worker.pid is not None
    resource.prlimit(lean_worker.pid, *limits)


@pytest.mark.parametrize("where", ["receiving", "ITK", "numpy", "torch"])
def test_too_little_memory_is_told_and_the_worker_goes_on(
    where: str,
    limit_memory: Callable[[int], None],
    lean_worker: Worker,
    tiny_bundle: Path,
    chest: MedicalImage,
    tmp_path: Path,
) -> None:
    """A film of 96 MiB is received, copied by ITK, then by numpy; the network needs 256 MiB for its first layer."""
    client = lean_worker.client()
    film_96_mib, more_mib, says = film(8192, 12288, np.uint8), 0, ""
    model = tiny_bundle
    if where == "receiving":
        more_mib, says = 60, "the image could not be received"
    elif where == "ITK":
        more_mib, says = 140, "Failed to allocate memory for image"
    elif where == "numpy":
        more_mib, says = 230, "Unable to allocate 96"
    else:
        more_mib, says = 200, "DefaultCPUAllocator: can't allocate memory"
        model = tmp_path / "large_grid"
        write_untrained(model, tiny_bundle, (64, 128), (1024, 1024))
    image = chest if where == "torch" else film_96_mib
    first = answer(lean_worker, client, client.request(chest, tiny_bundle, device="cpu"))
    assert isinstance(first, Done)
    pid, before = lean_worker.pid, lean_worker.log()
    limit_memory(more_mib)
    failed = answer(lean_worker, client, client.request(image, model, device="cpu"))
    assert isinstance(failed, Failed), failed
    said = lean_worker.log().removeprefix(before)
    assert (failed.kind, says in said) == ("memory", True), (failed, said)
    assert failed.message.startswith(f"expected memory for {image.name}, got none.")
    assert isinstance(answer(lean_worker, client, client.request(chest, tiny_bundle, device="cpu")), Done)
    assert lean_worker.pid == pid


# ---- no waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.timed
def test_a_window_goes_on_while_a_hundred_megabytes_are_sent(
    warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image = film(7200, 7200)
    assert 100e6 < 2 * np.prod(image.geometry.size) < 110e6
    taken = []
    began = time.perf_counter()
    client.request(image, tiny_bundle, device="cpu")
    taken.append(time.perf_counter() - began)
    sending = []
    done = None
    while done is None:
        began = time.perf_counter()
        warm_worker.poll()
        taken.append(time.perf_counter() - began)
        for event in client.events():
            sending += [event] if isinstance(event, Progress) and event.text == "sending the image" else []
            done = event if isinstance(event, Done | Failed) else None
        time.sleep(0.01)
    assert isinstance(done, Done)
    assert sending  # it did not all go at once
    assert max(taken) < 0.05, sorted(taken)[-5:]
