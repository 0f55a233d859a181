"""``python -m training finetune``: a model learns from what people decided in a library, and a new version comes out.

The new version is compared with the old one on cases that were decided blind, and becomes active only where it is not worse.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.registry import choose_device
from training.finetuning.compared_errors import CancelledComparisonError
from training.finetuning.finish import finish
from training.finetuning.learn import learn
from training.finetuning.recipe import FinetuneRecipe, read_finetune_recipe
from training.finetuning.request import FinetuneRequest, begin
from training.finetuning.run_folder import CancelledError, OtherRunError, RunFolder

logger = logging.getLogger(__name__)


def finetune(request: FinetuneRequest) -> bool:
    """Learn from a library, make a version of it, compare it with the one before.

    Returns whether all is done; somebody who cancels, and time that runs out, end it early with a checkpoint.

    Raises :class:`InputError`, in one line, for all that can go wrong, and keeps what there is: the line is in ``state.json``
    too, and no version is listed that is not whole.
    """
    folder = RunFolder(request.output)
    with folder.held():
        try:
            run = begin(request, folder)
            if run is None:
                return True
            finish(run, learn(run))
        except (CancelledError, CancelledComparisonError, KeyboardInterrupt) as end:
            line = str(end) or "cancelled"
            folder.tell("cancelled", f"{line}; it can go on from here", folder.last_fraction)
            logger.info("%s; --resume goes on", line)
            return False
        except OtherRunError:
            raise
        except Exception as error:
            mistake = _in_one_line(error, request.output)
            _tell_failure(folder, str(mistake))
            if mistake is error:
                raise
            raise mistake from error
    return True


def _in_one_line(error: Exception, output: Path) -> InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError):
        return InputError(
            f"expected to write the run in {output}, got '{error.strerror or error}'. Free space on the disk, or make the "
            "folder writable, and go on with --resume."
        )
    if isinstance(error, MemoryError):
        return InputError(
            "expected enough memory for the cases, got less. Give another machine, or a smaller batch in --recipe."
        )
    logger.exception("unexpected")
    return InputError(
        f"expected to finish, got {type(error).__name__}: {' '.join(str(error).split())[:200]}. See the log; --resume goes on."
    )


def _tell_failure(folder: RunFolder, line: str) -> None:
    try:
        folder.tell("failed", line, folder.last_fraction)
    except (OSError, InputError):  # the disk is full: the log and the exit status say it
        logger.warning("state.json could not be written")


def let_others_go_first() -> None:
    """Give this process a low priority: people work beside it."""
    if sys.platform == "win32":
        import ctypes

        below_normal = 0x4000  # BELOW_NORMAL_PRIORITY_CLASS of SetPriorityClass
        ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
    else:
        os.nice(10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training finetune``."""
    parser.add_argument(
        "--model", required=True, metavar="NAME|FOLDER", help="the active version of a model, or a bundle"
    )
    parser.add_argument("--library", type=Path, required=True, help="case library to learn from")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--replay", type=Path, help="data folder or packed file that the model was trained on")
    parser.add_argument("--recipe", type=Path, help="TOML file with a table [finetune]")
    parser.add_argument("--steps", type=int, help="steps of training, instead of those of the recipe")
    parser.add_argument("--seed", type=int, help="of all random numbers, instead of that of the recipe")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, exactly")
    parser.add_argument(
        "--max-minutes", type=float, default=float("inf"), help="stop with a checkpoint after this time"
    )
    parser.add_argument("--low-priority", action="store_true", help="let other programs go first")
    parser.add_argument("--no-activate", action="store_true", help="leave the active version as it is, in any case")
    parser.add_argument(
        "--data-folder", type=Path, help="where the user's versions lie, instead of the user's data folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training finetune``; 0 when done, 3 when it was cancelled or time ran out first."""
    if arguments.low_priority:
        let_others_go_first()
    options = FinetuneRecipe() if arguments.recipe is None else read_finetune_recipe(arguments.recipe)
    given = {name: getattr(arguments, name) for name in ("steps", "seed") if getattr(arguments, name) is not None}
    request = FinetuneRequest(
        model=arguments.model,
        library=arguments.library,
        output=arguments.output,
        options=dataclasses.replace(options, **given),
        replay=arguments.replay,
        device=choose_device(arguments.device),
        resume=arguments.resume,
        max_minutes=arguments.max_minutes,
        activate=not arguments.no_activate,
        data_folder=arguments.data_folder,
    )
    return 0 if finetune(request) else 3
