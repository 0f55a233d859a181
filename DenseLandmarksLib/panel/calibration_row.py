"""How large a pixel is: what is known of it and from where, typing it, and measuring it with a ruler."""

from __future__ import annotations

from math import isclose
from typing import TypeGuard

from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.panel.badge import GOOD, NEUTRAL, WARNING, show_badge
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.need_case import need_case
from DenseLandmarksLib.scene.calibration import Ruler, spacing_from_line
from DenseLandmarksLib.scene.nodes import Node

_COLOURS = {
    SpacingSource.CALIBRATED: GOOD,
    SpacingSource.DETECTOR: GOOD,
    SpacingSource.GIVEN: NEUTRAL,
    SpacingSource.UNKNOWN: WARNING,
}


class CalibrationRow:
    """Badge, box and ruler."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._ruler: Ruler | None = None
        self._ruler_on: object = None
        self._in_box: object = None
        self._was_done = False
        self._ui.spacingButton.clicked.connect(panel.telling(self._set))
        self._ui.rulerButton.clicked.connect(panel.telling(self._draw_or_give_up))
        self._ui.calibrateButton.clicked.connect(panel.telling(self._calibrate))

    def refresh(self) -> None:
        """Show what is known of the size of a pixel."""
        if self._ruler is not None and self._ruler_on != self._image_as_it_is():
            self._remove_ruler()
        self._show_badge()
        self._show_box()
        self._show_ruler()

    def tick(self) -> None:
        """Notice that the ruler was drawn, is dragged, or was given up in the view."""
        if self._ruler is None:
            return
        if self._ruler.was_given_up:
            self._remove_ruler()
            self._panel.refresh()
        elif self._ruler.is_done or self._was_done:
            self._was_done = self._ruler.is_done
            self._show_ruler()

    def leave(self) -> None:
        """A ruler of which nothing came does not stay in the scene."""
        self._remove_ruler()

    # What there is.

    def _image_as_it_is(self) -> object:
        """Other than before when another image is chosen, or its voxels lie at another distance."""
        volume, state = self._panel.volume, self._panel.bench.state
        return (
            None if volume is None else (volume.GetID(), volume.GetSpacing(), None if state is None else state.geometry)
        )

    def _show_badge(self) -> None:
        volume, state = self._panel.volume, self._panel.bench.state
        badge = self._ui.spacingBadge
        if state is not None:
            geometry = state.geometry
            spacing = spacing_text(geometry.spacing_mm, geometry.is_radiograph)
            show_badge(badge, *_of_source(geometry.spacing_source, spacing))
        elif _has_voxels(volume) and _is_unmeasured(volume):
            why = _(
                "Slicer found no pixel size. What the file says is known once there is a case: predict, or set it here."
            )
            show_badge(badge, _("not stated, as loaded"), WARNING, why)
        elif _has_voxels(volume):
            spacing = spacing_text(volume.GetSpacing(), _slices(volume) == 1)
            text = _("{spacing} mm · as loaded").format(spacing=spacing)
            why = _(
                "As the image was loaded. Where it comes from is known once there is a case: predict, or set it here."
            )
            show_badge(badge, text, NEUTRAL, why)
        else:
            show_badge(badge, _("no image"), "", _("Choose an image, or a case of the library."))

    def _show_box(self) -> None:
        ui, reason = self._ui, self._why_not_typed()
        is_it = self._image_as_it_is()
        if is_it != self._in_box:  # what a person is typing stays until there is something else to show
            self._in_box = is_it
            ui.spacingBox.value = self._known_width_mm()
        ui.spacingBox.enabled = ui.spacingButton.enabled = not reason
        ui.spacingBox.toolTip = reason or _(
            "Distance between the middles of two pixels of a row. Every point stays on its pixel."
        )
        ui.spacingButton.toolTip = reason or _("Use this pixel size; one undo takes it back.")

    def _why_not_typed(self) -> str:
        volume = self._panel.volume
        if not _has_voxels(volume):
            return _("Choose an image first.")
        if _slices(volume) > 1:
            return _("A volume has the spacing that its scanner wrote; nothing has to be typed.")
        return ""

    def _known_width_mm(self) -> float:
        """Of a pixel; 0, which the box calls unknown, where nobody knows it."""
        volume, state = self._panel.volume, self._panel.bench.state
        if state is not None:
            return 0.0 if state.geometry.unit == "px" else float(state.geometry.spacing_mm[0])
        return float(volume.GetSpacing()[0]) if _has_voxels(volume) and not _is_unmeasured(volume) else 0.0

    def _show_ruler(self) -> None:
        ui, ruler = self._ui, self._ruler
        there = _has_voxels(self._panel.volume)
        ui.rulerButton.enabled = there
        ui.rulerButton.checked = ruler is not None
        ui.rulerButton.toolTip = (
            _("Press again to take the ruler away.")
            if ruler is not None
            else _("Click both ends of something whose length you know.")
        )
        ui.rulerLength.enabled = there
        ui.calibrateButton.enabled = ruler is not None and ruler.is_done
        ui.rulerMeasured.text = self._measured()

    def _measured(self) -> str:
        if self._ruler is None:
            return ""
        if not self._ruler.is_done:
            return _("click both ends")
        case = self._panel.bench.case
        if case is None:
            return _("drawn")
        length, unit = self._ruler.length_mm(case.image), case.session.state.geometry.unit
        return _("now {length} {unit}").format(length=f"{length:.1f}", unit=unit)

    # What a person does.

    def _set(self) -> None:
        box = self._ui.spacingBox
        box.interpretText()  # where a button takes no focus, what was typed is not taken over yet
        width_mm = box.value
        if width_mm <= 0:
            raise InputError(_("expected the size of a pixel in mm, got none. Type it, or draw a ruler."))
        geometry = need_case(self._panel).session.state.geometry
        x, y, z = geometry.spacing_mm
        if geometry.unit == "mm" and isclose(
            round(x, box.decimals), width_mm
        ):  # or what was calibrated would become given
            self._panel.bench.tell(_("The pixel size is this already."))
        else:
            self._correct((width_mm, width_mm * y / x, z))

    def _draw_or_give_up(self) -> None:
        if self._ruler is not None:
            self._remove_ruler()
            return
        self._ruler, self._ruler_on = Ruler(self._panel.scene), self._image_as_it_is()

    def _calibrate(self) -> None:
        self._ui.rulerLength.interpretText()
        if self._ruler is None:
            return
        case = need_case(self._panel)
        self._ruler_on = self._image_as_it_is()
        spacing_mm = spacing_from_line(case.image, self._ruler.node, self._ui.rulerLength.value)
        self._remove_ruler()
        self._correct(spacing_mm)

    def _correct(self, spacing_mm: tuple[float, float, float]) -> None:
        bench = self._panel.bench
        if bench.do(Session.correct_spacing, spacing_mm) and bench.state is not None:
            geometry = bench.state.geometry
            text = spacing_text(geometry.spacing_mm, geometry.is_radiograph)
            bench.tell(_("Pixel size is now {spacing} mm; undo takes it back.").format(spacing=text))

    def _remove_ruler(self) -> None:
        if self._ruler is not None:
            self._ruler.remove()
        self._ruler, self._was_done = None, False


def spacing_text(spacing_mm: tuple[float, ...], is_radiograph: bool) -> str:
    """As people read it, without the unit."""
    return " x ".join(f"{value:.4g}" for value in spacing_mm[: 2 if is_radiograph else 3])


def _of_source(source: SpacingSource, spacing: str) -> tuple[str, str, str]:
    """Text, colour and explanation."""
    text, why = {
        SpacingSource.CALIBRATED: (
            _("{spacing} mm · calibrated"),
            _("The file says that this size was calibrated: lengths are those in the patient. Nothing has to be done."),
        ),
        SpacingSource.DETECTOR: (
            _("{spacing} mm · detector"),
            _(
                "The size at the detector, without the magnification if the file states one. What is far from the detector "
                "looks larger than it is; for true lengths calibrate with a ruler."
            ),
        ),
        SpacingSource.GIVEN: (
            _("{spacing} mm · given"),
            _(
                "Stated by the file without saying how it was measured, or given by a person. Correct it if it is wrong."
            ),
        ),
        SpacingSource.UNKNOWN: (
            _("unknown: lengths are in pixels"),
            _(
                "The file does not say how large a pixel is. Type it, or draw a ruler over something whose length you know."
            ),
        ),
    }[source]
    return text.format(spacing=spacing), _COLOURS[source], why


def _has_voxels(volume: Node | None) -> TypeGuard[Node]:
    return volume is not None and volume.GetImageData() is not None


def _slices(volume: Node) -> int:
    return int(volume.GetImageData().GetDimensions()[2])


def _is_unmeasured(volume: Node) -> bool:
    """Whether it is a radiograph with the spacing that Slicer takes for want of a better one."""
    x, y, _z = volume.GetSpacing()
    return _slices(volume) == 1 and isclose(x, 1.0, abs_tol=1e-6) and isclose(y, 1.0, abs_tol=1e-6)
