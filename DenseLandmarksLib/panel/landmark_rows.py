"""What the table says of each landmark, in words and colours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.worklist import Worklist, is_open
from DenseLandmarksLib.landmarks.doubt_radius import radius_90_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.panel.choices import Shown
from DenseLandmarksLib.scene.ellipses import confidence_colours, rows_with_region

Colour = tuple[int, int, int]
# Of what is decided, and how: blue and amber are told apart by everybody, the words say the rest.
_VERIFIED, _CORRECTED, _PLACED = (0, 158, 115), (0, 114, 178), (86, 180, 233)
_UNSURE, _ABSENT, _OPEN = (230, 159, 0), (90, 90, 90), (190, 190, 190)


class Cell(NamedTuple):
    """What one cell shows; a colour is seen as a small square before the text."""

    text: str
    tip: str = ""
    colour: Colour | None = None


class Row(NamedTuple):
    """One landmark in the table."""

    name: Cell
    structure: Cell
    state: Cell
    doubt: Cell
    presence: Presence
    review: Review

    @property
    def cells(self) -> tuple[Cell, Cell, Cell, Cell]:
        """From left to right."""
        return self.name, self.structure, self.state, self.doubt

    def is_shown(self, wanted: str, shown: Shown) -> bool:
        """Whether the row has ``wanted`` in its name or structure, and is of the kind that is to be shown."""
        sought = wanted.strip().casefold()
        if sought and sought not in self.name.text.casefold() and sought not in self.structure.text.casefold():
            return False
        if shown is Shown.ABSENT:
            return self.presence is Presence.ABSENT
        return shown is Shown.ALL or is_open(self.review) == (shown is Shown.LEFT)


def rows_of(state: CaseState | None, worklist: Worklist) -> list[Row]:
    """The rows of a case in the order of its worklist; none without a case."""
    if state is None:
        return []
    landmarks = state.landmarks
    radius_mm = np.full(len(landmarks), np.nan)
    doubtful = rows_with_region(landmarks)
    radius_mm[doubtful] = radius_90_mm(landmarks.covariance_mm2[doubtful])
    colours = np.round(255 * confidence_colours(landmarks.confidence)).astype(int).tolist()
    confidence, radii = landmarks.confidence.tolist(), radius_mm.tolist()
    unit, made = state.geometry.unit, {}
    words = {kind: _state_cell(*kind) for kind in set(zip(landmarks.presence, landmarks.review, strict=True))}
    for row, name in enumerate(landmarks.names):
        presence, review = landmarks.presence[row], landmarks.review[row]
        r, g, b = colours[row]
        made[name] = Row(
            Cell(name, name),
            Cell(landmarks.structures[row], landmarks.structures[row]),
            words[presence, review],
            _doubt_cell(radii[row], unit, confidence[row], (r, g, b), is_open(review)),
            presence,
            review,
        )
    return [made[name] for name in worklist.names if name in made]


def _state_cell(presence: Presence, review: Review) -> Cell:
    if review is Review.UNSURE:
        return Cell(_("unsure"), _("Nobody can tell where it is."), _UNSURE)
    if presence is Presence.UNPLACED:
        return Cell(_("not placed"), _("It is nowhere yet: place it, or say that it is absent."), _OPEN)
    if presence is Presence.ABSENT:
        if is_open(review):
            return Cell(_("absent?"), _("The model says that it is not in the image; nobody decided."), _OPEN)
        return Cell(_("absent"), _("A person said that it is not in the image."), _ABSENT)
    return {
        Review.PREDICTED: Cell(_("predicted"), _("The model says so; nobody decided."), _OPEN),
        Review.VERIFIED: Cell(_("verified"), _("A person found it right."), _VERIFIED),
        Review.CORRECTED: Cell(_("corrected"), _("A person moved it."), _CORRECTED),
        Review.PLACED: Cell(_("placed"), _("A person placed it."), _PLACED),
    }[review]


def _doubt_cell(radius: float, unit: str, confidence: float, colour: Colour, waits: bool) -> Cell:
    sure = "" if np.isnan(confidence) else _("Confidence {percent} %.").format(percent=round(100 * confidence))
    if np.isnan(radius):
        return Cell("", sure if waits else "")
    tip = _("In 90 % of cases it is at most {length} {unit} from here.").format(length=f"{radius:.1f}", unit=unit)
    text = _("±{length} {unit}").format(length=f"{radius:.1f}", unit=unit)
    return Cell(text, f"{tip} {sure}".strip(), colour)
