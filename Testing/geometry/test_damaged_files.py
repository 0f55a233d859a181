"""Damaged files end in one line: a sample of those that ``python -m Testing.damaged_files`` makes by the thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.damaged_files.generator import COMBINATIONS, DAMAGES, DamagedFile, damaged_file
from Testing.damaged_files.good_file import FORMATS, family, good_file, suffix
from Testing.damaged_files.reader import Reader, Reading
from Testing.damaged_files.verdict import faults

on_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux counts it; the command does as well"
)


def _sample() -> list[int]:
    """Seeds that show every format, and every kind of damage in every family of formats where it is fast."""
    seeds, shown = [], set()
    for seed in np.random.default_rng(0).permutation(len(COMBINATIONS)):
        damage, name = COMBINATIONS[seed]
        shows = {name, (damage.kind, family(name))}
        if not damage.slow and shows - shown:
            seeds.append(int(seed))
            shown |= shows
    return sorted(seeds)


def _id(seed: int) -> str:
    damage, name = COMBINATIONS[seed % len(COMBINATIONS)]
    return f"{seed}-{name}-{damage.name}".replace(" ", "_")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as opened:
        yield opened


@pytest.mark.parametrize("name", FORMATS)
def test_the_file_that_is_damaged_was_good(name: str, tmp_path: Path) -> None:
    for seed in range(3):
        path = tmp_path / f"a{suffix(name)}"
        path.write_bytes(good_file(name, np.random.default_rng(seed)))
        pixels = read_image(path).pixels_yx
        assert pixels.shape >= (48, 48)
        assert pixels.max() > 100


@on_linux
@pytest.mark.parametrize("seed", _sample(), ids=_id)
def test_a_damaged_file_is_refused_in_one_line(seed: int, reader: Reader, tmp_path: Path) -> None:
    file = damaged_file(seed, tmp_path)
    assert faults(file, reader.read(file.path)) == []
    assert list(tmp_path.iterdir()) == [file.path]


def test_predict_refuses_damaged_files_and_writes_nothing_but_a_summary(
    tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    seeds = [seed for seed in _sample() if COMBINATIONS[seed][0].must_fail][::12]
    files = [damaged_file(seed, tmp_path / "in").path for seed in seeds]
    status = cli.main(["predict", *map(str, files), "--model", str(tiny_bundle), "--output", str(tmp_path / "out")])
    lines = capfd.readouterr().err.splitlines()
    assert (status, len(lines)) == (2, len(files))
    for file, line in zip(files, lines, strict=True):
        assert line.startswith(f"error: {file}: expected ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [SUMMARY_FILE]


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for seed in _sample():
        first, again = damaged_file(seed, tmp_path), damaged_file(seed, tmp_path / "again")
        assert first.path.read_bytes() == again.path.read_bytes(), _id(seed)


def test_a_thousand_seeds_show_all_there_is_and_nearly_all_must_fail() -> None:
    assert len(COMBINATIONS) <= 1000
    assert {name for _, name in COMBINATIONS} == set(FORMATS)
    assert {damage for damage, _ in COMBINATIONS} == set(DAMAGES)
    assert sum(not damage.must_fail for damage, _ in COMBINATIONS) < 0.1 * len(COMBINATIONS)


GOOD = Reading("refused", "a.dcm: expected this, got that; do so", "", "", 0.1, 200 << 20, ())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"outcome": "read"}, "accepted although damaged"),
        ({"outcome": "crash"}, "crash"),
        ({"outcome": "timeout"}, "timeout"),
        ({"outcome": "traceback"}, "traceback"),
        ({"message": "a.dcm: one\ntwo"}, "not one line"),
        ({"message": ""}, "not one line"),
        ({"message": "expected this"}, "not named"),
        ({"message": "a.dcm: Traceback (most recent call last)"}, "a traceback"),
        ({"out": "warning\n"}, "printed"),
        ({"error": "warning\n"}, "printed"),
        ({"seconds": 10.5}, "10.5 s"),
        ({"peak_bytes": 3 << 30}, "3072 MiB"),
        ({"left_behind": ("core",)}, "left core"),
    ],
)
def test_every_fault_is_told(changes: dict[str, object], fault: str) -> None:
    file = DamagedFile(0, Path("a.dcm"), "DICOM RLE", "truncated", "in the middle", must_fail=True)
    assert faults(file, GOOD) == []
    assert fault in " ".join(faults(file, Reading(**{**vars(GOOD), **changes})))


@on_linux
def test_a_process_that_ends_is_told_and_replaced(tmp_path: Path) -> None:
    good = tmp_path / "a.png"
    good.write_bytes(good_file("PNG 8", np.random.default_rng(0)))
    with Reader() as reader:
        assert reader.read(good).outcome == "read"
        reader.kill()
        assert reader.read(good).outcome == "crash"
        assert reader.read(good).outcome == "read"
