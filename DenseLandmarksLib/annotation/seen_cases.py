"""Whose predictions a person looked at on this computer, also where nothing was decided and nothing saved.

::

    <user's data folder>/seen/<case>/<hash of library and person>
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from DenseLandmarksLib.annotation.library.case import one_line

logger = logging.getLogger(__name__)

_SEEN = "seen"


class SeenCases:
    """What is noted stays noted when the program ends: such a case is not this person's to decide blind."""

    def __init__(self, data_folder: Path) -> None:
        self._folder = data_folder / _SEEN
        self._noted: set[tuple[str, str, str]] = set()

    def note(self, library_id: str, case_id: str, who: str) -> None:
        """A prediction of this case is in sight; where that cannot be written it is known until the program ends."""
        seen = library_id, case_id, who
        if seen in self._noted:
            return
        self._noted.add(seen)
        path = self._path(*seen)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            logger.warning("that a prediction of case %s was seen could not be written (%s)", case_id, error.strerror)

    def __contains__(self, seen: tuple[str, str, str]) -> bool:
        """Whether this was noted of a library, a case and a person; since the program runs by whatever name they worked."""
        return seen[:2] in {noted[:2] for noted in self._noted} or self._path(*seen).is_file()

    def _path(self, library_id: str, case_id: str, who: str) -> Path:
        # Names of people stay out of file names.
        person = hashlib.sha256(f"{library_id} {one_line(who)}".encode()).hexdigest()[:16]
        return self._folder / case_id / person
