"""Command line of the training half: ``python -m training COMMAND --help``."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys

from DenseLandmarksLib.exit_status import exit_status

COMMANDS = {
    "demo": "show the shipped model at work on a phantom or on your own image",
    "fit": "train a model from a recipe",
    "finetune": "let a model learn from what people decided in a library",
    "evaluate": "measure a model on annotated cases",
    "robustness": "what alterations of images cost, and whether foreign images are noticed",
    "propagation": "how many drags a case takes, with and without neighbours moving along",
    "calibrate": "limits of plausibility from models that were trained without a fold",
    "define-landmark": "template coordinate of a point seen in one annotated image",
    "new-landmarks": "measure landmarks that the model was never trained on",
    "neck-phantoms": "write a data folder of synthetic neck CTA volumes with exact truth",
    "pack": "bring a data folder into one file for a machine without the images",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; a person's mistake is told in one line with status 2."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    argv = sys.argv[1:] if argv is None else argv
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in argv[:1]:  # only the command that runs is imported: 'pack' needs no torch
            module = importlib.import_module(f"training.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: int(arguments.run(arguments)))


if __name__ == "__main__":
    sys.exit(main())
