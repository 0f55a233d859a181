"""Taking nodes out of sight for a while, and bringing back exactly what was seen before."""

from __future__ import annotations

from collections.abc import Iterable

from DenseLandmarksLib.scene.nodes import Node

# On a display node that we hid; what a person hid stays hidden. It is saved with the scene, so a case that is reopened is
# seen again.
_HIDDEN = "DenseLandmarks.OutOfSight"


def set_in_sight(nodes: Iterable[Node], in_sight: bool) -> None:
    """Hide all that is seen of the nodes, or show again what was hidden so."""
    for node in nodes:
        for n in range(node.GetNumberOfDisplayNodes()):
            display = node.GetNthDisplayNode(n)
            if display is None:
                continue
            if in_sight and display.GetAttribute(_HIDDEN) is not None:
                display.RemoveAttribute(_HIDDEN)
                display.SetVisibility(True)
            elif not in_sight and display.GetVisibility():
                display.SetAttribute(_HIDDEN, "1")
                display.SetVisibility(False)
