"""The arrows of architecture.md: knowledge flows one way, and no window waits for torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "DenseLandmarksLib"
# geometry -> landmarks -> models -> worker -> annotation -> scene -> front ends; a room knows those before it.
ROOMS = ("geometry", "landmarks", "models", "worker", "annotation", "scene")
# They stand in front of all rooms, each for itself; the panel alone speaks to the application.
FRONT_ROOMS = ("panel", "web")
ANYBODY = ("errors", "files")
HEAVY = {"torch", "monai", "torchvision", "ignite", "tensorboard"}
# The rooms that run networks, in a process of their own.
MAY_BE_HEAVY = (
    "DenseLandmarksLib/models/networks/",
    "DenseLandmarksLib/models/predictors/",
    "DenseLandmarksLib/worker/server",
)
# Of the annotation room the training knows what it learns from and is compared on; a session it does not know.
WHAT_PEOPLE_DECIDED = (
    *(f"{LIBRARY}.annotation.library.{name}" for name in ("library", "decisions", "comparison", "compared_cases")),
    f"{LIBRARY}.annotation.file_lock",
)
FRONT_ENDS = {"qt", "slicer", "ctk", "PythonQt", "PyQt5", "PySide6", "trame", "trame_slicer", "aiohttp", "wslink"}


def files_of(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imports_of(path: Path, at_top_level: bool = False) -> Iterator[str]:
    """Modules that a file imports, anywhere or only when it is itself imported (type hints never count)."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            yield child
            if not (at_top_level and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
                yield from walk(child)

    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", files_of(LIBRARY), ids=where)
def test_a_room_knows_only_the_rooms_before_it(path: Path) -> None:
    parts = path.relative_to(ROOT / LIBRARY).parts
    if len(parts) == 1:
        if path.stem in ANYBODY:
            assert not [name for name in imports_of(path) if name.startswith(f"{LIBRARY}.")]
        return  # the command line stands in front of all rooms
    before = (*ROOMS, parts[0]) if parts[0] in FRONT_ROOMS else ROOMS[: ROOMS.index(parts[0]) + 1]
    known = (*before, *ANYBODY, "__version__")
    for module in imports_of(path):
        if module.startswith(f"{LIBRARY}.") and len(module.split(".")) > 1:
            assert module.split(".")[1] in known, f"{where(path)} imports {module}"


@pytest.mark.parametrize("path", files_of(LIBRARY), ids=where)
def test_the_library_imports_no_front_end_and_not_the_training(path: Path) -> None:
    first = {module.split(".")[0] for module in imports_of(path)}
    assert not first & {"training", "Testing", "DenseLandmarks"}
    of_front_room = {"panel": {"qt", "ctk", "slicer"}, "web": {"slicer", "trame", "trame_slicer", "aiohttp", "wslink"}}
    assert not first & FRONT_ENDS - of_front_room.get(path.relative_to(ROOT / LIBRARY).parts[0], set())


@pytest.mark.parametrize("path", files_of(LIBRARY), ids=where)
def test_only_the_rooms_that_run_networks_import_torch(path: Path) -> None:
    heavy = {module.split(".")[0] for module in imports_of(path, at_top_level=True)} & HEAVY
    assert not heavy or where(path).startswith(MAY_BE_HEAVY)


@pytest.mark.parametrize("path", files_of("training"), ids=where)
def test_training_knows_no_scene_and_no_session(path: Path) -> None:
    for module in imports_of(path):
        assert not module.startswith((f"{LIBRARY}.scene", f"{LIBRARY}.web", f"{LIBRARY}.worker")), module
        if module.startswith(WHAT_PEOPLE_DECIDED):
            continue
        # The demonstration writes what a person gets to see, nothing else does.
        exports = module.startswith(f"{LIBRARY}.annotation")
        assert not exports or path.stem in ("demo", "evaluate", "evaluation_figures"), module
    assert not {module.split(".")[0] for module in imports_of(path)} & FRONT_ENDS


@pytest.mark.parametrize(
    "modules",
    [
        ("annotation.exports.results", "annotation.exports.markups", "annotation.exports.segmentation"),
        ("models.registry", "models.bundle", "models.prediction", "models.prediction_arrays"),
        ("worker.client", "worker.blocking"),
        (
            "landmarks.template",
            "landmarks.uv_maps",
            "landmarks.uv_field",
            "landmarks.locate",
            "geometry.grid",
            "geometry.read_image",
        ),
        ("cli",),
    ],
    ids=lambda modules: modules[0],
)
def test_a_window_opens_without_loading_torch(modules: tuple[str, ...]) -> None:
    code = "import sys\n" + "".join(f"import {LIBRARY}.{module}\n" for module in modules)
    code += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def test_importing_the_library_does_nothing() -> None:
    code = f"import sys\nbefore = set(sys.modules)\nimport {LIBRARY}\nprint(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert not {name.split(".")[0] for name in run.stdout.split()} & {"numpy", "SimpleITK", "scipy", *HEAVY}
    assert LIBRARY in run.stdout
