"""What a run of fine-tuning is asked for, and what it finds: the model, and the decisions to learn from."""

from __future__ import annotations

import dataclasses
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.library.comparison import for_comparison
from DenseLandmarksLib.annotation.library.decisions import Decisions, read_decisions, read_decisions_of
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import find_bundle
from training.finetuning.origin import versions
from training.finetuning.recipe import FinetuneRecipe, finetune_recipe_from_dict
from training.finetuning.run_folder import CASES, FORMAT, RUN, STATE, OtherRunError, RunFolder


@dataclass(frozen=True)
class FinetuneRequest:
    """What somebody asked for, see ``python -m training finetune --help``."""

    model: str
    library: Path
    output: Path
    options: FinetuneRecipe
    replay: Path | None = None
    device: str = "cpu"
    resume: bool = False
    max_minutes: float = float("inf")
    activate: bool = True
    data_folder: Path | None = None


@dataclass(frozen=True)
class BegunRun:
    """A run under way.

    Attributes
    ----------
    parent : the version that it goes on from.
    id : of the run; it stays when the run goes on.
    decisions : all of the library; ``training`` those that it learns from, ``comparison`` the others, on whom versions are
        compared.
    lines : what is left out, one line each.
    """

    id: str
    request: FinetuneRequest
    folder: RunFolder
    parent: Bundle
    library: Library
    training: tuple[Decisions, ...]
    comparison: tuple[Decisions, ...]
    lines: tuple[str, ...]

    @property
    def decisions(self) -> tuple[Decisions, ...]:
        """Those of all cases."""
        return (*self.training, *self.comparison)


def begin(request: FinetuneRequest, folder: RunFolder) -> BegunRun | None:
    """Read what there is to learn from, or what the run that goes on learned from; ``None`` for one that is done already.

    Raises :class:`OtherRunError` for a folder of another run, and :class:`InputError` where there is nothing to learn from.
    """
    begun = folder.read(RUN)
    if begun is not None and not request.resume:
        if folder.read(CASES) is not None:
            raise OtherRunError(
                f"expected an empty --output, {request.output} already holds a run. Add --resume or give another folder."
            )
        begun = None  # it ended before it learned anything: there is nothing to lose
        folder.go_on()
    library = Library.open(request.library)
    if begun is not None:
        _check_same(request, library, begun)
        if (folder.read(STATE) or {}).get("status") == "done":
            return None
    if request.resume:
        folder.go_on()
    place = find_bundle(request.model, request.data_folder) if begun is None else Path(begun["parent_folder"])
    parent = load_bundle(place)
    if begun is None:
        begun = _about(request, library, parent)
        folder.write(RUN, begun)
    folder.tell("reading", f"reading the library {library.name}", 0.0)
    known = folder.read(CASES)
    if known is None:
        decisions, lines = read_decisions(library)
    else:
        decisions, lines = _the_same(library, known), tuple(known["lines"])
    training, comparison = _split(library, decisions)
    return BegunRun(str(begun["id"]), request, folder, parent, library, training, comparison, lines)


def _split(library: Library, decisions: Sequence[Decisions]) -> tuple[tuple[Decisions, ...], tuple[Decisions, ...]]:
    """The cases to learn from, and those that versions are compared on."""
    kept_back = for_comparison(decisions)
    training = tuple(one for one in decisions if one.person not in kept_back)
    if not training:
        also = f" {len(decisions)} are kept for comparison." if decisions else ""
        raise InputError(
            f"expected a case in {library.name} in which somebody corrected, placed or accepted something, got none.{also} "
            "Correct some, and save them."
        )
    return training, tuple(one for one in decisions if one.person in kept_back)


def write_cases(run: BegunRun, new_landmarks: Sequence[str], lines: Sequence[str]) -> None:
    """Write down what is learned from, so that a run that goes on learns from the same."""
    roles = [("training", one) for one in run.training] + [("comparison", one) for one in run.comparison]
    run.folder.write(
        CASES,
        {
            "format": FORMAT,
            "cases": [
                {
                    "id": one.case_id,
                    "name": one.name,
                    "revision": one.revision,
                    "digest": one.digest,
                    "role": role,
                    "decisions": corrections([one]),
                    "masks": len(one.masks),
                }
                for role, one in roles
            ],
            "new_landmarks": list(new_landmarks),
            "lines": list(lines),
        },
    )


def corrections(decisions: Sequence[Decisions]) -> dict[str, int]:
    """How many landmarks were decided in which way; ``absent`` counts those that are not in the image."""
    counts = Counter(
        "absent" if row.index_ijk is None else str(row.review) for one in decisions for row in one.landmarks
    )
    return {kind: counts[kind] for kind in ("corrected", "placed", "verified", "absent")}


def _about(request: FinetuneRequest, library: Library, parent: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": secrets.token_hex(8),
        "model": request.model,
        "parent": f"{parent.name} {parent.version}",
        "parent_folder": str(parent.folder.resolve()),
        "library": {"id": library.id, "name": library.name, "folder": str(library.folder.resolve())},
        "replay": None if request.replay is None else str(request.replay.resolve()),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "finetune": dataclasses.asdict(request.options),
        "arguments": {
            "device": request.device,
            "activate": request.activate,
            "data_folder": None if request.data_folder is None else str(request.data_folder.resolve()),
        },
    }


def _check_same(request: FinetuneRequest, library: Library, begun: dict[str, Any]) -> None:
    """Raise :class:`InputError` unless the run that was begun is the one that is asked for."""
    replay = None if request.replay is None else str(request.replay.resolve())
    same = {
        "model": begun.get("model") == request.model,
        "library": begun.get("library", {}).get("id") == library.id,
        "replay": begun.get("replay") == replay,
        "options": finetune_recipe_from_dict(begun.get("finetune", {})) == request.options,
    }
    other = [name for name, is_same in same.items() if not is_same]
    if other:
        raise OtherRunError(
            f"expected to go on with the run in {request.output}, got another {', '.join(other)}. Give another --output."
        )


def _the_same(library: Library, known: dict[str, Any]) -> tuple[Decisions, ...]:
    decisions = read_decisions_of(library, {case["id"]: case["revision"] for case in known["cases"]})
    for one, case in zip(decisions, known["cases"], strict=True):
        if one.digest != case["digest"]:
            raise InputError(
                f"expected revision {one.revision} of case {one.name} as the run found it, got a file that was changed since. "
                "Restore it from a backup, or begin in another folder."
            )
    return decisions
