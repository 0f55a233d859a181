"""The views: a radiograph in one, a volume in four, all of them Slicer's own, drawn here and shown in the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from trame_client.widgets import html
from trame_rca.widgets.rca import RemoteControlledArea
from trame_slicer.core import SlicerApp
from trame_slicer.rca_view.rca_view_factory import RcaRenderStrategy, RcaWindow
from trame_slicer.views import SliceView, ThreeDView
from trame_slicer.views.render_scheduler import NoScheduleRendering
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.scene.image_in_scene import to_world
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk
from DenseLandmarksLib.scene.space_views import look_at_in_space, see_volume
from DenseLandmarksLib.web.layers import Layers
from DenseLandmarksLib.web.pictures import Area, OnePicture

# As Slicer's four-up layout has them, row by row; a radiograph is in the first alone.
SLICES, SPACE = ("Red", "Yellow", "Green"), "Space"
NAMES = ("Red", SPACE, "Yellow", "Green")
_ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
# The preset that looks along each of the axes R, A and S.
_ALONG = ("Sagittal", "Coronal", "Axial")


class View:
    """One view, and its part of the page."""

    def __init__(self, server: Any, app: SlicerApp, name: str, catch_up: Callable[[], None]) -> None:
        self.name = name
        kind = ThreeDView if name == SPACE else SliceView
        self.slicer_view = view = kind(app.scene, app.app_logic, name, NoScheduleRendering())
        view.render_window().SetMultiSamples(0)
        if name != SPACE:
            view.set_orientation(_ORIENTATIONS[name])
            # What is drawn first lies below: the image, whenever it comes.
            view._render_manager._AddSliceActorToRendererIfNeeded()
            self._layers = Layers(view.renderer())
        server.state.setdefault(f"cursor_{name}", "default")
        window = RcaWindow(view.render_window(), server.state, f"cursor_{name}")

        def before_picture() -> None:
            self.area.catch_up()
            catch_up()

        self.pictures = OnePicture(window, before_picture)
        self.area = Area(window, name, self.pictures)
        self.area.before_resize, self.area.after_resize = self._is_fitted, self.fit
        self.area.after_release = catch_up
        view.set_scheduled_render(RcaRenderStrategy(self.pictures))
        self._fitted: list[float] | None = None

    @property
    def node(self) -> Any:
        """What Slicer knows of the view."""
        return self.slicer_view.get_view_node()

    def show(self, volume: Node, is_radiograph: bool) -> None:
        """Have a volume in the view, along its own axes and as large as it goes."""
        if self.name == SPACE:
            if not is_radiograph:
                see_volume(volume.GetScene(), volume)
            self.pictures.schedule_render()
            return
        self.slicer_view.set_background_volume_id(volume.GetID())
        self.slicer_view.set_orientation(_preset_along(volume) if is_radiograph else _ORIENTATIONS[self.name])
        self.node.RotateToVolumePlane(volume)
        self.area.wheel_zooms = is_radiograph
        self.fit()

    def fit(self) -> None:
        """Have all of the image seen."""
        if self.name != SPACE:
            self.slicer_view.fit_view_to_content()
            self._fitted = self._plane()
        self.pictures.schedule_render()

    def look_at(self, world_ras_mm: FloatArray, side_mm: float) -> None:
        """Centre on a point, ``side_mm`` to be seen along the shorter side."""
        if self.name == SPACE:
            return
        self.node.JumpSliceByCentering(*(float(value) for value in world_ras_mm))
        x, y, z = self.node.GetFieldOfView()
        if min(x, y) > 0 and side_mm > 0:
            self.node.SetFieldOfView(x * side_mm / min(x, y), y * side_mm / min(x, y), z)

    def press_delete(self) -> None:
        """Slicer's own key: a point that the mouse is over is taken away."""
        self.area.catch_up()
        interactor = self.slicer_view.interactor()
        interactor.SetKeyEventInformation(0, 0, chr(127), 0, "Delete")
        # A point that was moved from under the mouse and back is one that the mouse comes to.
        for event in ("LeaveEvent", "EnterEvent", "MouseMoveEvent", "KeyPressEvent", "KeyReleaseEvent"):
            interactor.InvokeEvent(event)
        self.pictures.wake()

    def _is_fitted(self) -> bool:
        return self._fitted is not None and self._fitted == self._plane()

    def _plane(self) -> list[float]:
        return [*from_vtk(self.node.GetSliceToRAS()).ravel().tolist(), *self.node.GetFieldOfView()]


class Views:
    """All of them.

    Attributes
    ----------
    views : by name.
    is_radiograph : whether there is one view.
    """

    def __init__(self, server: Any, app: SlicerApp, catch_up: Callable[[], None]) -> None:
        """``catch_up`` is called before each picture."""
        self._server, self._scene = server, app.scene
        self.views = {name: View(server, app, name, catch_up) for name in NAMES}
        self.is_radiograph = True
        self._shown: Node | None = None
        self._tasks: list[asyncio.Task[None]] = []
        server.controller.trigger("seen")(self._seen)

    def start(self) -> None:
        """Draw from now on; there is an event loop."""
        for view in self.views.values():
            self._server.root_server.controller.rc_area_register(view.area)
            self._tasks.append(asyncio.get_running_loop().create_task(view.pictures.run()))

    def show(self, volume: Node | None) -> None:
        """Have another image in the views; how a person looks at it afterwards is theirs."""
        if volume is self._shown:
            return
        self._shown = volume
        if volume is None or volume.GetImageData() is None:
            for name in SLICES:
                self.views[name].slicer_view.set_background_volume_id(None)
            return
        self.is_radiograph = volume.GetImageData().GetDimensions()[2] == 1
        for view in self.views.values():
            view.pictures.is_in_sight = not self.is_radiograph or view.name == SLICES[0]
            view.show(volume, self.is_radiograph)

    def fit(self) -> None:
        """Have all of the image seen in all views."""
        for view in self.views.values():
            view.fit()

    def press_delete(self, name: str) -> None:
        """The key Delete, while the mouse is over a view."""
        if name in self.views:
            self.views[name].press_delete()

    def look_at(self, world_ras_mm: FloatArray, side_mm: float) -> None:
        """Centre all views on a point of the world, ``side_mm`` of it to be seen along the shorter side of slice views."""
        if not self.is_radiograph:
            look_at_in_space(self._scene, world_ras_mm)
            self.views[SPACE].pictures.schedule_render()
        for view in self.views.values():
            view.look_at(world_ras_mm, side_mm)

    def close(self) -> None:
        """Draw nothing more."""
        for task in self._tasks:
            task.cancel()
        for view in self.views.values():
            view.slicer_view.finalize()

    def draw(self) -> None:
        """The page's part."""
        with html.Div(classes=("is_radiograph ? 'views' : 'views four-up'",)):
            for name in NAMES:
                with html.Div(
                    classes="view",
                    id=f"view-{name}",
                    v_show=("true" if name == SLICES[0] else "!is_radiograph",),
                    style=(f"'cursor:' + cursor_{name}",),
                    raw_attrs=[f"@load.capture=\"trigger('seen', ['{name}'])\""],
                ):
                    RemoteControlledArea(
                        name=name, display="image", send_mouse_move=True, event_throttle_ms=25, classes="area"
                    )

    def _seen(self, name: str) -> None:
        if name in self.views:
            self.views[name].pictures.seen()


def _preset_along(volume: Node) -> str:
    """The orientation that looks at a radiograph from in front: its rows and columns lie in the view."""
    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    world = to_world(volume)
    through = (np.eye(4) if world is None else world) @ from_vtk(matrix)
    return _ALONG[int(np.abs(through[:3, 2]).argmax())]
