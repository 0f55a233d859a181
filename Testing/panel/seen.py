"""What a person sees in lists, and images as Slicer loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from DenseLandmarksLib.scene.volume_node import add_volume_node

if TYPE_CHECKING:
    from Testing.host import Host


def entries(selector: Any) -> list[str]:
    """All entries of a list."""
    return [selector.itemText(row) for row in range(selector.count)]


def shown(selector: Any) -> str:
    """The entry that is chosen."""
    text: str = selector.itemText(selector.currentIndex)
    return text


def load(host: Host, film: Any) -> Any:
    """A volume node as Slicer would load it."""
    node = add_volume_node(host.scene, film)
    host.process()
    return node
