"""Work of earlier sessions that no revision holds."""

from __future__ import annotations

import logging
from pathlib import Path

from DenseLandmarksLib.annotation.journal import JournalContents, abandoned_journals, read_journal
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.errors import InputError

logger = logging.getLogger(__name__)


def abandoned_work(journals: Path, case: LibraryCase) -> tuple[JournalContents, ...]:
    """What was done in ``case``, in no revision, and by no session that is still open; the newest first.

    A journal that cannot be read at all is left where it is, and told in the log.
    """
    found: list[JournalContents] = []
    for path in abandoned_journals(journals):
        try:
            work = read_journal(path)
        except InputError as error:
            logger.warning("%s", error)
            continue
        if work.header.library == case.library_id and (work.history.unsaved or work.damage):
            found.append(work)
    if found:
        # A process may end between saving and writing down that it saved.
        tokens = {info.token for info in case.saved_since(0)}
        found = [work for work in found if state_token(work.path, work.end) not in tokens]
    return tuple(found)


def discard(work: JournalContents) -> None:
    """Never offer this work again. Its folder is only renamed."""
    try:
        work.path.rename(work.path.with_name(f".{work.path.name}"))
    except OSError as error:
        raise InputError(f"expected to put {work.path} aside, but {error}. Nothing was changed.") from error


def state_token(journal: Path, size: int) -> str:
    """What a session calls its state when its journal has ``size`` bytes."""
    return f"{journal.name}@{size}"
