"""Images that become cases of a library, one file at a time, for windows that must not wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.annotation.find_files import Slices, is_meant, list_files
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError


@dataclass(frozen=True)
class ImportedImage:
    """What came of one image: its case, or the ``problem`` in one line."""

    path: Path
    case: LibraryCase | None = None
    problem: str = ""


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    images : what came of each.
    passed_over : how many other files lie in the folders that were given.
    notes : one line each, on what is not in the library.
    whole : false where an image could not be used, or somebody stopped it: the notes say which.
    """

    images: tuple[ImportedImage, ...]
    passed_over: int
    notes: tuple[str, ...] = ()
    whole: bool = True


class ImportRun:
    """An import under way.

    Attributes
    ----------
    done, total : how many files it has looked at, and of how many; in folders not all of them are images.
    last : what came of the last file, ``None`` where it is no image, or one more slice of one that was added before.
    """

    def __init__(
        self,
        library: Library,
        paths: Sequence[Path],
        who: str = "",
        copy: bool = False,
        spacing_mm: tuple[float, float] | None = None,
    ) -> None:
        """Begin; no file is opened yet.

        ``paths`` are images, and folders in which all images are meant, those in their folders too. The rest is as
        :meth:`Library.add` takes it.
        """
        self._library, self._who, self._copy, self._spacing_mm = library, who, copy, spacing_mm
        self._files = list_files(paths)
        self._slices = Slices(self._files)
        self._images: list[ImportedImage] = []
        self._passed_over, self._stopped = 0, ""
        self.done, self.total = 0, len(self._files)
        self.last: ImportedImage | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do, also because somebody stopped it."""
        return self._stopped != "" or self.done == self.total

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def result(self) -> Imported:
        """What came of it so far."""
        problems = tuple(image.problem for image in self._images if image.problem)
        notes = (*problems, self._stopped) if self._stopped else problems
        return Imported(tuple(self._images), self._passed_over, notes, not notes)

    def step(self) -> bool:
        """Look at one file, and add it where it is an image; returns whether there is more to do.

        An image that cannot be used is noted and does not stop the others. Slices of a series become one case with the first.
        """
        if self.is_over:
            return False
        image = self._slices.image_of(self._files[self.done])
        self.done += 1
        self.last = self._add(image.path) if image is not None and is_meant(image) else None
        if self.last is not None:
            self._images.append(self.last)
        elif image is not None:
            self._passed_over += 1
        return not self.is_over

    def cancel(self) -> None:
        """Stop; the images that are in the library stay there."""
        if not self.is_over:
            self._stopped = f"stopped after {self.done} of {self.total} files; images that it had not come to are not in the library"

    def _add(self, path: Path) -> ImportedImage:
        try:
            return ImportedImage(path, self._library.add(path, self._copy, self._who, self._spacing_mm))
        except InputError as error:
            return ImportedImage(path, problem=str(error))
