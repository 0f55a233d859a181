"""Times taken in turns, and the table they end up in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """One line of the table; what does not apply is ``None`` (no other to compare with, no target set).

    ``more_ms`` is what ours takes more than the other, where that and not their ratio counts.
    """

    what: str
    ours_ms: float
    other_ms: float | None
    ratio: float | None
    target: str | None
    met: bool | None
    more_ms: float | None = None


def in_turns(functions: Sequence[Callable[[], object]], rounds: int = 20) -> NDArray[np.float64]:
    """Milliseconds (rounds, functions). Each round calls every function once, so a busy spell hits all of them."""
    taken = np.zeros((rounds + 1, len(functions)))
    for row in taken:
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[i] = 1000 * (time.perf_counter() - start)
    return taken[1:]  # the first round warms up


def compare_speed(what: str, ours: Callable[[], object], other: Callable[[], object], at_least: float | None) -> Row:
    """Ours is to be ``at_least`` times faster than the other: medians of both and of their ratio within a round."""
    taken = in_turns([ours, other])
    ratio = float(np.median(taken[:, 1] / taken[:, 0]))
    ours_ms, other_ms = np.median(taken, axis=0)
    if at_least is None:
        return Row(what, ours_ms, other_ms, ratio, None, None)
    return Row(what, ours_ms, other_ms, ratio, f"≥ {at_least:g} times faster", ratio >= at_least)


def compare_overhead(what: str, whole: Callable[[], object], part: Callable[[], object], at_most: float) -> Row:
    """The whole is to take ``at_most`` times as long as the part of it that is given."""
    taken = in_turns([whole, part])
    ratio = float(np.median(taken[:, 0] / taken[:, 1]))
    whole_ms, part_ms = np.median(taken, axis=0)
    return Row(what, whole_ms, part_ms, ratio, f"≤ {at_most:g} times as long", ratio <= at_most)


def compare_difference(what: str, whole: Callable[[], object], part: Callable[[], object], at_most_ms: float) -> Row:
    """The whole is to take at most so many milliseconds more than the part of it that is given."""
    taken = in_turns([whole, part], rounds=40)
    more_ms = float(np.median(taken[:, 0] - taken[:, 1]))
    whole_ms, part_ms = np.median(taken, axis=0)
    return Row(what, whole_ms, part_ms, None, f"≤ {at_most_ms:g} ms more", more_ms <= at_most_ms, more_ms)


def time_alone(what: str, ours: Callable[[], object], at_most_ms: float) -> Row:
    """Ours is to take at most so many milliseconds."""
    ours_ms = float(np.median(in_turns([ours], rounds=200)))
    return Row(what, ours_ms, None, None, f"≤ {at_most_ms:g} ms", ours_ms <= at_most_ms)


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| what | ours (ms) | other (ms) | ratio | more (ms) | target | met |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        numbers = (row.other_ms, row.ratio, row.more_ms)
        other, ratio, more = (f"{value:.2f}" if value is not None else "" for value in numbers)
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        target = row.target or "none set"
        lines.append(f"| {row.what} | {row.ours_ms:.2f} | {other} | {ratio} | {more} | {target} | {met} |")
    return "\n".join(lines)
