"""One pass of a model over a grey ramp, told with everything that it depends on."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.worker.environment_report import EnvironmentReport
from DenseLandmarksLib.worker.server_models import WarmModels
from DenseLandmarksLib.worker.server_packages import version_lines

logger = logging.getLogger(__name__)


def check(models: WarmModels, folder: Path, device: str, before_pass: Callable[[], None]) -> EnvironmentReport:
    """Versions, the accelerator, and one pass of the model; what does not work is said in the report.

    ``before_pass`` is called before the model is opened; what it raises ends the check.
    """
    lines = [*version_lines(), *accelerator_lines()]
    before_pass()
    try:
        began = time.monotonic()
        predictor = models.warm(folder, device) or models.open(folder, device)
        opened = time.monotonic()
        finite = predictor.run_once()
        pass_s = time.monotonic() - opened
        if not finite:
            raise ArithmeticError("values that are no numbers")
    except InputError as error:
        return EnvironmentReport(tuple(lines), " ".join(str(error).split()))
    except Exception as error:
        logger.exception("the check did not come to its end")
        what = _in_one_line(f"{type(error).__name__}: {error}")
        return EnvironmentReport(
            tuple(lines),
            f"expected one pass of the model on the device {device}, got {what}. Choose the device cpu, or install a torch "
            "that fits the graphics card.",
        )
    name = f"{predictor.name} {predictor.version} on {predictor.device}"
    lines.append(f"{name}: opened in {opened - began:.2f} s, one pass in {pass_s:.2f} s")
    return EnvironmentReport(tuple(lines), "", predictor.device, pass_s)


def accelerator_lines() -> list[str]:
    """Each graphics card with its memory, or why there is none."""
    built_for = torch.version.cuda
    if built_for is None:
        return ["GPU: none, as this torch was built without CUDA"]
    try:
        # Torch warns of a driver that is too old, and says no more.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            there = torch.cuda.is_available()
        if not there:
            why = "".join(f"; {_in_one_line(one.message)}" for one in warned)
            return [f"GPU: none that CUDA {built_for} finds{why}"]
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    except Exception as error:
        return [f"GPU: CUDA {built_for} cannot be asked; {_in_one_line(error)}"]
    return [f"GPU: {card.name}, {card.total_memory / (1 << 30):.1f} GiB, CUDA {built_for}" for card in cards]


def _in_one_line(said: object) -> str:
    return " ".join(str(said).split())[:300]
