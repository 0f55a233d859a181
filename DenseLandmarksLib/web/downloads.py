"""Files that go out to the browser: what this session exported, named by us, and nothing else on the disk."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from DenseLandmarksLib.annotation.exports.result_name import plain_name

# An export is fetched as soon as it is made; older ones give their room back.
_KEPT = 8


@dataclass(frozen=True)
class _Offer:
    path: Path
    name: str


class Downloads:
    """``GET /download/<key>``, for exports that were offered; they lie in a folder that nobody else can read."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dense-landmarks-"))
        self._offers: dict[str, _Offer] = {}

    def new_folder(self) -> Path:
        """An empty folder to export into, for :meth:`offer`."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def offer(self, folder: Path, title: str) -> str:
        """Offer all files of a :meth:`new_folder` as one zip file called like ``title``; returns its address in the page.

        The folder is gone then. Raises ``ValueError`` for any other folder.
        """
        if folder.parent != self._folder or not folder.is_dir() or folder.is_symlink():
            raise ValueError(f"expected a folder of this session's exports, got {folder}")
        key = secrets.token_urlsafe(16)
        path = self._folder / f"{key}.zip"
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.is_symlink():
                    archive.write(file, file.relative_to(folder))
        shutil.rmtree(folder)
        self._offers[key] = _Offer(path, f"{plain_name(title) or 'landmarks'}.zip")
        for old in list(self._offers)[:-_KEPT]:
            self._offers.pop(old).path.unlink(missing_ok=True)
        return f"download/{key}"

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send what was offered; what a browser names is looked up in a table and is never a path."""
        offer = self._offers.get(request.match_info["key"])
        if offer is None:
            return web.Response(status=404, text="expected an export of this session, got none. Export again.\n")
        disposition = f"attachment; filename*=UTF-8''{quote(offer.name)}"
        return web.FileResponse(offer.path, headers={"Content-Disposition": disposition})

    def close(self) -> None:
        """Remove all of it."""
        self._offers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
