"""The next click in a view says where a landmark is."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.scene.fiducial_lists import NODE_CLASS
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.place_mode import PlaceMode
from DenseLandmarksLib.scene.ras import FloatArray


class Placing:
    """Slicer's place mode for one landmark.

    Attributes
    ----------
    name : what the landmark will be called.
    node : the list that takes the point; its coordinates are the world's.
    """

    def __init__(
        self,
        scene: Any,
        name: str,
        structure: str | None = None,
        description: str = "",
        code: tuple[str, str, str] | None = None,
    ) -> None:
        """Wait for a click; the rest says of a new landmark what :meth:`Session.define_landmark` takes."""
        self.name = name
        self._structure, self._description, self._code = structure, description, code
        self._mode = PlaceMode(scene, NODE_CLASS, name, 1)
        self.node.SetMaximumNumberOfControlPoints(1)
        self.node.SetControlPointLabelFormat(name.replace("%", "%%"))

    @property
    def node(self) -> Node:
        return self._mode.node

    def index_ijk(self, image: ImageInScene) -> FloatArray | None:
        """The continuous voxel index (3,) on which the person clicked, ``None`` until then."""
        if not self._mode.is_done:
            return None
        return image.index_ijk(self.node, [self.node.GetNthControlPointPosition(0)])[0]

    def carry_out(self, session: Session, index_ijk: FloatArray) -> None:
        """Place the landmark in the session, or move it where it is placed already.

        One that the session does not know is defined on the template, where there is one.
        """
        state = session.state
        (point_lps_mm,) = lps_mm_from_index(state.geometry, [index_ijk])
        names, presence = state.landmarks.names, state.landmarks.presence
        if self.name in names and presence[names.index(self.name)] is Presence.PRESENT:
            session.move({self.name: point_lps_mm})
        elif self.name in names or state.template is None:
            session.place(self.name, point_lps_mm, self._structure or "")
        else:
            session.define_landmark(self.name, point_lps_mm, self._structure, self._description, self._code)

    @property
    def was_given_up(self) -> bool:
        """Whether the person went back to looking around without a click, or removed the list."""
        return self._mode.was_given_up

    def end(self) -> None:
        """Leave the place mode."""
        self._mode.end()
