"""A model that is for demonstration is offered last and as such, and can be chosen like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from DenseLandmarksLib.models import versions
from Testing.models.volume_model import write_volume_bundle
from Testing.web.test_app import Person, anna, library  # noqa: F401  fixtures


def test_a_demonstration_is_offered_last(
    anna: Person,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(versions.SHIPPED / "chest-xray", tmp_path / "shipped" / "chest-xray")
    write_volume_bundle(tmp_path / "shipped" / "a-phantom", demonstration=True)
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    anna.page.show()
    assert anna.sees("models") == [
        {"value": "chest-xray", "title": "chest-xray"},
        {"value": "a-phantom", "title": "a-phantom (demonstration)"},
    ]
    assert anna.page.frame.chosen("model") == "chest-xray"
    anna.chooses(model="a-phantom")
    assert anna.page.frame.chosen("model") == "a-phantom"
    about = anna.sees("model_about")
    assert (about["name"], about["structures"], about["landmarks"]) == ("a-phantom 1.0.0", [], 4)
