"""A slice view of Slicer's without a screen: what a person would see there, and what mouse and keys do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DELETE, CTRL_Z = "Delete", "z"


class OffscreenSlice:
    """One slice view of 3D Slicer's own, in a scene with all that an application puts into one.

    Attributes
    ----------
    scene : with Slicer's singletons (selection, interaction, crosshair), colours and orientations.
    """

    def __init__(
        self, size: tuple[int, int] = (1024, 1024), name: str = "Red", beside: OffscreenSlice | None = None
    ) -> None:
        """``name`` is that of the view; it is in the scene of another view where one is given."""
        from trame_slicer.core import SlicerApp
        from trame_slicer.views import SliceView
        from vtkmodules.vtkCommonCore import vtkObject

        vtkObject.GlobalWarningDisplayOff()  # about the X server that is not there
        self._beside = beside
        self.app = SlicerApp() if beside is None else beside.app
        self.scene = self.app.scene
        self.view = SliceView(self.scene, self.app.app_logic, name, _WhenAsked())
        # What is drawn first lies below: the image, whenever it comes.
        self.view._render_manager._AddSliceActorToRendererIfNeeded()
        self.view.render_window().SetMultiSamples(0)
        self.view.render_window().SetSize(*size)
        self.view._logic.ResizeSliceNode(*size)
        vtkObject.GlobalWarningDisplayOn()

    def look_at(self, volume: Any, orientation: str = "Axial") -> None:
        """Fit the view to a volume, along those of its own axes that are nearest to an orientation."""
        self.view.set_background_volume_id(volume.GetID())
        self.view.set_orientation(orientation)
        self.view._view_node.RotateToVolumePlane(volume)
        self.view.fit_view_to_content()
        self.render()

    def zoom(self, factor: float, on_world_ras_mm: Sequence[float]) -> None:
        """Show a part that is ``factor`` times smaller, centred on a point."""
        node = self.view._view_node
        node.JumpSliceByCentering(*on_world_ras_mm)
        x, y, z = node.GetFieldOfView()
        node.SetFieldOfView(x / factor, y / factor, z)
        self.render()

    def render(self) -> None:
        """Draw one frame."""
        self.view.render()

    def pixels(self) -> NDArray[np.uint8]:
        """What is seen, (height, width, 3), the first row on top."""
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

        self.render()
        grab = vtkWindowToImageFilter()
        grab.SetInput(self.view.render_window())
        grab.ReadFrontBufferOff()
        grab.Update()
        data = grab.GetOutput()
        width, height, _ = data.GetDimensions()
        flat: NDArray[np.uint8] = vtk_to_numpy(data.GetPointData().GetScalars())
        return flat.reshape(height, width, -1)[::-1, :, :3].copy()

    def save_picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        from PIL import Image

        Image.fromarray(self.pixels()).save(path, optimize=True)

    def display_xy(self, world_ras_mm: Sequence[float]) -> tuple[int, int]:
        """Pixel of the view, counted from the bottom left, in which a point of the world is seen."""
        from vtkmodules.vtkCommonMath import vtkMatrix4x4

        matrix = vtkMatrix4x4()
        vtkMatrix4x4.Invert(self.view._view_node.GetXYToRAS(), matrix)
        x, y = matrix.MultiplyPoint((*world_ras_mm, 1.0))[:2]
        return round(x), round(y)

    def move(self, x: int, y: int) -> None:
        """Move the mouse, and draw."""
        self.move_unseen(x, y)
        self.render()

    def move_unseen(self, x: int, y: int) -> None:
        """Move the mouse without drawing a frame."""
        self._event("MouseMoveEvent", x, y)

    def press(self, x: int, y: int, button: str = "Left") -> None:
        """Press a mouse button where the mouse is moved to before."""
        self.move(x, y)
        self._event(f"{button}ButtonPressEvent", x, y)

    def release(self, x: int, y: int, button: str = "Left") -> None:
        """Let the button go."""
        self._event(f"{button}ButtonReleaseEvent", x, y)
        self.render()

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: str = "Left", steps: int = 5) -> None:
        """Press at ``start``, move in ``steps`` steps to ``end``, let go."""
        self.press(*start, button)
        for step in range(1, steps + 1):
            x, y = (round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True))
            self.move(x, y)
        self.release(*end, button)

    def key(self, name: str, x: int, y: int, control: bool = False) -> None:
        """Press a key while the mouse is at a pixel."""
        self.move(x, y)
        interactor = self.view.interactor()
        character = chr(127) if name == DELETE else name
        interactor.SetEventInformation(x, y, int(control), 0, character, 0, name)
        interactor.InvokeEvent("KeyPressEvent")
        interactor.InvokeEvent("KeyReleaseEvent")
        self.render()

    def close(self) -> None:
        """Let go of the view and, where it is the first in it, of everything in the scene."""
        if self._beside is None:
            self.scene.Clear(True)
        self.view.finalize()

    def _event(self, name: str, x: int, y: int) -> None:
        interactor = self.view.interactor()
        interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
        interactor.InvokeEvent(name)


class _WhenAsked:
    """Frames are drawn when :meth:`OffscreenSlice.render` asks for one, so that each can be timed."""

    def set_abstract_view(self, view: Any) -> None:
        pass

    def schedule_render(self) -> None:
        pass

    def did_render(self) -> None:
        pass
