"""The table of the command: what became of the files of every kind and format."""

from __future__ import annotations

from dataclasses import dataclass

from Testing.damaged_files.generator import DamagedFile
from Testing.damaged_files.good_file import family
from Testing.damaged_files.reader import Reading


@dataclass(frozen=True)
class Result:
    """A file, how reading it ended, and what was wrong with that."""

    file: DamagedFile
    reading: Reading
    faults: list[str]


_HEADER = ("damage", "format", "files", "refused", "read, as allowed", "failures", "slowest", "memory")


def table(results: list[Result]) -> str:
    """A Markdown table with a row for every kind of damage and family of formats, and their sum."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.file.damage, family(result.file.format)), []).append(result)
    rows = [_HEADER, tuple("-" * len(title) for title in _HEADER)]
    rows += [_row(*key, groups[key]) for key in sorted(groups)]
    if results:
        rows.append(_row("all", "all", results))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def failure_lines(results: list[Result]) -> list[str]:
    """One line for every failure, with its seed."""
    return [
        f"seed {result.file.seed}: {result.file.damage} ({result.file.description}), {result.file.format}: "
        + "; ".join(fault.replace("\n", " / ") for fault in result.faults)
        for result in results
        if result.faults
    ]


def _row(damage: str, name: str, results: list[Result]) -> tuple[str, ...]:
    right = [result for result in results if not result.faults]
    return (
        damage,
        name,
        str(len(results)),
        str(sum(result.reading.outcome == "refused" for result in right)),
        str(sum(result.reading.outcome == "read" for result in right)),
        str(len(results) - len(right)),
        f"{max(result.reading.seconds for result in results):.1f} s",
        f"{max(result.reading.peak_bytes for result in results) / 2**20:.0f} MiB",
    )
