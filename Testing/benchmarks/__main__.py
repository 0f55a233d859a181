"""``python -m Testing.benchmarks``: what is fast, as ratios taken in one run. No test asserts them."""

from __future__ import annotations

import argparse
import os

# Read when numpy is first imported. scipy's griddata solves a 2 x 2 system per triangle through BLAS, whose threads
# fight over a busy machine's cores: that made it seem up to fifty times slower than it is (scipy issue 23854).
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import torch

from Testing.benchmarks.library import library_rows
from Testing.benchmarks.predict import predict_rows
from Testing.benchmarks.read_out import read_out_rows
from Testing.benchmarks.scene import scene_rows
from Testing.benchmarks.timing import markdown_table
from Testing.benchmarks.uv_maps import uv_map_rows
from Testing.benchmarks.worker import worker_rows


def main() -> None:
    """Run all benchmarks and print one Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks", description="Print a table of speed ratios.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    torch.set_num_threads(parser.parse_args().threads)
    print(
        f"Medians of calls made in turns; ratios within a turn. {os.cpu_count()} CPU cores, {torch.get_num_threads()} "
        f"torch threads, 1 BLAS thread, load {os.getloadavg()[0]:.1f} before the start (above 0.5, the machine was busy).\n"
    )
    print(
        markdown_table(
            [*read_out_rows(), *uv_map_rows(), *predict_rows(), *worker_rows(), *library_rows(), *scene_rows()]
        )
    )


if __name__ == "__main__":
    main()
