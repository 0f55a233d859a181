"""Colours and terminology of structures, as 3D Slicer shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STYLES = Path(__file__).parent / "recipes" / "structures"

# For structures that no file describes: Slicer's own general term, in distinguishable colours.
TISSUE = {"category": ["SCT", "85756007", "Tissue"], "type": ["SCT", "85756007", "Tissue"]}
PLAIN = [
    {"colour": [round(channel / 255, 3) for channel in colour], "terminology": TISSUE}
    for colour in ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
]


def structure_styles(structures: tuple[str, ...]) -> list[dict[str, Any]]:
    """Colour and terminology of each structure from the files in ``recipes/structures``; unknown ones are plain."""
    known = {style["name"]: style for path in sorted(STYLES.glob("*.json")) for style in json.loads(path.read_text())}
    return [known.get(name) or {"name": name, **PLAIN[i % len(PLAIN)]} for i, name in enumerate(structures)]
