"""Everything that shows a case in a scene, brought to what the session says."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.active_name import ActiveName
from DenseLandmarksLib.scene.beside_image import BesideImage
from DenseLandmarksLib.scene.case_record import CaseNodes, CaseRecord
from DenseLandmarksLib.scene.chosen_mark import ChosenMark
from DenseLandmarksLib.scene.ellipses import Ellipses
from DenseLandmarksLib.scene.evidence_overlay import EvidenceOverlay
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.ghosts import Ghosts
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.out_of_sight import set_in_sight
from DenseLandmarksLib.scene.saved_case import SavedCase, names_of, structure_of
from DenseLandmarksLib.scene.segments import Segments
from DenseLandmarksLib.scene.uv_volumes import UvVolumes


class Showing:
    """The nodes of a case but for its image; each kind is a part of its own, which touches only what differs."""

    def __init__(self, scene: Any, case_name: str) -> None:
        self.lists, self.segments = FiducialLists(scene, case_name), Segments(scene, case_name)
        self.ellipses, self.ghosts = Ellipses(scene, case_name), Ghosts(scene, case_name)
        self.active_name, self.uv_volumes = ActiveName(scene, case_name), UvVolumes(scene, case_name)
        self.chosen, self.evidence = ChosenMark(scene, case_name), EvidenceOverlay(scene)
        self.record, self.beside_image = CaseRecord(scene, case_name), BesideImage(scene, case_name)

    def adopt(self, saved: SavedCase, state: CaseState, image: ImageInScene) -> None:
        """Take over nodes that came with a saved scene; what differs from ``state`` in them somebody did elsewhere."""
        lists = {structure_of(node): node for node in saved.lists}
        self.lists.adopt(lists, {structure: names_of(node) for structure, node in lists.items()})
        if saved.segmentation is not None:
            self.segments.adopt(saved.segmentation, state, image)
        self.uv_volumes.adopt(saved.uv)
        self.record.adopt(saved)

    def show(self, session: Session, image: ImageInScene) -> None:
        """Bring everything to what the session says."""
        state = session.state
        image.show(state.geometry)
        for part in (
            self.lists,
            self.segments,
            self.ellipses,
            self.ghosts,
            self.uv_volumes,
            self.chosen,
            self.evidence,
        ):
            part.show(state, image)
        self.segments.fill_in()
        self.active_name.watch(self.lists.nodes.values())
        segmentations = () if self.segments.node is None else (self.segments.node,)
        self.beside_image.show(image.volume, (*self.lists.nodes.values(), *segmentations))
        self.write_record(session, image)

    def show_drag(self, preview: CaseState, image: ImageInScene, dragged: str) -> None:
        """While a landmark is being dragged, show what would come along; masks follow when it is let go."""
        landmarks = preview.landmarks
        self.segments.thin_out(but=landmarks.structures[landmarks.names.index(dragged)])
        self.lists.show(preview, image, but=dragged)
        self.ellipses.show(preview, image)
        self.chosen.show(preview, image)

    def choose(self, name: str, state: CaseState, image: ImageInScene) -> None:
        """Mark the landmark that is worked on, none for an empty name."""
        self.chosen.name = name
        self.chosen.show(state, image)
        self.active_name.leave_out(name)

    def set_in_sight(self, in_sight: bool) -> None:
        """Have all that is drawn of the case seen, but for what a person hid, or nothing."""
        parts = (self.segments, self.ellipses, self.ghosts, self.chosen)
        alone = [part.node for part in parts if part.node is not None]
        set_in_sight((*self.lists.nodes.values(), *alone), in_sight)

    def write_record(self, session: Session, image: ImageInScene) -> None:
        """Have a scene that is saved now say what the session says now."""
        nodes = CaseNodes(image.volume, self.lists.nodes, self.segments.node, self.uv_volumes.nodes)
        self.record.write(session, nodes)

    def remove(self) -> None:
        """Take all of it, and nothing else, out of the scene."""
        for part in (
            self.active_name,
            self.chosen,
            self.evidence,
            self.lists,
            self.segments,
            self.ellipses,
            self.ghosts,
            self.uv_volumes,
            self.record,
            self.beside_image,
        ):
            part.remove()
