"""Every version says where it comes from, and no number is ever given twice."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import METADATA
from DenseLandmarksLib.models.descent import descent_of, lineage, next_version, trained_on_by
from DenseLandmarksLib.models.manage_versions import add_version, delete_version, set_active
from DenseLandmarksLib.models.versions import list_versions

DESCENT: dict[str, Any] = {
    "parent": "tiny 1.0.0",
    "library": {"id": "0123456789abcdef", "name": "Ward 3"},
    "revisions": {"case-1": 2, "case-2": 5},
    "corrections": {"corrected": 20, "placed": 4, "verified": 10, "absent": 1},
    "new_landmarks": ["hilum"],
    "gate": {"before_mm": 3.25, "after_mm": 3.0, "outcome": "not worse", "line": "Not worse: ..."},
    "trained_on": ["case-0", "case-1", "case-2"],
    "when": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def data(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of a user to whom one model was shipped: tiny 1.0.0."""
    shutil.copytree(tiny_bundle, tmp_path / "shipped" / "tiny")
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "data"


def retrained(tiny_bundle: Path, folder: Path, data: Path, version: str, parent: str) -> None:
    """A version of the user's that descends from another."""
    trained = Path(shutil.copytree(tiny_bundle, folder / f"trained-{version}"))
    metadata = json.loads((trained / METADATA).read_text())
    said = metadata | {"name": "tiny", "version": version, "descent": DESCENT | {"parent": f"tiny {parent}"}}
    (trained / METADATA).write_text(json.dumps(said))
    add_version(trained, data)


def test_a_bundle_says_where_it_comes_from() -> None:
    descent = descent_of({"name": "tiny", "version": "1.0.0+1", "descent": DESCENT})
    assert descent is not None
    assert (descent.parent, descent.parent_version) == ("tiny 1.0.0", "1.0.0")
    assert (descent.library_id, descent.library_name) == ("0123456789abcdef", "Ward 3")
    assert descent.revisions == {"case-1": 2, "case-2": 5}
    assert descent.corrected == 25
    assert (descent.before_mm, descent.after_mm, descent.outcome) == (3.25, 3.0, "not worse")
    assert descent.trained_on == {"case-0", "case-1", "case-2"}
    assert descent.new_landmarks == ("hilum",)
    without = descent_of({"descent": {key: DESCENT[key] for key in ("parent", "library", "revisions", "corrections")}})
    assert without is not None
    assert (without.before_mm, without.outcome, without.trained_on) == (None, "", frozenset())


def test_the_state_of_a_library_is_the_same_for_the_same_revisions_alone() -> None:
    def state(revisions: dict[str, int]) -> str:
        descent = descent_of({"descent": DESCENT | {"revisions": revisions}})
        assert descent is not None
        return descent.library_state

    assert state({"case-1": 2, "case-2": 5}) == state({"case-2": 5, "case-1": 2})
    assert len({state(one) for one in ({"case-1": 2}, {"case-1": 3}, {"case-2": 2}, {})}) == 4


def test_a_model_that_was_trained_anew_has_no_descent() -> None:
    assert descent_of({"name": "tiny"}) is None
    assert trained_on_by({"name": "tiny"}) == frozenset()


@pytest.mark.parametrize(
    "damage", [3, [], {}, DESCENT | {"library": "x"}, DESCENT | {"parent": 1}, DESCENT | {"revisions": {"a": "b"}}]
)
def test_a_damaged_descent_is_told_in_the_log_and_stops_nobody(damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert descent_of({"name": "tiny", "version": "7", "descent": damage}) is None
    (line,) = caplog.messages
    assert line.startswith("expected the descent of tiny 7")
    # Whom it learnt from counts even then, as far as it can be read.
    known = isinstance(damage, dict) and "trained_on" in damage
    assert (trained_on_by({"descent": damage}) == {"case-0", "case-1", "case-2"}) is known


def test_the_line_of_ancestors_is_followed_as_far_as_they_are_there(
    tiny_bundle: Path, tmp_path: Path, data: Path
) -> None:
    for version, parent in (("1.0.0+1", "1.0.0"), ("1.0.0+2", "1.0.0+1"), ("1.0.0+3", "1.0.0")):
        retrained(tiny_bundle, tmp_path, data, version, parent)

    def line(version: str) -> list[str]:
        return [one.version for one in lineage(version, list_versions("tiny", data))]

    assert line("1.0.0+2") == ["1.0.0+2", "1.0.0+1", "1.0.0"]
    assert line("1.0.0+3") == ["1.0.0+3", "1.0.0"]
    assert line("9") == []
    delete_version("tiny", "1.0.0+1", data)
    assert line("1.0.0+2") == ["1.0.0+2"]


def test_a_version_that_descends_from_itself_ends_the_line(tiny_bundle: Path, tmp_path: Path, data: Path) -> None:
    retrained(tiny_bundle, tmp_path, data, "1.0.0+1", "1.0.0+2")
    retrained(tiny_bundle, tmp_path, data, "1.0.0+2", "1.0.0+1")
    assert [one.version for one in lineage("1.0.0+1", list_versions("tiny", data))] == ["1.0.0+1", "1.0.0+2"]


def test_the_next_version_is_one_that_nobody_has_or_had(tiny_bundle: Path, tmp_path: Path, data: Path) -> None:
    assert next_version("tiny", "1.0.0", data) == "1.0.0+1"
    assert next_version("another", "2.5", data) == "2.5+1"
    retrained(tiny_bundle, tmp_path, data, "1.0.0+1", "1.0.0")
    assert next_version("tiny", "1.0.0", data) == next_version("tiny", "1.0.0+1", data) == "1.0.0+2"
    retrained(tiny_bundle, tmp_path, data, "1.0.0+2", "1.0.0+1")
    retrained(tiny_bundle, tmp_path, data, "1.0.0+3", "1.0.0+2")
    # The second is gone, but the third goes on saying that it comes from it.
    delete_version("tiny", "1.0.0+2", data)
    assert next_version("tiny", "1.0.0", data) == "1.0.0+4"
    delete_version("tiny", "1.0.0+3", data)
    retrained(tiny_bundle, tmp_path, data, "1.0.0+9", "1.0.0")
    (data / "models" / "tiny" / "1.0.0+9" / METADATA).write_text("{")
    assert next_version("tiny", "1.0.0", data) == "1.0.0+10", "one that cannot be read has its number all the same"
    assert next_version("tiny", "1.1.0", data) == "1.1.0+1"


def test_going_back_is_one_call(tiny_bundle: Path, tmp_path: Path, data: Path) -> None:
    retrained(tiny_bundle, tmp_path, data, "1.0.0+1", "1.0.0")
    set_active("tiny", "1.0.0+1", data)
    assert [one.version for one in list_versions("tiny", data) if one.active] == ["1.0.0+1"]
    set_active("tiny", "1.0.0", data)
    assert [one.version for one in list_versions("tiny", data) if one.active] == ["1.0.0"]
    assert len(list_versions("tiny", data)) == 2
