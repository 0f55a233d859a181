"""``python -m Testing.extension.lay_out FOLDER``: the extension as Slicer installs it, without Slicer and CMake."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from Testing.extension.installed_files import SCRIPTED_MODULES, SHARE, Installed

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Layout:
    """An installed extension.

    ``scripted_modules`` is on Slicer's Python path, with every other extension's; ``share`` is on that of child processes
    that train.
    """

    scripted_modules: Path
    share: Path
    installed: Installed


def lay_out(folder: Path, root: Path = ROOT) -> Layout:
    """Copy the files of the source tree ``root`` to where they would be installed below an empty ``folder``."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"expected an empty folder, got {folder}. Name another one.")
    installed = Installed(root)
    for where, source in installed.files.items():
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / where)
    return Layout(folder / SCRIPTED_MODULES, folder / SHARE / "DenseLandmarks", installed)


def main() -> int:
    """Lay out this source tree; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder, or one to be made")
    try:
        layout = lay_out(parser.parse_args().folder)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{len(layout.installed.files)} files; Slicer's module path: {layout.scripted_modules}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
