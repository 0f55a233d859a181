"""Arrays come back bit for bit under the name of their content, and damaged files are told in one line."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.array_file import ArrayStore, MemoryStore, array_bytes
from DenseLandmarksLib.errors import InputError

ARRAYS = {
    "positions": np.array([[1 / 3, -0.0, np.nan], [np.inf, 5e-324, 1e308]]),
    "field": np.arange(24, dtype=">f4").reshape(2, 3, 4)[:, ::-1].T,
    "bits": np.packbits(np.eye(5, dtype=bool)),
    "mask": np.array([True, False]),
    "nothing": np.zeros((0, 3)),
    "one": np.array(7, np.int64),
}
HEADER = {"kind": "test", "names": ["ä", "肺", "\udc80"], "order": {"z": 1, "a": 2}}


def test_header_and_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "arrays")
    header, arrays = store.get(store.put(HEADER, ARRAYS))
    assert header == HEADER
    assert list(header["order"]) == ["z", "a"]
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].shape == array.shape
        assert arrays[name].dtype == array.dtype.newbyteorder("<")
        assert arrays[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_the_same_content_is_kept_once_and_any_other_apart(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    key = store.put(HEADER, ARRAYS)
    reordered = dict(reversed([(name, np.array(array)) for name, array in ARRAYS.items()]))
    assert store.put(dict(HEADER), reordered) == key
    assert len(list(tmp_path.iterdir())) == 1
    values = np.arange(4.0)
    contents = [
        store.put({}, {"a": values}),
        store.put({}, {"b": values}),
        store.put({"a": 1}, {"a": values}),
        store.put({}, {"a": values.reshape(2, 2)}),
        store.put({}, {"a": values.view(np.int64)}),
        store.put({}, {"a": values, "b": np.zeros(0)}),
    ]
    assert len({key, *contents}) == 7
    assert len(list(tmp_path.iterdir())) == 7


def test_no_pickle_gets_in_and_none_is_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected an array of numbers"):
        array_bytes({}, {"a": np.array([object()])})
    with pytest.raises(ValueError, match="expected an array of numbers"):
        array_bytes({}, {"a": np.array(["text"])})
    with pytest.raises(ValueError, match="JSON compliant"):
        array_bytes({"a": float("nan")}, {})
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    file = io.BytesIO()
    harm = np.array([Harm()], dtype=object)
    np.savez(file, allow_pickle=True, **{"header.json": np.frombuffer(b"{}", np.uint8), "a": harm})
    store = ArrayStore(tmp_path)
    store.path("a" * 32).write_bytes(file.getvalue())
    with pytest.raises(InputError, match="got one that is damaged"):
        store.get("a" * 32)
    assert not ran.exists()
    pickle.loads(pickle.dumps(harm))
    assert ran.exists(), "the file was harmless, and this test proves nothing"


def test_every_damage_is_told_in_one_line(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    key = store.put(HEADER, ARRAYS)
    whole, undamaged = store.path(key).read_bytes(), store.get(key)[1]
    random = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(0, len(whole) - 1, 40)]
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole))] ^= 1 << random.integers(8)
        damaged.append(bytes(flipped))
    damaged += [b"", b"PK", b"\x93NUMPY\x01\x00", whole * 2, array_bytes(HEADER, {"a": np.zeros(1)})[1]]
    told = []
    for content in damaged:
        store.path(key).write_bytes(content)
        try:
            header, arrays = store.get(key)
        except InputError as error:
            told.append(str(error))
        else:  # a byte that says nothing, such as a date in the archive
            assert (header, arrays.keys()) == (HEADER, undamaged.keys())
            assert all(array.tobytes() == undamaged[name].tobytes() for name, array in arrays.items())
    assert len(told) > 0.6 * len(damaged)
    assert all(message.startswith("expected ") and key in message and "\n" not in message for message in told)


@pytest.mark.parametrize("key", ["", "0" * 31, "G" * 32, "../" + "0" * 29, None, 3, "x" * 1000])
def test_what_is_no_key_opens_no_file(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="expected the key of arrays") as told:
        ArrayStore(tmp_path).get(key)
    assert len(str(told.value)) < 300


def test_what_is_missing_and_what_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing there"):
        ArrayStore(tmp_path).get("0" * 32)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"expected to write arrays to .*, got 'Not a directory'"):
        ArrayStore(tmp_path / "file" / "arrays").put({}, {})


def test_what_is_kept_in_memory_is_what_a_folder_keeps(tmp_path: Path) -> None:
    folder, memory = ArrayStore(tmp_path), MemoryStore()
    key = folder.put(HEADER, ARRAYS)
    assert memory.put(HEADER, ARRAYS) == key
    assert memory.put({}, {"a": np.zeros(1)}) == folder.put({}, {"a": np.zeros(1)}) != key
    assert len(memory.keys) == 2
    (header, arrays), (wanted_header, wanted) = memory.get(key), folder.get(key)
    assert (header, list(arrays)) == (wanted_header, list(wanted))
    assert list(header["order"]) == ["z", "a"]
    for name, array in wanted.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()
    with pytest.raises(ValueError, match="expected an array of numbers"):
        memory.put({}, {"a": np.array([object()])})


def test_nobody_can_change_what_is_kept_in_memory() -> None:
    memory, given = MemoryStore(), np.zeros(3, np.uint8)
    key = memory.put({"a": [1]}, {"a": given})
    header, arrays = memory.get(key)
    header["a"].append(2)
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0] = 1
    arrays["b"] = given
    assert memory.get(key)[0] == {"a": [1]}
    assert list(memory.get(key)[1]) == ["a"]
    given[0] = 1  # the giver's own array stays the giver's


def test_an_array_file_can_be_taken_into_memory_and_damage_is_told_in_one_line() -> None:
    memory = MemoryStore("the record of a case")
    key, whole = array_bytes(HEADER, ARRAYS)
    assert memory.put_bytes(whole) == key
    assert memory.get(key)[0] == HEADER
    no_header, no_object = io.BytesIO(), io.BytesIO()
    np.savez(no_header, a=np.zeros(1))
    np.savez(no_object, **{"header.json": np.frombuffer(b"[]", np.uint8)})
    for damaged in (b"", b"PK", whole[:100], no_header.getvalue(), no_object.getvalue()):
        with pytest.raises(InputError, match=r"^expected a whole array file in the record of a case, got .*\.$"):
            memory.put_bytes(damaged)
    for no_key in ("0" * 32, None, 3, ["a"]):
        with pytest.raises(InputError, match=r"^expected the key of arrays in the record of a case, got .*\.$"):
            memory.get(no_key)  # type: ignore[arg-type]
    assert memory.keys == (key,)
