"""The report of a run of fine-tuning, for a person."""

from __future__ import annotations

import csv
from pathlib import Path

from DenseLandmarksLib.models.bundle import BundleDescription
from training.finetuning.gate import Verdict
from training.finetuning.gate_report import verdict_lines
from training.finetuning.learn import Learned
from training.finetuning.learned_decisions import learned_decisions
from training.finetuning.request import BegunRun, corrections
from training.run_epochs import VALIDATION_CURVE


def report_text(
    run: BegunRun,
    learned: Learned,
    version: BundleDescription,
    verdict: Verdict,
    is_active: bool,
    why_not: str = "",
) -> str:
    """``report.md``: what was learned from what, the curve's ends, the comparison, and what became of it.

    ``why_not`` is a sentence, with a space before it, on why a version that might be active is not.
    """
    counts = corrections(learned_decisions(run, learned.task))
    decided = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    options = run.request.options
    if (mix := learned.task.run.mix).is_mixed:
        kept = f"{mix.original} original cases replayed ({mix.share:.0%} of each batch)"
    elif options.pull > 0 and not options.anew:
        kept = f"pulled to its old weights ({options.pull:g})"
    else:
        kept = "nothing holds the old weights"
    lines = [
        f"# {version.name} {version.version}",
        "",
        f"Parent: {run.parent.name} {run.parent.version}. Library: {run.library.name}, "
        f"{len(learned.task.run.case_ids)} cases to learn from ({decided or 'masks alone'}), {len(run.comparison)} kept for "
        "comparison.",
        "",
        f"{learned.trainer.task.optimiser.steps} steps, batch {learned.trainer.task.optimiser.batch}, learning rate "
        f"{learned.trainer.task.optimiser.learning_rate:g}, verified landmarks weigh {options.verified_weight:g}, {kept}, "
        f"seed {options.seed}, {run.request.device}.",
    ]
    if learned.task.run.new_landmarks:
        lines += ["", f"New landmarks: {', '.join(learned.task.run.new_landmarks)}."]
    ends = _ends(run.request.output / VALIDATION_CURVE)
    if ends:
        whose = f"{learned.compared} case{'' if learned.compared == 1 else 's'} for comparison"
        whose = whose if learned.compared else "the cases that it learned from"
        lines += ["", f"Mean error on {whose}: {ends[0]:.2f} mm before, {ends[1]:.2f} mm after."]
    lines += ["", "## Comparison", "", *verdict_lines(verdict)]
    lines += ["", f"The new version is {'active' if is_active else 'listed and not active'}.{why_not}"]
    if learned.lines:
        lines += ["", "## Left out, and to know", "", *(f"* {line}" for line in learned.lines)]
    return "\n".join(lines) + "\n"


def _ends(curve: Path) -> tuple[float, float] | None:
    """The first and the last error of a curve, mm; ``None`` without any."""
    if not curve.is_file():
        return None
    with curve.open(newline="") as file:
        errors_mm = [float(row["error_mm"]) for row in csv.DictReader(file)]
    return (errors_mm[0], errors_mm[-1]) if errors_mm else None
