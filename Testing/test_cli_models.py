"""``dense-landmarks models``: what a version learnt, and one call that goes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib import cli
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import METADATA
from DenseLandmarksLib.models.manage_versions import add_version, set_active
from DenseLandmarksLib.models.registry import find_bundle
from Testing.models.test_descent import DESCENT

Output = pytest.CaptureFixture[str]


@pytest.fixture
def models(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One shipped model, tiny 1.0.0, and two versions that were retrained, of which the second is active."""
    shutil.copytree(tiny_bundle, tmp_path / "shipped" / "tiny")
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    metadata = json.loads((tiny_bundle / METADATA).read_text())
    trained = Path(shutil.copytree(tiny_bundle, tmp_path / "trained"))
    for version, parent, gate in (("1.0.0+1", "1.0.0", DESCENT["gate"]), ("1.0.0+2", "1.0.0+1", {})):
        descent = DESCENT | {"parent": f"tiny {parent}", "gate": gate}
        (trained / METADATA).write_text(json.dumps({**metadata, "version": version, "descent": descent}))
        add_version(trained)
    set_active("tiny", "1.0.0+2")
    return tmp_path


def as_json(capsys: Output, *arguments: str) -> list[dict[str, Any]]:
    assert cli.main(["models", *arguments, "--json"]) == 0
    said: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return said


def test_people_are_told_what_a_version_learnt(models: Path, capsys: Output) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["tiny", "1.0.0", "no"],
        ["tiny", "1.0.0+1", "no"],
        ["tiny", "1.0.0+2", "yes"],
    ]
    assert lines[4] == (
        "tiny 1.0.0+1 from tiny 1.0.0: learnt from 2 cases of the library Ward 3, state c61a022a (35 landmarks: 20 "
        "corrected, 4 placed, 10 verified, 1 absent); new: hilum; 3.25 mm before, 3.00 mm after; not worse"
    )
    assert lines[5].startswith("tiny 1.0.0+2 from tiny 1.0.0+1 from 1.0.0: learnt from 2 cases")
    assert "mm before" not in lines[5]
    assert len(lines) == 6


def test_programs_are_told_all_of_it(models: Path, capsys: Output) -> None:
    shipped, first, second = as_json(capsys)
    assert (shipped["version"], shipped["shipped"], shipped["active"], shipped["descent"]) == (
        "1.0.0",
        True,
        False,
        None,
    )
    assert len(shipped["landmark_names"]) == 154
    assert (second["version"], second["active"], second["shipped"]) == ("1.0.0+2", True, False)
    descent = first["descent"]
    assert descent["parent"] == "tiny 1.0.0"
    assert descent["revisions"] == DESCENT["revisions"]
    assert descent["corrections"] == DESCENT["corrections"]
    assert (descent["before_mm"], descent["after_mm"], descent["outcome"]) == (3.25, 3.0, "not worse")
    assert descent["trained_on"] == DESCENT["trained_on"]
    assert descent["gate"] == DESCENT["gate"]
    assert as_json(capsys, "tiny") == [shipped, first, second]


def test_one_call_goes_back_and_on(models: Path, capsys: Output) -> None:
    assert cli.main(["models", "tiny", "--use", "1.0.0"]) == 0
    assert find_bundle("tiny") == models / "shipped" / "tiny"
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["tiny", "1.0.0", "yes"]
    assert [one["active"] for one in as_json(capsys, "tiny", "--use", "1.0.0+1")] == [False, True, False]
    assert find_bundle("tiny").name == "1.0.0+1"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("giant",), "expected the name of a model, got 'giant'. Models here: tiny."),
        (("giant", "--use", "1.0.0"), "expected the name of a model, got 'giant'. Models here: tiny."),
        (("tiny", "--use", "9"), "expected a version of the model tiny, got '9'. Choose one of these: 1.0.0, 1.0.0+1"),
        (("--use", "1.0.0"), "expected the name of a model for --use, got none."),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    models: Path, capsys: Output, arguments: tuple[str, ...], told: str
) -> None:
    assert cli.main(["models", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {told}")
    assert (len(captured.err.splitlines()), captured.out) == (1, "")
    assert find_bundle("tiny").name == "1.0.0+2"


def test_a_version_that_cannot_be_read_is_told_and_the_others_are_listed(models: Path, capsys: Output) -> None:
    (find_bundle("tiny") / METADATA).write_text("{")
    assert cli.main(["models", "tiny"]) == 0
    assert "tiny 1.0.0+2 cannot be used: " in capsys.readouterr().out
    broken = as_json(capsys, "tiny")[-1]
    assert (broken["version"], broken["descent"]) == ("1.0.0+2", None)
    assert broken["problem"].startswith("expected a model bundle")
