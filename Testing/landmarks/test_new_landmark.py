"""A landmark that a person added is kept in files: what was written is read, and what is broken is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

WHOLE = NewLandmark("apex", "heart", (0.25, -1.0625), "the tip", ("SCT", "32564004", "Apex of heart"))


@pytest.mark.parametrize("landmark", [WHOLE, NewLandmark("apex", "heart", (0.1, 1 / 3))])
def test_what_was_written_is_read_to_the_last_bit(landmark: NewLandmark) -> None:
    assert NewLandmark.from_dict(json.loads(json.dumps(landmark.to_dict()))) == landmark


def test_the_command_line_shows_it_as_it_takes_it() -> None:
    assert str(WHOLE) == "apex=heart:0.25,-1.0625"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 3},
        {"structure": " "},
        {"structure": None},
        {"uv": [0.1]},
        {"uv": [0.1, 0.2, 0.3]},
        {"uv": [0.1, float("nan")]},
        {"uv": ["left", 0.0]},
        {"uv": None},
        {"description": 7},
        {"code": ["SCT", "1"]},
        {"code": ["SCT", 1, "one"]},
    ],
    ids=str,
)
def test_an_entry_that_lacks_or_twists_something_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        NewLandmark.from_dict(WHOLE.to_dict() | change)


@pytest.mark.parametrize("key", ["name", "structure", "uv"])
def test_an_entry_without_what_it_needs_is_refused(key: str) -> None:
    raw = WHOLE.to_dict()
    del raw[key]
    with pytest.raises(KeyError):
        NewLandmark.from_dict(raw)
