"""Where a version of a model comes from: its parent, the library that it learnt from, and what came of comparing the two.

Retraining writes it into the metadata of the bundle as ``metadata["descent"]``; a version that was trained anew has none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DenseLandmarksLib.models.versions import ModelVersion, list_versions

logger = logging.getLogger(__name__)

_COUNTED = re.compile(r"(?P<base>.+)\+(?P<count>\d+)")


@dataclass(frozen=True)
class Descent:
    """Where a version comes from.

    Attributes
    ----------
    parent : name and version, such as ``"chest-xray 1.1.0"``.
    library_id, library_name : what it learnt from.
    revisions : per case id the number of the revision that it learnt from.
    corrections : how many landmarks were ``corrected``, ``placed``, ``verified`` or ``absent`` in them.
    new_landmarks : those that its parent did not know.
    trained_on : ids of the cases that it and its ancestors learnt from.
    when : ISO 8601, UTC.
    run : id of the retraining that made it; empty where that is not known.
    before_mm, after_mm, outcome, line : what came of comparing it with its parent; ``None`` and empty where nothing did.
    """

    parent: str
    library_id: str
    library_name: str
    revisions: Mapping[str, int]
    corrections: Mapping[str, int]
    new_landmarks: tuple[str, ...] = ()
    trained_on: frozenset[str] = frozenset()
    when: str = ""
    run: str = ""
    before_mm: float | None = None
    after_mm: float | None = None
    outcome: str = ""
    line: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def parent_version(self) -> str:
        """The version alone."""
        return self.parent.rpartition(" ")[2]

    @property
    def library_state(self) -> str:
        """Eight digits that stand for which revision of which case it learnt from: the same for the same ones alone."""
        said = json.dumps(sorted(self.revisions.items())).encode()
        return hashlib.sha256(said).hexdigest()[:8]

    @property
    def corrected(self) -> int:
        """How many landmarks a person changed: moved, placed, or said to be absent."""
        return sum(self.corrections.get(kind, 0) for kind in ("corrected", "placed", "absent"))


def descent_of(metadata: Mapping[str, Any]) -> Descent | None:
    """What a bundle's metadata say of its descent; ``None`` where they say nothing, or nothing that can be read."""
    raw = metadata.get("descent")
    if raw is None:
        return None
    try:
        gate = raw.get("gate") or {}
        return Descent(
            parent=_text(raw["parent"]),
            library_id=_text(raw["library"]["id"]),
            library_name=_text(raw["library"]["name"]),
            revisions={_text(case): int(number) for case, number in raw["revisions"].items()},
            corrections={_text(kind): int(count) for kind, count in raw["corrections"].items()},
            new_landmarks=tuple(map(_text, raw.get("new_landmarks", ()))),
            trained_on=trained_on_by(metadata),
            when=_text(raw.get("when", "")),
            run=_text(raw.get("run", "")),
            before_mm=_number(gate.get("before_mm")),
            after_mm=_number(gate.get("after_mm")),
            outcome=_text(gate.get("outcome", "")),
            line=_text(gate.get("line", "")),
            gate=dict(gate),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{metadata.get('name')} {metadata.get('version')}"
        logger.warning("expected the descent of %s, got one that cannot be read (%r); it is not shown", said, error)
        return None


def trained_on_by(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the cases that a bundle and its ancestors learnt from, as far as libraries have them; none without descent."""
    raw = metadata.get("descent")
    listed = raw.get("trained_on", ()) if isinstance(raw, Mapping) else ()
    return frozenset(map(str, listed)) if isinstance(listed, list | tuple) else frozenset()


def lineage(version: str, versions: Sequence[ModelVersion]) -> tuple[ModelVersion, ...]:
    """A version of a model, its parent, the parent of that and so on, as far as they are among ``versions``."""
    by_label = {f"{one.name} {one.version}": one for one in versions}
    found: list[ModelVersion] = []
    one = next((one for one in versions if one.version == version), None)
    while one is not None and one not in found:
        found.append(one)
        descent = descent_of(one.metadata)
        one = None if descent is None else by_label.get(descent.parent)
    return tuple(found)


def next_version(name: str, parent_version: str, data_folder: Path | None = None) -> str:
    """The version of the next child of a version of a model: ``1.1.0+1`` of ``1.1.0``, and ``1.1.0+2`` after that.

    It is the one after the highest that there is, so that the number of a version that was deleted is not given again while
    another descends from it.
    """
    base, _ = _counted(parent_version)
    versions = list_versions(name, data_folder)
    # The folder is what a version of the user's is called, also where its metadata cannot be read.
    known = {parent_version, *(one.version for one in versions), *(one.folder.name for one in versions)}
    counts = [count for of, count in map(_counted, known) if of == base]
    return f"{base}+{1 + max(counts)}"


def _counted(version: str) -> tuple[str, int]:
    """``("1.1.0", 2)`` of ``1.1.0+2``, ``("1.1.0", 0)`` of ``1.1.0``."""
    found = _COUNTED.fullmatch(version)
    return (version, 0) if found is None else (found["base"], int(found["count"]))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
