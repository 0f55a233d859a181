"""Files that come in from the browser: images into the library, landmarks into the open case, nothing anywhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from DenseLandmarksLib.annotation.exports.result_name import IMAGE_SUFFIXES, file_stem, plain_name
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.import_files import LANDMARK_SUFFIXES, is_landmark_file
from DenseLandmarksLib.annotation.library.once import hidden_folder, telling_disk_errors
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.workbench import Workbench

T = TypeVar("T")

MAX_BYTES = 512 << 20
STALL_S = 60.0
# What a form says around its file.
_FORM_BYTES = 64 << 10
_CHUNK_BYTES = 256 << 10
_MOST_SLICES = 4096
# File systems take 255 bytes for a name.
_LONGEST_BYTES = 180


class Uploads:
    """``POST /upload`` with one image or file of landmarks.

    The bytes themselves with ``?name=``; or a form with a file, or with the files of a DICOM series, which are one volume.
    """

    def __init__(self, bench: Workbench, max_bytes: int = MAX_BYTES, stall_s: float = STALL_S) -> None:
        """Who sends nothing for ``stall_s`` is not waited for."""
        self._bench, self._max_bytes, self._stall_s = bench, max_bytes, stall_s
        self._adding = asyncio.Lock()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take one file in, and answer with the case of an image; what cannot be used is answered in one line, and is gone."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        try:
            library = self._bench.need_library()
            with telling_disk_errors(library.folder), hidden_folder(library.folder) as folder:
                path = await self._receive(request, folder)
                with _named(path):
                    if path.is_file() and is_landmark_file(path):
                        self._import_landmarks(path)
                        return web.json_response({}, status=201)
                    async with self._adding:
                        # In a thread: reading a volume takes seconds, and the page goes on meanwhile.
                        case = await asyncio.to_thread(library.add, path, copy=True, who=self._bench.who)
        except InputError as error:
            return _refuse(422, str(error))
        except _StalledError:
            return _refuse(
                408, f"expected the rest of the file, got nothing for {self._stall_s:g} seconds. Send it again."
            )
        except _TooLargeError:
            return self._too_large()
        return web.json_response({"case": case.id, "name": case.name}, status=201)

    def refusal(self, request: web.Request) -> web.Response | None:
        """What can be refused by the head of a request, before any of the body is read."""
        if request.content_length is not None and request.content_length > self._max_bytes + _FORM_BYTES:
            return self._too_large()
        if "Content-Encoding" in request.headers:
            return _refuse(415, "expected a file as it is, got an encoded one. Send it without Content-Encoding.")
        return None

    async def _receive(self, request: web.Request, folder: Path) -> Path:
        """Write what comes to a file in ``folder`` while it comes; or to a folder there, when several do."""
        if request.content_type != "multipart/form-data":
            path = folder / name_of(request.query.get("name", ""))
            await self._write(path, request.content.iter_chunked(_CHUNK_BYTES))
            return path
        slices = folder / ".slices"  # which no file is called, see name_of
        slices.mkdir()
        names: list[str] = []
        written = 0
        try:
            form = await request.multipart()
            while (part := await self._soon(form.next())) is not None or not names:
                if not isinstance(part, BodyPartReader) or part.filename is None:
                    raise ValueError("no file")
                if len(names) == _MOST_SLICES:
                    raise ValueError("too many files")
                names.append(name_of(part.filename))
                # Two may have one name, and a line about one says it.
                slice_path = slices / f"{len(names):05}-{names[-1]}"
                written += await self._write(slice_path, _chunks_of(part), written)
        except (ValueError, HttpProcessingError):
            raise InputError(
                "expected a form with one file, or the files of one series, got another. Send each image by itself."
            ) from None
        if len(names) > 1:
            return slices.rename(folder / file_stem(Path(names[0])))
        return slice_path.rename(folder / names[0])

    async def _write(self, path: Path, chunks: AsyncIterator[bytes], before: int = 0) -> int:
        """How many bytes came; ``before`` so many came of the same image."""
        written = 0
        with path.open("xb") as file:
            while True:
                chunk = await self._soon(anext(chunks, b""))
                if not chunk:
                    return written
                written += len(chunk)
                if before + written > self._max_bytes:
                    raise _TooLargeError
                file.write(chunk)

    async def _soon(self, coming: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._stall_s):
                return await coming
        except TimeoutError:  # for Python one of the disk's errors
            raise _StalledError from None

    def _import_landmarks(self, path: Path) -> None:
        session = self._bench.session
        if session is None:
            raise InputError("expected an open case to import landmarks into, got none. Open one first.")
        read = read_landmarks(path, session.state.geometry, session.case.name)
        if not self._bench.do(Session.import_landmarks, read):
            raise InputError(self._bench.lines[-1])

    def _too_large(self) -> web.Response:
        limit = self._max_bytes / (1 << 20)
        return _refuse(
            413, f"expected an image of at most {limit:g} MiB, got a larger one. Add it with 'dense-landmarks import'."
        )


def name_of(given: str) -> str:
    """A file's name for what a browser calls a file: whatever that is, it names no other place and nothing hidden."""
    last = re.split(r"[/\\]", given)[-1]
    endings = (*LANDMARK_SUFFIXES, *IMAGE_SUFFIXES)
    suffix = next((suffix for suffix in endings if last.lower().endswith(suffix)), "")
    stem = plain_name(last[: len(last) - len(suffix)]).encode()[:_LONGEST_BYTES].decode(errors="ignore")
    return (stem or "image") + suffix


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have lines name the file as the person does, not where it lies for a moment."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from None


class _TooLargeError(Exception):
    """More came than may be."""


class _StalledError(Exception):
    """Nothing came for too long."""


async def _chunks_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield chunk


def _refuse(status: int, line: str) -> web.Response:
    answer = web.Response(status=status, text=f"{line}\n")
    answer.force_close()  # the rest of the body is not read
    return answer
