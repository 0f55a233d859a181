"""The image of a case in a scene: found, added, and put right when it is no longer what the case was made on."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.carry_out import Tell
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.pixels_in_file import as_read, differ_in_padding_only
from DenseLandmarksLib.scene.volume_node import add_volume_node, turn_slices_round, voxels_zyx

# On an image that we added: it goes when the case goes.
_ADDED = "DenseLandmarks.Added"


class CaseVolume:
    """The volume node of a case.

    Attributes
    ----------
    image : where its voxels are.
    """

    def __init__(
        self, scene: Any, session: Session, tell: Tell, volume: Node | None, geometry: ImageGeometry | None = None
    ) -> None:
        """Take ``volume``, or read and add the image where there is none.

        ``geometry`` is what the volume was laid out by, where that is known. Else its spacing is taken for how somebody
        understood the file, and all else for how somebody moved it.

        Raises :class:`InputError` where the image cannot be read, or ``volume`` is another image.
        """
        self._scene, self._case, self._tell = scene, session.case, tell
        in_force = session.state.geometry
        if volume is None:
            volume = self._add(in_force)
        elif not self._is_of_case(volume, turn_round=True):
            raise InputError(
                f"expected the image of case {session.case.name}, got {volume.GetName()!r}. Choose the case's image."
            )
        self.image = ImageInScene(
            volume, geometry or in_force.with_spacing(volume.GetSpacing(), in_force.spacing_source)
        )
        self._transform_id = volume.GetTransformNodeID()
        self._voxels_time = self._time_of_voxels()

    @property
    def is_there(self) -> bool:
        """Whether nobody took the image out of the scene."""
        return is_in(self._scene, self.image.volume)

    def check(self, geometry: ImageGeometry) -> None:
        """Put right what a case cannot go on with: an image that is bent, or has other pixels. It is told in a line.

        ``geometry`` is the one in force.
        """
        volume = self.image.volume
        if not self.image.is_linear:
            self._tell(
                f"expected a linear transform above {volume.GetName()}, got one that bends or flattens: landmarks would no longer "
                "lie on their pixels. The image is out of it again; to see it bent, put a copy of the image under the transform."
            )
            volume.SetAndObserveTransformNodeID(self._transform_id)
            if not self.image.is_linear:  # it bends only since the image is under it
                volume.SetAndObserveTransformNodeID(None)
        self._transform_id = volume.GetTransformNodeID()
        if self._time_of_voxels() == self._voxels_time:
            return
        if not self._is_of_case(volume):
            self._tell(
                f"{volume.GetName()} has other pixels than the image of case {self._case.name}. It stays in the scene as it "
                "is; the image of the case was added again and belongs to the landmarks."
            )
            self.image = ImageInScene(self._add(geometry), geometry)
            self._transform_id = None
        self._voxels_time = self._time_of_voxels()

    def remove(self) -> None:
        """Take the image out of the scene if we added it."""
        if self.image.volume.GetAttribute(_ADDED) is not None:
            remove_node(self._scene, self.image.volume)

    def _add(self, geometry: ImageGeometry) -> Node:
        film, notes = self._case.read_image(geometry)
        for note in notes:
            self._tell(note)
        volume = add_volume_node(self._scene, film)
        volume.SetAttribute(_ADDED, "1")
        return volume

    def _is_of_case(self, volume: Node, turn_round: bool = False) -> bool:
        """Whether a volume has the pixels of the case; where Slicer turned its slices round, turn them back if asked."""
        if self._has_pixels(volume):
            return True
        if turn_round and volume.GetImageData() is not None:
            turn_slices_round(volume)
            if self._has_pixels(volume):
                return True
            turn_slices_round(volume)
        return False

    def _has_pixels(self, volume: Node) -> bool:
        """Whether a volume has them, padding or not, wherever it lies: a hardened transform may have sheared it."""
        data = volume.GetImageData()
        if data is None or data.GetNumberOfScalarComponents() != 1 or 0 in data.GetDimensions():
            return False
        pixels = MedicalImage(sitk.GetImageFromArray(voxels_zyx(volume)), SpacingSource.UNKNOWN, volume.GetName())
        if any(self._case.has_pixels_of(image) for image in as_read(pixels)):
            return True
        return data.GetDimensions() == self._case.geometry.size and self._has_pixels_in_file(pixels)

    def _has_pixels_in_file(self, pixels: MedicalImage) -> bool:
        """Whether only padding is otherwise in the file of the case, where that can be read."""
        try:
            film, _ = self._case.read_image()
        except InputError:
            return False
        return differ_in_padding_only(*(sitk.GetArrayViewFromImage(image.volume) for image in (pixels, film)))

    def _time_of_voxels(self) -> int:
        data = self.image.volume.GetImageData()
        return 0 if data is None else int(data.GetPointData().GetMTime())
