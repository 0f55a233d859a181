"""``python -m training pack``: a data folder as one file, for a machine that has neither the images nor their readers."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.grid_cases import read_grid_cases, save_grid_cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training pack``."""
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument(
        "--output", type=Path, required=True, help="the .npz to write; it holds images: do not publish it"
    )
    parser.add_argument("--grid", type=int, nargs=2, default=(256, 256), metavar=("HEIGHT", "WIDTH"))


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training pack``."""
    save_grid_cases(arguments.output, read_grid_cases(arguments.data, tuple(arguments.grid)))
    return 0
