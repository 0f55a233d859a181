"""What a scene that was saved says about its cases."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.array_file import MemoryStore
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import one_line
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.record_text import (
    ANCHOR,
    FIELD,
    FORMAT,
    LIST,
    NAMES,
    NODE_CLASS,
    PIXELS,
    RECORD,
    SEGMENTATION,
    UV,
    VOLUME,
    identity,
    unseal,
)
from DenseLandmarksLib.scene.scene_text import from_attribute
from DenseLandmarksLib.scene.uv_volumes import STRUCTURE, uv_arrays

logger = logging.getLogger(__name__)

_REMEDY = "Open the case from its library."


@dataclass(frozen=True)
class SavedCase:
    """What a scene says about a case.

    Attributes
    ----------
    anchor : the node that says so.
    library_id, library_name, case_id, case_name : which case it is; ``library_name`` is empty where nobody knew.
    revision, unsaved : the revision that the work stands on, 0 for none, and whether there is more than it holds.
    who, when : the person, and the time (ISO 8601, UTC).
    volume, lists, segmentation : nodes that show it, as far as they are still there; see :func:`structure_of` and
        :func:`names_of` for the lists.
    uv : the uv volumes by structure.
    record : the node that holds the rest.
    """

    anchor: Node
    library_id: str
    library_name: str
    case_id: str
    case_name: str
    revision: int
    unsaved: bool
    who: str
    when: str
    volume: Node | None
    lists: tuple[Node, ...]
    segmentation: Node | None
    uv: Mapping[str, Node]
    record: Node | None

    def state(self) -> CaseState:
        """The case as it was when the scene was saved, to the last bit.

        Raises :class:`InputError`, in one line, where the record or a uv volume is missing, damaged or edited.
        """
        where = f"the scene's record of case {one_line(self.case_name)}"
        if self.record is None:
            raise InputError(f"expected {where}, found none. {_REMEDY}")
        try:
            content = unseal(self.record.GetText())
            if content["case"] != identity(self.library_id, self.case_id, self.revision, self.unsaved):
                raise ValueError("the provenance of another")
            store = MemoryStore(where)
            for key, text in content["arrays"].items():
                self._put(store, key, base64.b64decode(text), content["uv_volumes"])
            return state_from_record(content["record"], store)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"expected {where} as it was saved, got one that was changed. {_REMEDY}") from error

    def _put(self, store: MemoryStore, key: str, content: bytes, structures: list[str]) -> None:
        """Keep arrays of the record under ``key``, with those that lie in the uv volumes."""
        written = MemoryStore(store.path(key))
        header, arrays = written.get(written.put_bytes(content))
        if header["kind"] == PIXELS and structures:
            found = uv_arrays(self.uv, structures)
            found["masks"] = np.packbits(found["masks"])
            arrays |= {f"{FIELD}{name}": array for name, array in found.items()}
        if store.put(header, arrays) != key:
            raise InputError(
                f"expected the uv volumes of case {one_line(self.case_name)} as they were saved, got others. {_REMEDY}"
            )


def saved_cases(scene: Any) -> tuple[SavedCase, ...]:
    """The cases that a scene holds; a damaged provenance is told in the log and passed over."""
    found = []
    for n in range(scene.GetNumberOfNodesByClass(NODE_CLASS)):
        node = scene.GetNthNodeByClass(n, NODE_CLASS)
        if node.GetAttribute(ANCHOR) is None:
            continue
        try:
            found.append(_saved_case(node))
        except (KeyError, TypeError, ValueError) as error:
            logger.warning(
                "expected what a case is in the text %s, got one that is damaged (%s). %s",
                node.GetName(),
                type(error).__name__,
                _REMEDY,
            )
    return tuple(found)


def structure_of(node: Node) -> str:
    """The structure that a list or a uv volume of a case shows, empty for none."""
    return from_attribute(node.GetAttribute(STRUCTURE) or "")


def names_of(node: Node) -> tuple[str, ...]:
    """The landmarks of a list in the order of its control points, whatever their labels say now."""
    return tuple(json.loads(node.GetAttribute(NAMES) or "[]"))


def same(a: CaseState, b: CaseState) -> bool:
    """Whether two states say the same, to the last digit; uv outside of the structures, which nobody reads, aside."""
    return a is b or state_to_record(a, MemoryStore()) == state_to_record(b, MemoryStore())


def _saved_case(anchor: Node) -> SavedCase:
    said = json.loads(anchor.GetText() or "")
    if said["format"] != FORMAT:
        raise ValueError(f"format {said['format']}")
    saved = SavedCase(
        anchor=anchor,
        library_id=said["library"]["id"],
        library_name=said["library"]["name"],
        case_id=said["case"]["id"],
        case_name=said["case"]["name"],
        revision=said["revision"],
        unsaved=said["unsaved"],
        who=said["who"],
        when=said["when"],
        volume=anchor.GetNodeReference(VOLUME),
        lists=_referred(anchor, LIST),
        segmentation=anchor.GetNodeReference(SEGMENTATION),
        uv={structure_of(node): node for node in _referred(anchor, UV)},
        record=anchor.GetNodeReference(RECORD),
    )
    texts = (saved.library_id, saved.library_name, saved.case_id, saved.case_name, saved.who, saved.when)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("expected texts")
    if type(saved.revision) is not int or type(saved.unsaved) is not bool:
        raise TypeError("expected the number of a revision, and whether there is more than it holds")
    return saved


def _referred(anchor: Node, role: str) -> tuple[Node, ...]:
    nodes = (anchor.GetNthNodeReference(role, n) for n in range(anchor.GetNumberOfNodeReferences(role)))
    return tuple(node for node in nodes if node is not None)
