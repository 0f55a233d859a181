"""The journal: the list of edits of a session on disk, there before a command returns.

A journal is a folder of its own in the user's data folder::

    journal.jsonl   a header, then a line for each thing done; each line begins with the checksum of the rest
    arrays/         masks and predictions that the lines name

Lines are only ever appended. A process that is killed leaves at most its last line torn, which reading passes over;
what that line would have recorded had not been answered yet.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.edit_record import edit_from_record, edit_to_record
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.file_lock import is_locked, try_lock
from DenseLandmarksLib.annotation.history import History
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.errors import InputError

FORMAT = 1
_FILE = "journal.jsonl"


@dataclass(frozen=True)
class JournalHeader:
    """What a journal belongs to.

    Attributes
    ----------
    library, case : their ids.
    base_revision : the revision on which the edits stand, 0 for a case without any.
    who, when : the person, and the start of the session (ISO 8601, UTC).
    """

    library: str
    case: str
    base_revision: int
    who: str
    when: str


@dataclass(frozen=True)
class JournalContents:
    """A journal as it was read.

    Attributes
    ----------
    saved_revision : number of the newest revision that was saved, or else of the one below the edits.
    damage : one line where something behind the first damaged line was lost, else empty. A torn last line is no damage.
    end : bytes of the file up to the last line that could be read.
    """

    path: Path
    header: JournalHeader
    history: History
    saved_revision: int
    damage: str
    end: int


class Journal:
    """A journal that this process writes; others see that it is in use until the process ends, however it ends."""

    def __init__(self, folder: Path, file: FileIO) -> None:
        self.folder = folder
        self.store = ArrayStore(folder / "arrays")
        self._file = file

    @classmethod
    def start(cls, folder: Path, header: JournalHeader) -> Journal:
        """Begin a journal in a new folder inside ``folder``; raises :class:`InputError` where that is impossible."""
        own = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        with telling_disk_errors(own):
            own.mkdir(parents=True)
            journal = cls(own, _open_locked(own / _FILE))
        journal._append({"journal": FORMAT, **vars(header)})
        return journal

    @classmethod
    def go_on(cls, contents: JournalContents) -> Journal:
        """Go on with a journal that was read, behind its last whole line.

        Raises :class:`InputError` where another process has it in use.
        """
        with telling_disk_errors(contents.path):
            file = _open_locked(contents.path / _FILE)
            if contents.damage:  # whatever follows stays beside, for people who can read it
                shutil.copyfile(contents.path / _FILE, contents.path / f"{_FILE}.damaged")
            file.truncate(contents.end)
        return cls(contents.path, file)

    def record_edit(self, edit: Edit, at: int) -> None:
        """``edit`` is the next after ``at`` that are done."""
        with telling_disk_errors(self.folder):
            record = edit_to_record(edit, self.store)
        self._append({"at": at, "edit": record})

    def record_index(self, index: int) -> None:
        """A person moved to ``index`` edits done."""
        self._append({"index": index})

    def record_saved(self, revision: int) -> None:
        """Revision ``revision`` holds the case as it is now."""
        self._append({"saved": revision})

    @property
    def size(self) -> int:
        """Bytes written; grows with everything recorded."""
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Let go of the journal; it stays."""
        self._file.close()

    def remove(self) -> None:
        """Let go of the journal and remove it: everything in it is saved, or nothing was done."""
        self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, record: dict[str, Any]) -> None:
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        with telling_disk_errors(self.folder):
            start = self._file.seek(0, os.SEEK_END)
            try:
                if self._file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(start)  # half a line must not stand before the next one
                raise


def read_journal(folder: Path) -> JournalContents:
    """Read a journal; raises :class:`InputError` where not even its header can be read."""
    store = ArrayStore(folder / "arrays")
    try:
        raw = (folder / _FILE).read_bytes()
    except OSError as error:
        raise InputError(f"{folder}: expected a journal, got '{error.strerror}'. Nothing to recover there.") from error
    lines = list(_whole_lines(raw))
    try:
        first = json.loads(lines[0][1])
        if first.pop("journal") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        header = JournalHeader(**first)
    except (IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: expected a journal, got {error!r}. It cannot be recovered; keep the folder."
        ) from error
    history, saved_revision, end = History(), header.base_revision, len(lines[0][0])
    damage = "its last part is damaged" if b"\n" in raw[sum(len(line) for line, _ in lines) :] else ""
    for number, (line, body) in enumerate(lines[1:]):
        try:
            record = json.loads(body)
            if "edit" in record:
                history = history.at(int(record["at"])).after(edit_from_record(record["edit"], store))
            elif "saved" in record:
                history, saved_revision = history.saved(), int(record["saved"])
            else:
                history = history.at(int(record["index"]))
        except (ValueError, KeyError, TypeError, InputError) as error:
            damage = f"it cannot be read after {number} steps ({error})"
            break
        end += len(line)
    return JournalContents(folder, header, history, saved_revision, damage, end)


def journals_of(folder: Path) -> Iterator[JournalContents]:
    """What the journals inside ``folder`` hold that no process has in use, discarded ones too.

    Raises :class:`InputError` for one that cannot be read.
    """
    return (read_journal(path.parent) for path in sorted(folder.glob(f"*/{_FILE}")) if not is_locked(path))


def abandoned_journals(folder: Path) -> list[Path]:
    """Journals inside ``folder`` that no process has in use, the newest first; hidden ones were discarded."""
    found = [path.parent for path in folder.glob(f"[!.]*/{_FILE}") if not is_locked(path)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def _whole_lines(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each line with its end, and its body, up to the first that is torn or damaged."""
    for line in raw.splitlines(keepends=True):
        checksum, _, body = line[:-1].partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
            return
        yield line, body


def _open_locked(path: Path) -> FileIO:
    file = path.open("a+b", buffering=0)
    if not try_lock(file):
        file.close()
        raise InputError(f"expected {path.parent.name} to be free, but another window goes on with it. Close that one.")
    return file
