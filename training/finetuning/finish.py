"""The end of fine-tuning: a bundle that says where it comes from, compared with its parent, listed, and active if it may be."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_text
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.descent import next_version, trained_on_by
from DenseLandmarksLib.models.manage_versions import add_version, set_active
from DenseLandmarksLib.models.versions import active_bundle, list_versions
from training.finetuning.gate import compare
from training.finetuning.learn import Learned
from training.finetuning.learned_decisions import learned_decisions
from training.finetuning.report import report_text
from training.finetuning.request import BegunRun, corrections
from training.finetuning.run_folder import BUNDLE, CANCEL, GATE, REPORT, TRAINED
from training.rewrite_bundle import rewrite_bundle

logger = logging.getLogger(__name__)


def finish(run: BegunRun, learned: Learned) -> None:
    """Export, compare, list, and make active where the comparison says so."""
    folder, parent, request = run.folder, run.parent, run.request
    folder.check_cancelled()
    bundle = _exported(run, learned)

    def progress(done: int, total: int) -> None:
        folder.tell("comparing", f"comparing with {parent.name} {parent.version}", _between(done, total))

    def cancelled() -> bool:
        return (folder.folder / CANCEL).exists()

    progress(0, 1)
    verdict = compare(
        parent, bundle, run.library, run.decisions, request.device, progress=progress, cancelled=cancelled
    )
    if verdict.cases and learned.replayed.line:
        verdict = replace(verdict, line=f"{verdict.line} {learned.replayed.line}")
    folder.write(GATE, verdict.to_dict())
    descent = {**bundle.metadata["descent"], "gate": verdict.without_cases().to_dict()}
    rewrite_bundle(bundle, metadata={"descent": descent})
    listed = _listed(run, load_bundle(bundle.folder))
    why_not = _why_not_active(run, listed) if verdict.is_to_be_active else ""
    is_active = verdict.is_to_be_active and not why_not
    if is_active:
        set_active(listed.name, listed.version, request.data_folder)
    line = f"{listed.name} {listed.version}: {verdict.line}{why_not}"
    write_text(folder.folder / REPORT, report_text(run, learned, listed, verdict, is_active, why_not))
    folder.tell("done", line, 1.0, learned.trainer.epoch, learned.trainer.epoch)
    logger.info("%s", line)


def _between(done: int, total: int) -> float:
    return TRAINED + (1 - TRAINED) * done / max(total, 1)


def _exported(run: BegunRun, learned: Learned) -> Bundle:
    """The bundle in the run's folder, with a version that nobody has, and its descent."""
    place, parent = run.request.output / BUNDLE, run.parent
    shutil.rmtree(place, ignore_errors=True)
    learned.task.export(place, learned.trainer.best_network, parent)
    learned_from = learned_decisions(run, learned.task)
    taught = {one.case_id: one.revision for one in learned_from}
    descent: dict[str, Any] = {
        "parent": f"{parent.name} {parent.version}",
        "library": {"id": run.library.id, "name": run.library.name},
        "revisions": taught,
        "corrections": corrections(learned_from),
        "new_landmarks": list(learned.task.run.new_landmarks),
        "gate": None,
        "trained_on": sorted({*taught, *learned.replayed.case_ids, *trained_on_by(parent.metadata)}),
        "run": run.id,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    version = next_version(parent.name, parent.version, run.request.data_folder)
    rewrite_bundle(load_bundle(place), metadata={"version": version, "descent": descent})
    return load_bundle(place)


def _listed(run: BegunRun, bundle: Bundle) -> Bundle:
    """The version as it is listed; what this run had listed when it was killed at its very end is that."""
    name, parent, data_folder = bundle.name, run.parent, run.request.data_folder
    for version in list_versions(name, data_folder):
        if not version.problem and version.metadata.get("descent", {}).get("run") == run.id:
            return load_bundle(version.folder)
    if active_bundle(name, data_folder) is None:
        try:
            add_version(parent.folder, data_folder)  # else the new one would be active for want of another
        except InputError:
            if active_bundle(name, data_folder) is None:  # else another run has just done it
                raise
    while True:
        number = next_version(parent.name, parent.version, data_folder)
        if number != bundle.version:
            rewrite_bundle(bundle, metadata={"version": number})
            bundle = load_bundle(bundle.folder)
        try:
            return load_bundle(add_version(bundle.folder, data_folder).folder)
        except InputError:
            if next_version(parent.name, parent.version, data_folder) == number:  # else another run has just taken it
                raise


def _why_not_active(run: BegunRun, listed: Bundle) -> str:
    """Why a version that is not worse than its parent stays inactive, a sentence; empty where nothing speaks against it.

    It was compared with its parent alone: what else is active, or became so meanwhile, may be better.
    """
    if not run.request.activate:
        return " It was asked for to leave the active version as it is."
    active = next((one for one in list_versions(listed.name, run.request.data_folder) if one.active), None)
    compared = (run.parent, listed)  # it itself, where a run goes on that was killed at its very end
    if active is None or any(
        (active.version, active.metadata.get("checksums")) == (one.version, one.metadata["checksums"])
        for one in compared
    ):
        return ""
    return f" Version {active.version} is active, with which it was not compared, so that one stays."
