"""What can be chosen from lists in the panel. A saved scene keeps the *names* of these: renaming one breaks old scenes."""

from __future__ import annotations

from enum import Enum

from slicer.i18n import tr as _


class Device(Enum):
    """Where networks run; the values are the worker's words."""

    AUTOMATIC = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        """As people read it."""
        return {Device.AUTOMATIC: _("Automatic"), Device.CPU: _("Processor"), Device.CUDA: _("Graphics card")}[self]


class CaseOrder(Enum):
    """Which case comes next; the values are the library's words."""

    DOUBT = "doubt"
    ORDER = "order"
    RANDOM = "random"

    def label(self) -> str:
        """As people read it."""
        return {
            CaseOrder.DOUBT: _("Most doubtful"),
            CaseOrder.ORDER: _("By name"),
            CaseOrder.RANDOM: _("At random"),
        }[self]


class Shown(Enum):
    """Which landmarks the table shows."""

    ALL = "all"
    LEFT = "left"
    DECIDED = "decided"
    ABSENT = "absent"

    def label(self) -> str:
        """As people read it."""
        return {
            Shown.ALL: _("All"),
            Shown.LEFT: _("Not decided"),
            Shown.DECIDED: _("Decided"),
            Shown.ABSENT: _("Absent"),
        }[self]


class ExportScope(Enum):
    """What is exported."""

    CASE = "case"
    LIBRARY = "library"

    def label(self) -> str:
        """As people read it."""
        return {ExportScope.CASE: _("This case"), ExportScope.LIBRARY: _("All saved cases of the library")}[self]


class ExportFormat(Enum):
    """The values are the library's words."""

    MARKUPS = "mrk.json"
    CSV = "csv"
    COCO = "coco"
    SEGMENTATION = "seg.nrrd"
    DATALIST = "datalist"

    def label(self) -> str:
        """As people read it."""
        return {
            ExportFormat.MARKUPS: _("Markups (.mrk.json)"),
            ExportFormat.CSV: _("Table (.csv)"),
            ExportFormat.COCO: _("COCO keypoints"),
            ExportFormat.SEGMENTATION: _("Structures (.seg.nrrd)"),
            ExportFormat.DATALIST: _("Training data (MONAI datalist)"),
        }[self]
