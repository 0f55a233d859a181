"""``dense-landmarks serve``: the same work in a browser. The web stack is loaded only when it is asked for."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from DenseLandmarksLib.annotation.library.import_run import ImportRun
from DenseLandmarksLib.annotation.library.library import LIBRARY_FILE
from DenseLandmarksLib.cli_library import user_name
from DenseLandmarksLib.errors import InputError

# What starts a server for somebody else gives it a token so: all users see the arguments of a process.
TOKEN_VARIABLE = "DENSE_LANDMARKS_TOKEN"
_EPILOG = """\
The printed link is the key: whoever has it can do what you can. Ctrl+C ends it; what is not saved then is offered again
when its case is opened. For other computers, give --host with a certificate, or have a proxy in front; to reach a
server of yours by ssh, forward the port: ssh -L PORT:127.0.0.1:PORT SERVER.

A proxy in front may choose the token, in the environment as DENSE_LANDMARKS_TOKEN, and bring it along with each request
as "Authorization: Bearer TOKEN".

exit status: 0 ended with Ctrl+C; 2 a mistake in what was given
"""
_OPEN_LINK = """<!doctype html><meta charset="utf-8"><title>DenseLandmarks</title>
<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">DenseLandmarks</a>
"""


def add_serve_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; it leaves its function in ``arguments.act``."""
    command = commands.add_parser(
        "serve",
        help="work in a browser",
        description="Work in a browser: on a case library, or on images, which become cases of a library of your own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="LIBRARY|IMAGE",
        help="the folder of a library, or images and their folders",
    )
    command.add_argument("--host", default="127.0.0.1", help="address to listen at; otherwise this computer's own only")
    command.add_argument("--port", type=int, default=0, help="otherwise one that is free")
    command.add_argument(
        "--who", default=user_name(), help="the person whose work this is; otherwise the user of this computer"
    )
    command.add_argument(
        "--original-cases",
        nargs=2,
        action="append",
        default=[],
        metavar=("MODEL", "FOLDER"),
        help="the data folder, or packed file, that a model was trained on: retraining replays its cases; kept until forgotten",
    )
    command.add_argument("--certificate", type=Path, metavar="FILE", help="of this server, with its chain, as PEM")
    command.add_argument("--key", type=Path, metavar="FILE", help="of the certificate, as PEM")
    command.add_argument(
        "--behind-proxy",
        default="",
        metavar="ORIGIN",
        help="where a proxy shows it, such as https://hub.example.org/anna; the proxy encrypts, keeps Host, takes the path away",
    )
    command.add_argument("--no-browser", action="store_true", help="only print the link")
    command.set_defaults(act=serve_in_browser)


def serve_in_browser(arguments: argparse.Namespace) -> int:
    """Open what was named and serve it until Ctrl+C; 2 where none of the images could be used."""
    if not 0 <= arguments.port <= 65535:
        raise InputError(f"expected --port from 0 to 65535, got {arguments.port}. Correct or omit it.")
    # Before anything is imported or loaded: a mistake is told at once.
    with _needing_web_stack():
        from DenseLandmarksLib.web.serve import Address, serve
        from DenseLandmarksLib.web.start import new_bench, page_on
    # No child of this process needs it.
    token = os.environ.pop(TOKEN_VARIABLE, "")
    address = Address(
        arguments.host, arguments.port, arguments.certificate, arguments.key, arguments.behind_proxy, token
    )
    address.tls()
    app, bench = new_bench(arguments.who)
    for model, folder in arguments.original_cases:
        bench.retraining.choose_original_cases(model, Path(folder))
    opened = open_paths(bench, arguments.paths)
    if opened is not None:
        bench.open_case(opened)
    with TemporaryDirectory(prefix="dense-landmarks-") as folder:

        def ready(link: str) -> None:
            print(f"open this link; Ctrl+C ends it\n  {link}", flush=True)
            if not arguments.no_browser:
                open_in_browser(link, Path(folder))

        serve(bench, page_on(app), address, ready)
    print("\nended; what is not saved is offered again when its case is opened", flush=True)
    return 0


def open_paths(bench: Any, paths: Sequence[Path]) -> str | None:
    """Open the library that was named, or bring images into the user's own; returns the id of the first one's case.

    Raises :class:`InputError` for anything else.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: expected a case library or images, found nothing there. Check the path.")
    libraries = [path for path in paths if (path / LIBRARY_FILE).exists()]
    if libraries:
        if len(paths) > 1:
            raise InputError(f"expected one case library, or images, got {len(paths)} names with a library. Name one.")
        bench.open_library(libraries[0])
        return None
    run = ImportRun(bench.need_library(), paths, bench.who, copy=True)
    added = []
    while not run.is_over:
        run.step()
        if run.last is not None and run.last.case is not None:
            added.append(run.last.case.id)
        elif run.last is not None:
            print(f"error: {run.last.problem}", file=sys.stderr)
    if paths and not added:
        raise InputError(f"expected an image to work on, got none in {', '.join(map(str, paths))}. Name others.")
    return added[0] if added else None


def open_in_browser(link: str, folder: Path) -> None:
    """Have the browser open the link, through a file that only this user reads: all users see what programs are given."""
    page = folder / "open.html"
    page.touch(mode=0o600)
    page.write_text(_OPEN_LINK.format(link=link), encoding="utf-8")
    # Where there is no screen this may be a browser in the terminal, which is waited for.
    threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()


@contextmanager
def _needing_web_stack() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"expected trame and slicer-core for the work in a browser, got '{error}'. Install them: pip install "
            "--editable '.[web]'"
        ) from error
