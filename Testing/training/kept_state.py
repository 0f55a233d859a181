"""What a training run leaves behind, read again and compared to the last bit."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DenseLandmarksLib.models.bundle import load_bundle
from training.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def rows_of(path: Path) -> list[dict[str, float]]:
    """The rows of a run's curves."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def state_of(run: Path) -> dict[str, Any]:
    """The checkpoint of a run."""
    return torch.load(run / "checkpoint.pt", weights_only=True)


def damaged_copies(path: Path) -> list[Path]:
    """Copies of a file, beside it: empty, cut off at several places, and with bytes in the middle that are others."""
    whole = path.read_bytes()
    garbled = bytearray(whole)
    garbled[len(whole) // 2 : len(whole) // 2 + 64] = bytes(range(64))
    contents = [b"", *(whole[: len(whole) * part // 8] for part in (1, 4, 7)), whole[:-1], bytes(garbled)]
    copies = [path.with_name(f"damaged-{number}{path.suffix}") for number in range(len(contents))]
    for copy, content in zip(copies, contents, strict=True):
        copy.write_bytes(content)
    return copies


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Two checkpoints hold the same to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_a_packed_file_teaches_the_same(recipe_toml: str, data: Path, folder: Path) -> None:
    """A run on a packed file, where no image can be read, is that on the data folder which is stopped after each part."""
    recipe, packed = folder / "tiny.toml", folder / "packed.npz"
    recipe.write_text(recipe_toml)
    assert main(["pack", "--data", str(data), "--output", str(packed), "--recipe", str(recipe), "--train-only"]) == 0
    absent = ("SimpleITK", "pydicom", "matplotlib", "slicerio", "nrrd")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "from training.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["fit", str(recipe), "--device", "cpu"]
    there = subprocess.Popen(
        [sys.executable, "-c", program, *command, "--data", str(packed), "--output", str(folder / "there")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    here = [*command, "--data", str(data), "--output", str(folder / "here"), "--max-minutes", "0"]
    assert main(here) == 3
    assert state_of(folder / "here")["epoch"] == 1
    while (status := main([*here, "--resume"])) == 3:
        pass
    assert status == 0
    _, said = there.communicate(timeout=120)
    assert there.returncode == 0, said
    assert_same(state_of(folder / "there"), state_of(folder / "here"))
    one, other = (load_bundle(folder / run / "bundle") for run in ("there", "here"))
    assert one.inference == other.inference
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, other.weights[name])
