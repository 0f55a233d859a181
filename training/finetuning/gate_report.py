"""A verdict as Markdown, for the report of a run."""

from __future__ import annotations

from training.finetuning.gate import Verdict


def verdict_lines(verdict: Verdict) -> list[str]:
    """The sentence, the table by structure, what was called absent, and what was left out, one line each."""
    lines = [verdict.line, ""]
    if verdict.cases:
        lines += ["| structure | cases | landmarks | before mm | after mm |", "|---|---|---|---|---|"]
        for row in verdict.by_structure:
            lines.append(_row(row.structure or "-", row.cases, row.landmarks, row.before_mm, row.after_mm))
        lines.append(_row("all", verdict.cases, verdict.landmarks, verdict.before_mm, verdict.after_mm))
        before, after = verdict.called_absent
        lines += [
            "",
            f"Of {verdict.landmarks} landmarks that people placed, the old version called {before} absent, the new one "
            f"{after}. Their best guesses were measured.",
            "",
        ]
    return [*lines, *(f"* {note}" for note in verdict.notes)]


def _row(name: str, cases: int, landmarks: int, before_mm: float | None, after_mm: float | None) -> str:
    figures = ["-" if value is None else f"{value:.2f}" for value in (before_mm, after_mm)]
    return f"| {name} | {cases} | {landmarks} | {figures[0]} | {figures[1]} |"
