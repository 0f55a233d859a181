"""One case of a library: its image, and every state that somebody saved."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.case_key import case_key
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.image_reference import (
    ImageReference,
    copy_again,
    newest_reference,
    reference_to,
    write_reference,
)
from DenseLandmarksLib.annotation.library.json_file import read_json
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.annotation.library.revision import (
    RevisionInfo,
    brief,
    read_info,
    read_state,
    revision_folder,
    revision_numbers,
    write_revision,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image

FORMAT = 1
CASE_FILE = "case.json"
_REMEDY = "Restore the file from a backup."


@dataclass(frozen=True)
class Saved:
    """What a save did: ``number`` of the new revision, the one it is ``based_on``, and what ``others`` saved in between.

    ``conflicts``, a clause each, are new landmarks that could not join the library's template extension.
    """

    number: int
    based_on: int
    others: tuple[RevisionInfo, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """One line for the person who saved."""
        said = "; ".join((f"saved as revision {self.number}", *self.conflicts))
        if not self.others:
            return said
        theirs = ", ".join(
            f"{info.who or 'somebody'} saved revision {info.number} ({info.when})" for info in self.others
        )
        return f"{said}; since revision {self.based_on} {theirs}: both stand, compare them and restore what is right"


@dataclass(frozen=True)
class LibraryCase:
    """One case.

    Attributes
    ----------
    library_id, id : 16 hexadecimal digits each; ``id`` is the key of the image's pixels, the same for everybody who adds
        that image to this library.
    name : what people call it; never a patient's name.
    geometry : of the image when it was added; the one in force is in each state.
    patient_key : the same for all images of one patient, empty where the image does not say.
    modality, body_part, view_position, laterality, patient_orientation : as in :class:`~.acquisition.Acquisition`; what
        the file stated that the image came from when it was added.
    added_by, added_when : the person, and the time (ISO 8601, UTC).
    library_folder, folder : where it is kept.
    """

    library_id: str
    id: str
    name: str
    geometry: ImageGeometry
    patient_key: str
    modality: str
    body_part: str
    view_position: str
    laterality: str
    patient_orientation: tuple[str, str] | None
    added_by: str
    added_when: str
    library_folder: Path
    folder: Path
    _first_reference: ImageReference = field(repr=False)
    _salt: bytes = field(repr=False)

    @property
    def store(self) -> ArrayStore:
        """Where the arrays of this case lie."""
        return ArrayStore(self.folder / "arrays")

    @property
    def acquisition(self) -> Acquisition:
        """What the file stated that the image came from when it was added."""
        return Acquisition(self.modality, self.body_part, self.view_position, self.laterality, self.patient_orientation)

    @property
    def _revisions(self) -> Path:
        return self.folder / "revisions"

    def revision_folder(self, number: int) -> Path:
        """Where the files of a revision lie, for programs that read them."""
        return revision_folder(self._revisions, number)

    def revision_numbers(self) -> tuple[int, ...]:
        """The numbers of all revisions, ascending, damaged ones too."""
        return tuple(revision_numbers(self._revisions))

    def info(self, number: int) -> RevisionInfo:
        """A revision in brief; raises :class:`InputError` where there is none or it is damaged."""
        return read_info(self._revisions, number)

    def newest(self) -> tuple[RevisionInfo | None, str]:
        """The newest revision that can be read, in brief, ``None`` without any; and a line about those that cannot."""
        damage = ""
        for number in reversed(self.revision_numbers()):
            try:
                return self.info(number), damage
            except InputError as error:
                damage = damage or str(error)
        return None, damage

    def saved_since(self, number: int) -> tuple[RevisionInfo, ...]:
        """What was saved after revision ``number``, the oldest first; what is damaged is left out."""
        found = []
        for later in self.revision_numbers():
            if later > number:
                try:
                    found.append(self.info(later))
                except InputError:
                    continue  # whoever opens it is told
        return tuple(found)

    def was_shown_to(self, who: str) -> bool:
        """Whether a person saved it with a prediction in sight.

        A run over the whole library saves too, and nobody looks at what comes of it: it has no session's token.
        """
        return any(
            bool(info.model) and (bool(info.token) or info.is_chosen_for_comparison) and info.who == one_line(who)
            for info in self.saved_since(0)
        )

    def load(self, number: int | None = None) -> tuple[CaseState, RevisionInfo | None]:
        """The state of a revision, the newest unless ``number`` is given; 0 is the image before anybody did anything.

        Raises :class:`InputError`, in one line that says which revision to open instead, where it cannot be read.
        """
        numbers = self.revision_numbers()
        wanted = (numbers[-1] if numbers else 0) if number is None else number
        if wanted == 0:
            return CaseState(self.geometry), None
        if wanted not in numbers:
            raise InputError(f"expected a revision of case {self.name}, got {wanted}. {_choice(numbers)}")
        try:
            return read_state(self._revisions, wanted, self.store, self.id), self.info(wanted)
        except InputError as error:
            before = [other for other in numbers if other < wanted]
            advice = f"revision {before[-1]} is the one before" if before else "there is none before"
            raise InputError(f"revision {wanted} of case {self.name} cannot be read, {advice}: {error}") from error

    def save(self, state: CaseState, who: str, based_on: int, why: str = "", token: str = "") -> Saved:
        """Write ``state`` as the next revision; what others saved since ``based_on`` stands, and is told.

        ``token`` as in :class:`RevisionInfo`.

        Raises :class:`InputError`, in one line, for a state of another image and where nothing can be written; the case
        is then as it was.
        """
        if state.geometry.size != self.geometry.size:
            raise InputError(
                f"expected a state of case {self.name}, whose image has {self.geometry.size} voxels, got one of "
                f"{state.geometry.size}. Save it in its own case."
            )
        info = brief(state, one_line(who), now(), based_on, one_line(why), token)
        with telling_disk_errors(self.folder):
            written = write_revision(self._revisions, self.store, self._about, state, info)
        others = tuple(other for other in self.saved_since(based_on) if other.number < written.number)
        return Saved(written.number, based_on, others)

    @property
    def _about(self) -> dict[str, str]:
        """What the sidecar of each revision says of the case."""
        return {
            "case": self.id,
            "pixel_hash": self.id,
            "pixel_hash_is": "HMAC-SHA256, with the library's salt, over size, type and values of the pixels",
            "patient_key": self.patient_key,
            "laterality": self.laterality,
            "view_position": self.view_position,
        }

    @property
    def image_path(self) -> Path:
        """Where the image is, or was when somebody last looked; raises :class:`InputError` where that note is damaged."""
        return newest_reference(self.folder, self._first_reference).resolve(self.library_folder, self.folder)

    def read_image(self, geometry: ImageGeometry | None = None) -> tuple[MedicalImage, tuple[str, ...]]:
        """The image, laid out as ``geometry`` says (that of the state in force; by default as it was added), and notes.

        A note, one line, says that the file states another spacing or place now. The points of the case are matched
        by voxel, so they lie where they were put.

        Raises :class:`InputError`, in one line that says what to do, where the file is gone or has other pixels.
        """
        geometry = geometry or self.geometry
        path = self.image_path
        if not path.exists():
            raise InputError(
                f"expected the image of case {self.name} in {path}, found nothing there. "
                "Add the image again from where it is now; the case stays the same."
            )
        image = self._checked(path)
        stated = image.geometry
        notes = []
        if stated.spacing_source is not SpacingSource.UNKNOWN and stated.spacing_mm != geometry.spacing_mm:
            here, there = (_spacing(one) for one in (stated, geometry))
            notes.append(
                f"{self.name}: its file states a spacing of {here} ({stated.spacing_source}), in this case it is {there} "
                f"({geometry.spacing_source}); every point stays on its pixel"
            )
        if (stated.origin_lps_mm, stated.direction) != (self.geometry.origin_lps_mm, self.geometry.direction):
            notes.append(f"{self.name}: its file now states another place in space; every point stays on its pixel")
        volume = image.volume  # read just now, and nobody else's: no copy of it is needed
        volume.SetSpacing(geometry.spacing_mm)
        volume.SetOrigin(geometry.origin_lps_mm)
        volume.SetDirection(geometry.direction)
        acquisition = self._known_of(image.acquisition)
        laid_out = MedicalImage(volume, geometry.spacing_source, self.name, acquisition, image.window)
        return laid_out, tuple(notes)

    def relink(self, path: Path, who: str = "", copy: bool = False) -> None:
        """The image lies at ``path`` now, or in a ``copy`` of what lies there.

        Raises :class:`InputError` where that is another image, or nothing can be written.
        """
        self._checked(path)
        with telling_disk_errors(self.folder):
            reference = copy_again(path, self.folder) if copy else reference_to(path, self.library_folder)
            write_reference(self.folder, reference, {"who": one_line(who), "when": now()})

    def has_pixels_of(self, image: MedicalImage) -> bool:
        """Whether an image has the pixels of the case's own; where it lies in space and what it is called do not count."""
        return image.geometry.size == self.geometry.size and case_key(image, self._salt) == self.id

    def _known_of(self, stated: Acquisition) -> Acquisition:
        """What a file states and, where it states nothing, what was stated when the case was made: copies may have lost it."""
        return Acquisition(**{name: value or getattr(self, name) for name, value in asdict(stated).items()})

    def _checked(self, path: Path) -> MedicalImage:
        image = read_image(path)
        if not self.has_pixels_of(image):
            raise InputError(
                f"expected the image of case {self.name} in {path}, got one with other pixels. "
                "Name the file that the case was made from."
            )
        return replace(image, name=self.name)


def read_case(library_folder: Path, folder: Path, library_id: str, salt: bytes) -> LibraryCase:
    """The case in a folder; raises :class:`InputError`, in one line, where its file is missing or damaged."""
    path = folder / CASE_FILE
    raw = read_json(path, "a case", _REMEDY)
    if raw.get("format") != FORMAT:
        raise InputError(
            f"expected a case in format {FORMAT} in {path}, got {str(raw.get('format'))[:40]!r}. "
            "Open the library with the version of this program that wrote it."
        )
    try:
        texts = {key: raw[key] for key in _TEXTS}
        if not all(isinstance(text, str) for text in texts.values()) or texts["id"] != folder.name:
            raise TypeError("expected text")
        orientation = raw.get("patient_orientation")  # libraries of before did not keep it
        return LibraryCase(
            library_id=library_id,
            patient_orientation=None if orientation is None else _two_letters(orientation),
            geometry=ImageGeometry.from_dict(raw["geometry"]),
            library_folder=library_folder,
            folder=folder,
            _first_reference=ImageReference.from_dict(raw["image"]),
            _salt=salt,
            **texts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected a case in {path}, got a file that is damaged ({type(error).__name__}). {_REMEDY}"
        ) from error


def case_to_dict(
    case_id: str, name: str, image: MedicalImage, reference: ImageReference, patient_key: str, who: str
) -> dict[str, Any]:
    """What :func:`read_case` reads, as plain JSON types."""
    return {
        "format": FORMAT,
        "id": case_id,
        "name": name,
        "image": reference.to_dict(),
        "geometry": image.geometry.to_dict(),
        "patient_key": patient_key,
        "modality": image.acquisition.modality,
        "body_part": image.acquisition.body_part,
        "view_position": image.acquisition.view_position,
        "laterality": image.acquisition.laterality,
        "patient_orientation": image.acquisition.patient_orientation,
        "added_by": one_line(who),
        "added_when": now(),
    }


def now() -> str:
    """The time as the library writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def one_line(text: str) -> str:
    """What a person wrote, without line breaks: it stands in one-line messages."""
    return " ".join(text.split())


_TEXTS = (
    *("id", "name", "patient_key", "modality", "body_part", "view_position", "laterality"),
    *("added_by", "added_when"),
)


def _two_letters(orientation: Any) -> tuple[str, str]:
    rows, columns = orientation
    if not {rows, columns} <= set("RLAPHF"):
        raise ValueError("expected an orientation")
    return rows, columns


def _choice(numbers: tuple[int, ...]) -> str:
    return f"It has {', '.join(map(str, numbers))}." if numbers else "It has none yet."


def _spacing(geometry: ImageGeometry) -> str:
    shown = geometry.spacing_mm[: 2 if geometry.is_radiograph else 3]
    return f"{' x '.join(f'{value:.6g}' for value in shown)} {geometry.unit}"
