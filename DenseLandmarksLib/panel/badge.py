"""A word in a colour: how far something can be relied on."""

from __future__ import annotations

from typing import Any

# White is readable on all of them, in Slicer's light and dark style.
GOOD, NEUTRAL, WARNING = "#2e7d32", "#5f6b73", "#b35900"


def show_badge(label: Any, text: str, colour: str, explanation: str) -> None:
    """Show ``text`` in a label on ``colour``, on none where it is empty; ``explanation`` is what the mouse brings up."""
    style = f"background: {colour}; color: white; border-radius: 3px; padding: 2px 6px;" if colour else ""
    label.text, label.toolTip = text, explanation
    if label.styleSheet != style:  # a style is worked out anew with each set
        label.styleSheet = style
