"""What a scene says about its case, so that a saved scene is the whole case: whoever opens it goes on where it was left.

Two text nodes. "<case> provenance" is for people to read, and is the anchor: it refers to all nodes of the case, by roles,
which Slicer keeps right when it saves a scene or adds it to another. A hidden one holds the case to the last bit; but
the uv field, which is large, lies in the uv volumes alone.
"""

from __future__ import annotations

import base64
import hashlib
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
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.library.case import now, one_line
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.mask_record import put_mask
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.scene_text import from_attribute, node_name, to_attribute
from DenseLandmarksLib.scene.uv_volumes import STRUCTURE, uv_arrays

logger = logging.getLogger(__name__)

FORMAT = 1
NODE_CLASS = "vtkMRMLTextNode"
ANCHOR = "DenseLandmarks.Anchor"
NAMES = "DenseLandmarks.Names"
VOLUME, LIST, SEGMENTATION, UV, RECORD = (
    f"DenseLandmarks.{role}" for role in ("volume", "list", "segmentation", "uv", "record")
)
"""The roles by which the anchor refers to the nodes of its case."""
_REMEDY = "Open the case from its library."
_PIXEL_HASH = "HMAC-SHA256, with the library's salt, over size, type and values of the pixels"
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
        sealed, said = _seal(self._content(session, nodes)), self._provenance(session)
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
            "case": _identity(session.case.library_id, session.case.id, session.revision, session.unsaved),
            "record": record,
            "uv_volumes": list(structures),
            "arrays": arrays,
        }

    def _encoded_mask(self, name: str, mask: NDArray[np.bool_]) -> _Encoded:
        known = self._masks.get(name)
        return known if known is not None and known.thing is mask else _encode(mask, put_mask)


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
            content = _unseal(self.record.GetText())
            if content["case"] != _identity(self.library_id, self.case_id, self.revision, self.unsaved):
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
        if header["kind"] == _PIXELS and structures:
            found = uv_arrays(self.uv, structures)
            found["masks"] = np.packbits(found["masks"])
            arrays |= {f"{_FIELD}{name}": array for name, array in found.items()}
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


# ---- how it lies in the scene -------------------------------------------------------------------------------------------

_PIXELS, _FIELD = "pixels", "uv_field."
_IN_VOLUMES = tuple(f"{_FIELD}{name}" for name in ("uv", "uv_scale", "masks"))


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
    if header["kind"] == _PIXELS:
        arrays = {name: array for name, array in arrays.items() if name not in leave_out}
    return base64.b64encode(array_bytes(header, arrays)[1]).decode("ascii")


def _in_volumes(answer: ModelAnswer | None, uv: Mapping[str, Node]) -> tuple[str, ...]:
    """The structures of an answer, where each has its uv volume; else none."""
    uv_field = None if answer is None else answer.prediction.uv_field
    return uv_field.structures if uv_field is not None and set(uv_field.structures) == set(uv) else ()


def _identity(library_id: str, case_id: str, revision: int, unsaved: bool) -> list[Any]:
    return [library_id, case_id, revision, unsaved]


def _seal(content: dict[str, Any]) -> str:
    """ASCII, whatever is in it; with a hash, as hardly a digit of a JSON can be seen to be wrong."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return f'{{"format":{FORMAT},"sha256":"{hashlib.sha256(text.encode()).hexdigest()}","content":{text}}}'


def _unseal(text: str) -> dict[str, Any]:
    """The content of :func:`_seal`; raises ``ValueError`` and others for anything else."""
    content: dict[str, Any] = json.loads(text)["content"]
    if _seal(content) != text.strip():
        raise ValueError("changed, or of another format")
    return content


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


def _refer(anchor: Node, role: str, nodes: Iterable[Node | None]) -> None:
    ids = [node.GetID() for node in nodes if node is not None and is_in(anchor.GetScene(), node)]
    if ids != [anchor.GetNthNodeReferenceID(role, n) for n in range(anchor.GetNumberOfNodeReferences(role))]:
        anchor.RemoveNodeReferenceIDs(role)
        for node_id in ids:
            anchor.AddNodeReferenceID(role, node_id)


def _set_attribute(node: Node, name: str, value: str) -> None:
    if node.GetAttribute(name) != value:
        node.SetAttribute(name, value)
