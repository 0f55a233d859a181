"""The cases that the chosen model was trained on: which are replayed, and forgetting them.

Unlike in the panel there is no button to choose their folder: a page names no folder. It is named when the server starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.web.state import Frame

_HOW = "Their folder is named when the server starts: dense-landmarks serve --original-cases MODEL FOLDER"


class OriginalCasesRow:
    """A line about them, *Forget*."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        frame.command("forget_original_cases", self._forget)

    def shown(self) -> dict[str, Any]:
        """What a retraining of the model would replay."""
        folder, is_there = self._bench.retraining.original_cases(self._frame.chosen("model"))
        return {"original_cases_line": _line(folder, is_there), "has_original_cases": folder is not None}

    def _forget(self) -> None:
        self._bench.retraining.forget_original_cases(self._frame.chosen("model"))

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Span("{{ original_cases_line }}", id="original-cases", classes="grow quiet", title=_HOW)
            v.VBtn(
                "Forget",
                v_if=("has_original_cases",),
                id="forget-original-cases",
                title="Retrain without the original cases from now on; they stay where they are.",
                click="trigger('forget_original_cases')",
            )


def _line(folder: Path | None, is_there: bool) -> str:
    if folder is None:
        return "Original cases: none given; the model is held near its old weights instead."
    if not is_there:
        return f"Original cases: {folder.name} is not there any more. Say where they are now, or forget them."
    return f"Original cases: {folder.name}, replayed so that nothing is forgotten."
