"""How every test of a reader asks for a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image


@pytest.fixture(scope="session")
def refusal() -> Callable[[Path], str]:
    """The one line that a person reads when a path is refused."""

    def message_of(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_image(path)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{path}: ")
        return message

    return message_of
