"""What is kept on this computer and not in the scene: who works here, and in which library."""

from __future__ import annotations

import getpass
from pathlib import Path

import qt

_WHO, _LIBRARY = "DenseLandmarks/Who", "DenseLandmarks/Library"


class Settings:
    """The application's settings, as far as they are ours."""

    def __init__(self) -> None:
        self._kept = qt.QSettings()

    @property
    def who(self) -> str:
        """The person at work, as revisions name them: what they said last, else the user of this computer."""
        said = str(self._kept.value(_WHO, "") or "")
        if said:
            return said
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):  # nobody is logged in
            return ""

    @who.setter
    def who(self, name: str) -> None:
        self._kept.setValue(_WHO, name.strip())

    @property
    def library(self) -> Path | None:
        """The folder of the library that was open last."""
        said = str(self._kept.value(_LIBRARY, "") or "")
        return Path(said) if said else None

    @library.setter
    def library(self, folder: Path) -> None:
        self._kept.setValue(_LIBRARY, str(folder))
