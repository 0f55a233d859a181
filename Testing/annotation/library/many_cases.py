"""A library of many cases with files of real size, made in seconds: what is large is written once and linked."""

from __future__ import annotations

import json
import os
from pathlib import Path

from DenseLandmarksLib.annotation.edits import Accept
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest

REVISIONS = 3
OF_EACH_CASE = ("case.json", "summary.json", "sidecar.json")


def library_of(count: int, folder: Path, template: Template) -> Library:
    """A library of ``count`` cases with three revisions each, of which the last reviewed a part of the landmarks."""
    library = Library.create(folder / "library", "Many")
    first = library.add(write_chest(folder, template), who="reader-1")
    state = predicted(first, template)
    for revision in range(REVISIONS):
        state = after(state, Accept(state.landmarks.names[: 20 * revision]))
        first.save(state, "reader-1", revision)
    files = [path.relative_to(first.folder) for path in first.folder.rglob("*") if path.is_file()]
    raw = json.loads((first.folder / "case.json").read_text())
    for number in range(1, count):
        case_id = f"{number:016x}"
        target = first.folder.parent / case_id
        for name in files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if name.name not in OF_EACH_CASE:
                os.link(first.folder / name, target / name)
                continue
            content = (first.folder / name).read_bytes()
            if name.name == "case.json":
                content = json.dumps(raw | {"id": case_id, "name": f"chest-{number:04}"}, indent=1).encode()
            (target / name).write_bytes(content.replace(first.id.encode(), case_id.encode()))
    return library
