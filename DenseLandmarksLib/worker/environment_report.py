"""What a worker says of its environment: versions, the accelerator, and how long one pass of a model takes there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EnvironmentReport:
    """The environment that predictions run in.

    Attributes
    ----------
    lines : versions, the accelerator or why there is none, and the pass; no patient's and no user's name.
    problem : why nothing can be predicted there, one line with what to do; empty where the pass came to its end.
    device : where the pass ran (``"cpu"``, ``"cuda"``); empty where there was none.
    pass_s : seconds that one pass of the network took, the first after its model was opened; ``None`` for none.
    """

    lines: tuple[str, ...]
    problem: str = ""
    device: str = ""
    pass_s: float | None = None

    @property
    def text(self) -> str:
        """All of it, to be copied."""
        return "\n".join([*self.lines, *([self.problem] if self.problem else [])])


def report_to_header(report: EnvironmentReport) -> dict[str, Any]:
    """As JSON has it."""
    return {"lines": list(report.lines), "problem": report.problem, "device": report.device, "pass_s": report.pass_s}


def report_from_header(header: Mapping[str, Any]) -> EnvironmentReport:
    """The way back."""
    pass_s = header["pass_s"]
    return EnvironmentReport(
        tuple(str(line) for line in header["lines"]),
        str(header["problem"]),
        str(header["device"]),
        None if pass_s is None else float(pass_s),
    )
