"""What a scene says about its case, so that a saved scene is the whole case: whoever opens it goes on where it was left.

Two text nodes. "<case> provenance" is for people to read, and is the anchor: it refers to all nodes of the case, by roles,
which Slicer keeps right when it saves a scene or adds it to another. A hidden one holds the case to the last bit; but
the uv field, which is large, lies in the uv volumes alone.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib import __version__
from DenseLandmarksLib.annotation.answer_record import put_answer
from DenseLandmarksLib.annotation.array_file import MemoryStore, Store, array_bytes
from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.case import now
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.mask_record import put_mask
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.state_record import state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
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
    seal,
)
from DenseLandmarksLib.scene.saved_case import SavedCase
from DenseLandmarksLib.scene.scene_text import node_name, to_attribute
from DenseLandmarksLib.scene.uv_volumes import STRUCTURE

logger = logging.getLogger(__name__)

_PIXEL_HASH = "HMAC-SHA256, with the library's salt, over size, type and values of the pixels"
_IN_VOLUMES = tuple(f"{FIELD}{name}" for name in ("uv", "uv_scale", "masks"))
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class CaseNodes:
    """The nodes that show a case: the image, lists and uv volumes by structure, and the segmentation."""

    volume: Node
    lists: Mapping[str, Node] = field(default_factory=dict)
    segmentation: Node | None = None
    uv: Mapping[str, Node] = field(default_factory=dict)


class CaseRecord:
    """The two text nodes of one case in a scene. ``anchor`` is the one that people read, ``None`` before it is written.

    Slicer tells nobody that it is about to save (5.11 has an event for it, which nothing sends), so :meth:`write` is
    called with every new state. What stays the same between two edits is encoded once.
    """

    def __init__(self, scene: Any, case_name: str) -> None:
        self._scene, self._case_name = scene, case_name
        self.anchor: Node | None = None
        self._record: Node | None = None
        self._library = ("", "")
        self._masks: dict[str, _Encoded] = {}
        self._answer: _Encoded | None = None

    def adopt(self, saved: SavedCase) -> None:
        """Go on with the text nodes of a case that is in the scene already."""
        self.anchor, self._record = saved.anchor, saved.record
        if saved.library_name:
            self._library = (saved.library_id, saved.library_name)

    def write(self, session: Session, nodes: CaseNodes) -> Node:
        """Have the scene say what the session says now; returns the anchor. Only what differs is touched.

        The uv volumes must show the session's state already, see :meth:`~.uv_volumes.UvVolumes.show`.
        """
        anchor = self.anchor = self._text_node(self.anchor, "provenance")
        record = self._record = self._text_node(self._record, "record")
        record.SetHideFromEditors(True)
        _set_attribute(anchor, ANCHOR, "1")
        landmarks = session.state.landmarks
        for structure, node in nodes.lists.items():
            _set_attribute(node, STRUCTURE, to_attribute(structure))
            names = [landmarks.names[row] for row in landmarks.of_structure(structure)]
            _set_attribute(node, NAMES, json.dumps(names))
        _refer(anchor, VOLUME, [nodes.volume])
        _refer(anchor, LIST, nodes.lists.values())
        _refer(anchor, SEGMENTATION, [nodes.segmentation])
        _refer(anchor, UV, nodes.uv.values())
        _refer(anchor, RECORD, [record])
        sealed, said = seal(self._content(session, nodes)), self._provenance(session)
        if record.GetText() != sealed or _without_time(anchor.GetText()) != said:
            record.SetText(sealed)
            anchor.SetText(_readable(said | {"when": now()}))
        return anchor

    def remove(self) -> None:
        """Take both nodes out of the scene."""
        remove_node(self._scene, self.anchor)
        remove_node(self._scene, self._record)
        self.anchor = self._record = None

    def _text_node(self, node: Node | None, what: str) -> Node:
        if node is None or not is_in(self._scene, node):
            node = self._scene.AddNewNodeByClass(NODE_CLASS, node_name(f"{self._case_name} {what}"))
            node.SetUndoEnabled(False)  # the session's undo is the only one
        return node

    def _provenance(self, session: Session) -> dict[str, Any]:
        case, state = session.case, session.state
        prediction = None if state.answer is None else state.answer.prediction
        return {
            "format": FORMAT,
            "written_by": f"DenseLandmarks {__version__}",
            "library": {"id": case.library_id, "name": self._library_name(session)},
            "case": {"id": case.id, "name": case.name},
            "revision": session.revision,
            "unsaved": session.unsaved,
            "who": session.who,
            "model": None
            if prediction is None
            else {"name": prediction.model_name, "version": prediction.model_version},
            "image": {"pixel_hash": case.id, "pixel_hash_is": _PIXEL_HASH, "geometry": state.geometry.to_dict()},
        }

    def _library_name(self, session: Session) -> str:
        """Asked for once: a disk that is away is no reason to lose work, nor to wait at each edit."""
        case = session.case
        if self._library[0] != case.library_id:
            self._library = (case.library_id, "")
            try:
                self._library = (case.library_id, Library.open(case.library_folder).name)
            except InputError as error:
                logger.warning("%s", error)
        return self._library[1]

    def _content(self, session: Session, nodes: CaseNodes) -> dict[str, Any]:
        """The case as JSON types: what :func:`state_to_record` says, and all arrays that it names in base64.

        Of the arrays on the model's pixels only those that are not in the uv volumes.
        """
        state, answer, store = session.state, session.state.answer, MemoryStore()
        record = state_to_record(replace(state, answer=None, painted={}), store)
        arrays = {key: _base64(store, key) for key in store.keys}
        self._masks = {name: self._encoded_mask(name, mask) for name, mask in state.painted.items()}
        record["painted"] = {name: mask.key for name, mask in self._masks.items()}
        for mask in self._masks.values():
            arrays |= mask.arrays
        structures = _in_volumes(answer, nodes.uv)
        if answer is not None:
            if self._answer is None or self._answer.thing is not answer or self._answer.structures != structures:
                self._answer = _encode(answer, put_answer, structures)
            record["answer"] = self._answer.key
            arrays |= self._answer.arrays
        return {
            "case": identity(session.case.library_id, session.case.id, session.revision, session.unsaved),
            "record": record,
            "uv_volumes": list(structures),
            "arrays": arrays,
        }

    def _encoded_mask(self, name: str, mask: NDArray[np.bool_]) -> _Encoded:
        known = self._masks.get(name)
        return known if known is not None and known.thing is mask else _encode(mask, put_mask)


@dataclass(frozen=True)
class _Encoded:
    """Something that never changes as the record holds it: its key, and by key all that it consists of.

    ``structures`` are those whose uv is not there, but in their uv volumes.
    """

    thing: object
    structures: tuple[str, ...]
    key: str
    arrays: dict[str, str]


def _encode(thing: Thing, put: Callable[[Thing, Store], str], structures: tuple[str, ...] = ()) -> _Encoded:
    store = MemoryStore()
    key = put(thing, store)
    leave_out = _IN_VOLUMES if structures else ()
    return _Encoded(thing, structures, key, {key: _base64(store, key, leave_out) for key in store.keys})


def _base64(store: MemoryStore, key: str, leave_out: tuple[str, ...] = ()) -> str:
    header, arrays = store.get(key)
    if header["kind"] == PIXELS:
        arrays = {name: array for name, array in arrays.items() if name not in leave_out}
    return base64.b64encode(array_bytes(header, arrays)[1]).decode("ascii")


def _in_volumes(answer: ModelAnswer | None, uv: Mapping[str, Node]) -> tuple[str, ...]:
    """The structures of an answer, where each has its uv volume; else none."""
    uv_field = None if answer is None else answer.prediction.uv_field
    return uv_field.structures if uv_field is not None and set(uv_field.structures) == set(uv) else ()


def _readable(said: dict[str, Any]) -> str:
    # A lone surrogate, from a file's name, cannot be encoded; its escape is the same to whoever reads JSON.
    return json.dumps(said, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _without_time(text: str | None) -> Any:
    try:
        said = json.loads(text or "")
        said.pop("when")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return said


def _refer(anchor: Node, role: str, nodes: Iterable[Node | None]) -> None:
    ids = [node.GetID() for node in nodes if node is not None and is_in(anchor.GetScene(), node)]
    if ids != [anchor.GetNthNodeReferenceID(role, n) for n in range(anchor.GetNumberOfNodeReferences(role))]:
        anchor.RemoveNodeReferenceIDs(role)
        for node_id in ids:
            anchor.AddNodeReferenceID(role, node_id)


def _set_attribute(node: Node, name: str, value: str) -> None:
    if node.GetAttribute(name) != value:
        node.SetAttribute(name, value)
