"""A library of cases in one folder, which many people may work in at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DenseLandmarksLib.annotation.case_key import case_key
from DenseLandmarksLib.annotation.exports.result_name import plain_name, safe_name
from DenseLandmarksLib.annotation.library.case import (
    CASE_FILE,
    LibraryCase,
    case_to_dict,
    now,
    one_line,
    read_case,
)
from DenseLandmarksLib.annotation.library.image_reference import (
    ImageReference,
    copy_image,
    reference_to,
    write_pixels,
)
from DenseLandmarksLib.annotation.library.json_file import read_json, to_bytes
from DenseLandmarksLib.annotation.library.next_case import CaseEntry, NextCase, Order, next_case
from DenseLandmarksLib.annotation.library.once import appear, create_file, hidden_folder, telling_disk_errors
from DenseLandmarksLib.annotation.library.patient_key import patient_key
from DenseLandmarksLib.annotation.library.template_extension import DefinedLandmark, add_to_extension, read_extension
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_identifiers import read_identifiers
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

FORMAT = 1
LIBRARY_FILE = "library.json"
_SALT_LENGTH = 32


@dataclass(frozen=True)
class Library:
    """A library that is open: :meth:`create` or :meth:`open` one. Attributes: its folder, id and name."""

    folder: Path
    id: str
    name: str
    _salt: bytes = field(repr=False)

    @classmethod
    def create(cls, folder: Path, name: str) -> Library:
        """Make a folder a library, creating it where it is missing; raises :class:`InputError` where it is one already."""
        folder = Path(folder)
        if not name.strip():
            raise InputError("expected a name for the library, got none. Name it.")
        content = {
            "format": FORMAT,
            "id": secrets.token_hex(8),
            "name": one_line(name),
            "salt": secrets.token_hex(_SALT_LENGTH),
            "created": now(),
        }
        with telling_disk_errors(folder):
            if not create_file(folder / LIBRARY_FILE, to_bytes(content)):
                raise InputError(f"expected a folder without a library, got {folder}. Open it, or name another folder.")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Library:
        """Open a library; raises :class:`InputError`, in one line, for a folder that is none, and for a newer format."""
        folder = Path(folder)
        path = folder / LIBRARY_FILE
        raw = read_json(path, "a case library", "Name the folder of a library, or create one there.")
        stated = raw.get("format")
        if stated != FORMAT:
            newer = isinstance(stated, int) and stated > FORMAT
            raise InputError(
                f"expected a library in format {FORMAT} in {folder}, got format {str(stated)[:40]!r}. "
                + ("Update this program." if newer else "Restore library.json from a backup.")
            )
        try:
            salt = bytes.fromhex(raw["salt"])
            if len(salt) != _SALT_LENGTH or not isinstance(raw["id"], str) or not isinstance(raw["name"], str):
                raise ValueError("no salt, id or name")
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"expected a case library in {path}, got a file that is damaged. Restore it from a backup."
            ) from None
        return cls(folder, raw["id"], raw["name"], salt)

    def cases(self) -> tuple[CaseEntry, ...]:
        """All cases by name, each with its newest revision in brief; damaged ones carry a line that says so."""
        return tuple(sorted(map(self._entry, self._case_ids()), key=lambda entry: (entry.name.casefold(), entry.id)))

    def case(self, case_id: str) -> LibraryCase:
        """One case; raises :class:`InputError` where there is none of that id, or it is damaged."""
        if case_id not in self._case_ids():
            raise InputError(f"expected a case of the library {self.name}, got {case_id!r}. Choose one from its list.")
        return read_case(self.folder, self._cases / case_id, self.id, self._salt)

    def find(self, image: MedicalImage) -> LibraryCase | None:
        """The case of these pixels, ``None`` where the library has none; nothing is made.

        Raises :class:`InputError` where that case is damaged.
        """
        case_id = case_key(image, self._salt)
        return self.case(case_id) if (self._cases / case_id).exists() else None

    def patient_of(self, image_path: Path) -> str:
        """The key that cases of this image's patient have; empty where the file does not say who that is."""
        return patient_key(image_path, self._salt)

    def add(
        self, image_path: Path, copy: bool = False, who: str = "", spacing_mm: tuple[float, float] | None = None
    ) -> LibraryCase:
        """The case of an image, made where there is none: whoever adds the same pixels gets the same case.

        Parameters
        ----------
        image_path : a file, or a folder with one image or series, as :func:`read_image` takes it.
        copy : keep a copy of the image in the case, DICOM's tags included; else only where it is, relative to the library.
        spacing_mm : pixel size (x, y), for a file that does not state one.

        Where the image of an existing case has gone, it is noted that it is at ``image_path`` now. Raises
        :class:`InputError`, in one line, for an image that cannot be read and where nothing can be written.
        """
        image_path = Path(image_path)
        image = read_image(image_path, spacing_mm)
        case_id = case_key(image, self._salt)
        if not (self._cases / case_id).exists():
            name = safe_name(image_path, read_identifiers(image_path)) or ""
            with telling_disk_errors(self.folder), hidden_folder(self._cases) as hidden:
                reference = copy_image(image_path, hidden) if copy else reference_to(image_path, self.folder)
                if copy and not self._is_whole(reference.resolve(self.folder, hidden), case_id):
                    raise InputError(
                        f"expected an image to copy that is whole in {image_path}, got one with its pixels in another "
                        "file. Convert it to one file, or add it without a copy."
                    )
                self._make(hidden, case_id, name, image, reference, image_path, who)
        case = self.case(case_id)
        if not case.image_path.exists():
            case.relink(image_path, who, copy)
        return case

    def add_pixels(self, image: MedicalImage, name: str = "", who: str = "", origin: Path | None = None) -> LibraryCase:
        """The case of an image that is in memory, made where there is none, with a copy of its pixels.

        Parameters
        ----------
        name : what people will call the case; what cannot stand in the name of a file is replaced.
        origin : the file that the image came from, where that is known. It says of which patient the image is, and is
            neither copied nor noted: its tags name the patient, and it may lie in a place that does not last.

        Where the image of an existing case has gone, the copy is its image from now on. Raises :class:`InputError`, in one
        line, for an image that no file can hold and where nothing can be written.
        """
        with telling_disk_errors(self.folder), hidden_folder(self._cases) as hidden:
            reference = write_pixels(image, hidden)
            path = reference.resolve(self.folder, hidden)
            try:
                case_id = case_key(read_image(path), self._salt)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name or "image")) from None
            if not (self._cases / case_id).exists():
                self._make(hidden, case_id, plain_name(name), image, reference, origin, who)
            case = self.case(case_id)
            if not case.image_path.exists():
                case.relink(path, who, copy=True)
        return case

    def new_landmarks(self) -> tuple[NewLandmark, ...]:
        """The template extension, the oldest entry first; raises :class:`InputError` where one is damaged."""
        return tuple(entry.landmark for entry in read_extension(self._landmarks))

    def add_new_landmark(self, landmark: NewLandmark, who: str = "") -> bool:
        """Add an entry to the template extension; false where it is there already.

        Raises :class:`InputError` where its name has another definition, and where nothing can be written.
        """
        with telling_disk_errors(self._landmarks):
            return add_to_extension(self._landmarks, DefinedLandmark(landmark, one_line(who), now()))

    def extend(self, landmarks: Sequence[NewLandmark], who: str = "") -> tuple[str, ...]:
        """Add what the template extension does not have yet; returns a line for each that it cannot take."""
        conflicts = []
        for landmark in landmarks:
            try:
                self.add_new_landmark(landmark, who)
            except InputError as error:
                conflicts.append(str(error))
        return tuple(conflicts)

    def next_case(self, order: Order = "doubt", after: str | None = None, seed: int = 0) -> NextCase | None:
        """The case to look at next, and why; see :func:`~.next_case.next_case`."""
        return next_case(self.cases(), order, after, seed)

    @property
    def _cases(self) -> Path:
        return self.folder / "cases"

    @property
    def _landmarks(self) -> Path:
        return self.folder / "landmarks"

    def _case_ids(self) -> list[str]:
        try:
            return sorted(path.name for path in self._cases.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    def _entry(self, case_id: str) -> CaseEntry:
        try:
            case = read_case(self.folder, self._cases / case_id, self.id, self._salt)
        except InputError as error:
            return CaseEntry(case_id, f"case-{case_id}", damage=str(error))
        newest, damage = case.newest()
        return CaseEntry(case_id, case.name, newest, damage, case.patient_key, case.geometry.size[2])

    def _make(
        self,
        hidden: Path,
        case_id: str,
        name: str,
        image: MedicalImage,
        reference: ImageReference,
        origin: Path | None,
        who: str,
    ) -> None:
        """Have a case appear that is under way in ``hidden``; somebody else may be quicker, and it is the same case."""
        patient = "" if origin is None else patient_key(origin, self._salt)
        content = case_to_dict(case_id, name or f"case-{case_id}", image, reference, patient, who)
        create_file(hidden / CASE_FILE, to_bytes(content))
        appear(hidden, self._cases / case_id)

    def _is_whole(self, copy: Path, case_id: str) -> bool:
        try:
            return case_key(read_image(copy), self._salt) == case_id
        except InputError:
            return False
