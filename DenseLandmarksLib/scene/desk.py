"""The cases that a person has open in one scene: opening, going to the next, reopening what came with a saved scene."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.known_libraries import find_library, remember
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import Order
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.annotation.seen_cases import SeenCases
from DenseLandmarksLib.annotation.session import JOURNALS, Session
from DenseLandmarksLib.annotation.sight import has_seen
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import user_data_folder
from DenseLandmarksLib.scene.carry_out import Tell
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.case_of_volume import case_of_volume
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.saved_case import SavedCase, same, saved_cases
from DenseLandmarksLib.scene.two_states import TwoStates

logger = logging.getLogger(__name__)

_MARKUPS_FILE = "vtkMRMLMarkupsJsonStorageNode"


class Desk:
    """One person's work in one scene. A front end calls :meth:`poll` from its own timer, a few dozen times a second."""

    def __init__(self, scene: Any, who: str, tell: Tell, data_folder: Path | None = None) -> None:
        """``scene`` is a vtkMRMLScene, ``tell`` takes one line for the person, ``data_folder`` is the user's unless given.

        Raises :class:`InputError` for a scene that saves lists without their points: one without Slicer's Markups module.
        """
        if scene.CreateNodeByClass(_MARKUPS_FILE) is None:
            raise InputError(
                f"expected a scene that can save landmarks, got one that does not know {_MARKUPS_FILE}. Load Slicer's Markups "
                "module, or register that class with the scene."
            )
        self._scene, self.who, self._tell = scene, who, tell
        self.data_folder = data_folder or user_data_folder()
        self._cases: list[CaseInScene] = []
        self._seen = SeenCases(self.data_folder)

    @property
    def cases(self) -> tuple[CaseInScene, ...]:
        """What is open, in the order in which it was opened."""
        for case in self._cases:
            if case.session.state.answer is not None:
                self._seen.note(case.session.case.library_id, case.session.case.id, self.who)
        self._cases = [case for case in self._cases if case.is_open]
        return tuple(self._cases)

    def has_seen(self, case: LibraryCase) -> bool:
        """Whether the person had a prediction of a case in sight, here or as far as is still known from before."""
        _ = self.cases
        is_known = (case.library_id, case.id, self.who) in self._seen
        return is_known or has_seen(case, self.who, self.data_folder / JOURNALS / case.id)

    def poll(self) -> None:
        """Do what came up in all open cases."""
        for case in self.cases:
            case.poll()

    def open(self, case: LibraryCase, volume: Node | None = None) -> CaseInScene:
        """Open a case beside those that are open; one that is open already is what comes back.

        ``volume`` is its image where the scene has it; else the image is read. Raises :class:`InputError` where it cannot
        be; the scene is then as it was.
        """
        for other in self.cases:
            if _is(other.session.case, case.library_id, case.id):
                return other
        session = Session(case, self.who, data_folder=self.data_folder)
        try:
            return self._take(CaseInScene(self._scene, session, self._tell, volume))
        except InputError:
            session.close()
            raise

    def open_volume(
        self, volume: Node, library: Library, name: str = "image", files: Sequence[Path] = ()
    ) -> CaseInScene:
        """Open the case of an image that is in the scene, made in ``library`` where there is none.

        ``name`` and ``files`` as :func:`case_of_volume` takes them.
        """
        return self.open(case_of_volume(library, volume, self.who, name, files), volume)

    def open_next(self, current: CaseInScene, order: Order = "doubt") -> CaseInScene | None:
        """Save ``current`` if there is something to save, take it out of the scene, and open the case that comes next.

        ``None`` where nothing is left to decide; ``current`` stays open then, saved. Raises :class:`InputError` where it
        cannot be saved or the next one cannot be opened; ``current`` is open then.
        """
        current.settle()
        if current.session.unsaved:
            current.save()
        case = current.session.case
        library = Library.open(case.library_folder)
        following = library.next_case(order, after=case.id)
        if following is None:
            self._tell(f"{library.name}: nothing is left to decide.")
            return None
        opened = self.open(library.case(following.id))
        current.close()
        self._tell(f"{opened.session.case.name}: {following.reason}.")
        return opened

    def reopen(self, library: Library | None = None) -> tuple[CaseInScene, ...]:
        """Open the cases that a saved scene brought along, as they were left, with everything that can be done to them.

        A case whose library is not on this computer goes into ``library``, with a copy of its image. What cannot be opened
        is told in a line and stays in the scene as it is.
        """
        opened = []
        for saved in saved_cases(self._scene):
            if any(case.anchor is saved.anchor for case in self.cases):
                continue
            if any(_is(case.session.case, saved.library_id, saved.case_id) for case in self.cases):
                self._tell(f"{saved.case_name} is open already; what the scene brought along of it stays as it is.")
                continue
            try:
                opened.append(self._reopen(saved, library))
            except InputError as error:
                self._tell(f"{saved.case_name}: {error}")
        return tuple(opened)

    def close(self) -> None:
        """Close everything that is open; what is unsaved can be recovered."""
        for case in self.cases:
            case.close()

    def _take(self, opened: CaseInScene) -> CaseInScene:
        self._cases.append(opened)
        case = opened.session.case
        try:
            remember(Library.open(case.library_folder), self.data_folder)
        except InputError as error:  # only a saved scene will have to be told where it is
            logger.warning("%s", error)
        return opened

    def _reopen(self, saved: SavedCase, library: Library | None) -> CaseInScene:
        if saved.volume is None:
            raise InputError("expected the image of the case in the scene, found none. Open the case from its library.")
        brought = saved.state()
        case, base = self._case_of(saved, library)
        session = Session(case, self.who, base, self.data_folder)
        try:
            if not same(session.state, brought):
                session.restore(brought)
            opened = self._take(CaseInScene(self._scene, session, self._tell, saved=saved))
        except InputError:
            session.close()
            raise
        newest, _ = case.newest()
        if newest is not None and newest.number > base and not same(session.state, case.load(newest.number)[0]):
            self._offer_both(opened, saved, newest)
        return opened

    def _case_of(self, saved: SavedCase, library: Library | None) -> tuple[LibraryCase, int]:
        """The case of a saved scene, and the revision that its work stands on."""
        home = find_library(saved.library_id, self.data_folder)
        if home is not None:
            case = home.case(saved.case_id)
            revisions = (0, *case.revision_numbers())
            return case, saved.revision if saved.revision in revisions else revisions[-1]
        if library is None:
            raise InputError(
                f"expected its library {saved.library_name!r} on this computer, found none. Open the library once, or name "
                "one that takes the case."
            )
        case = case_of_volume(library, saved.volume, self.who, saved.case_name)
        self._tell(f"{saved.case_name}: its library is not on this computer; it goes on in {library.name}.")
        return case, (0, *case.revision_numbers())[-1]

    def _offer_both(self, opened: CaseInScene, saved: SavedCase, newest: RevisionInfo) -> None:
        """The library went on without the scene: go on from there, and show what the scene has beside it."""
        ours, case = opened.session, opened.session.case
        scene_state, known = ours.state, {work.path for work in ours.recoverable}
        ours.close()  # what no revision has stays in its journal, as any work that was not saved
        opened.go_on_with(Session(case, self.who, data_folder=self.data_folder))
        work = next((work for work in opened.session.recoverable if work.path not in known), None)
        line = (
            f"{case.name}: the scene has revision {saved.revision}{' and unsaved work' if work else ''} "
            f"({saved.who or 'somebody'}, {saved.when}), its library has revision {newest.number} "
            f"({newest.who or 'somebody'}, {newest.when}). Both are shown: keep the library's, or the scene's (faint)."
        )
        opened.two_states = TwoStates(self._scene, opened.session, opened.image, scene_state, work, line)
        self._tell(line)


def _is(case: LibraryCase, library_id: str, case_id: str) -> bool:
    return (case.library_id, case.id) == (library_id, case_id)
