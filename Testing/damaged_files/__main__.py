"""``python -m Testing.damaged_files``: a thousand damaged files, and none may do more than be refused in one line."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from Testing.damaged_files.generator import COMBINATIONS, DamagedFile, damaged_file
from Testing.damaged_files.reader import Reader, Reading
from Testing.damaged_files.report import Result, failure_lines, table
from Testing.damaged_files.verdict import faults, predict_faults


def check(
    seeds: list[int],
    keep: Path | None = None,
    model: str | None = None,
    judge: Callable[[DamagedFile, Reading], list[str]] = faults,
) -> list[Result]:
    """Write, read and judge the files of ``seeds``; only those that fail stay in ``keep``."""
    results = []
    with Reader(model) as reader, tempfile.TemporaryDirectory() as folder:
        for seed in tqdm(seeds, disable=None, leave=False):
            file = damaged_file(seed, Path(folder))
            reading = reader.read(file.path)
            found = judge(file, reading)
            results.append(Result(file, reading, found))
            if found and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.path, keep)
            file.path.unlink()
            left = sorted(path.name for path in Path(folder).iterdir())
            if left:
                raise RuntimeError(f"reading seed {seed} wrote {left} beside it")
    return results


def main() -> int:
    """Check them, print a table, and return 1 for any failure."""
    parser = argparse.ArgumentParser(prog="python -m Testing.damaged_files", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many files")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--quick", action="store_true", help="leave out those that unpack to hundreds of megabytes")
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    parser.add_argument("--predict", type=int, default=50, metavar="N", help="predict every Nth one as well; 0: none")
    parser.add_argument("--model", default="chest-xray", help="model to predict with")
    arguments = parser.parse_args()
    seeds = list(range(arguments.first, arguments.first + arguments.count))
    if arguments.quick:
        seeds = [seed for seed in seeds if not COMBINATIONS[seed % len(COMBINATIONS)][0].slow]
    results = check(seeds, arguments.keep)
    predicted = []
    if arguments.predict:
        predicted = check(seeds[:: arguments.predict], arguments.keep, arguments.model, predict_faults)
    print(table(results))
    chance = [result for result in results if not result.file.must_fail]
    as_read = sum(result.reading.outcome == "read" for result in chance)
    print(f"\n{len(chance)} of {len(results)} files might still be images by chance; {as_read} of these were read.")
    print(f"{len(predicted)} files went through 'dense-landmarks predict' as well.\n")
    lines = [*failure_lines(results), *(f"predict, {line}" for line in failure_lines(predicted))]
    print("\n".join(lines) if lines else "No failure.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
