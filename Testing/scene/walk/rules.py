"""What everybody may rely on in a walk, and what a step says that it must have done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from DenseLandmarksLib.landmarks.landmark_set import Presence
from Testing.benchmarks.chest import chest_template

Node = Any
Step = tuple[str, int]
"""A kind of step, and the number that everything random in it is drawn from."""

TEMPLATE = chest_template()
SIZE = 64
STEPS_OF_A_WALK = 80
LIST, SEGMENTATION, LABELMAP = "vtkMRMLMarkupsFiducialNode", "vtkMRMLSegmentationNode", "Binary labelmap"
FOREIGN = "Walk.Foreign"
"""An attribute of all nodes that the walk, and no case, put into the scene."""
DEFINED = 2
SELECTION, INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
STATUS = {Presence.PRESENT: 2, Presence.ABSENT: 3, Presence.UNPLACED: 0}


class BrokenRuleError(AssertionError):
    """Something that everybody may rely on is not so."""


def rule(holds: object, what: str, *details: object) -> None:
    """Raise :class:`BrokenRuleError` unless a rule holds."""
    if not holds:
        raise BrokenRuleError(": ".join([what, *map(str, details)]))


@dataclass(frozen=True)
class Expected:
    """What a step must have done to its case.

    Attributes
    ----------
    done : the edits, each as its kind and the names in it; ``None`` for any.
    lines : how many lines were told; ``None`` for any.
    or_refused : whether it may have done nothing, with one line.
    """

    done: tuple[tuple[str, ...], ...] | None = ()
    lines: int | None = 0
    or_refused: bool = False


NOTHING, ANYTHING = Expected(), Expected(None, None)


def one(kind: str, *names: str, refusable: bool = True) -> Expected:
    """One edit, or a line that says why not."""
    return Expected(((kind, *names),), 0, refusable)
