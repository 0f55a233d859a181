"""Whoever installs the extension gets all of it where Slicer looks for it, and other extensions see no more than our two names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from DenseLandmarksLib.errors import InputError
from Testing.extension.cmake_language import read_commands
from Testing.extension.installed_files import Installed
from Testing.extension.lay_out import ROOT, Layout, lay_out

NOT_INSTALLED = ("Resources/Screenshots/", "Resources/ExtensionsIndex/", "Resources/JupyterHub/")


def files_below(folder: Path) -> set[str]:
    """Every file below a folder but what Python leaves behind, relative to it."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def test_other_extensions_see_the_module_the_library_and_the_resources_alone(layout: Layout) -> None:
    names = {path.name for path in layout.scripted_modules.iterdir()}
    assert names == {"DenseLandmarks.py", "DenseLandmarksLib", "Resources"}


def test_every_file_of_the_library_and_every_resource_is_installed(layout: Layout) -> None:
    for folder in ("DenseLandmarksLib", "Resources"):
        wanted = {f"{folder}/{file}" for file in files_below(ROOT / folder)}
        wanted = {file for file in wanted if not file.startswith(NOT_INSTALLED)}
        assert len(wanted) > 8
        assert {f"{folder}/{file}" for file in files_below(layout.scripted_modules / folder)} == wanted


@pytest.mark.parametrize("folder", NOT_INSTALLED)
def test_what_is_for_web_pages_and_servers_stays_in_the_source_tree(folder: str, layout: Layout) -> None:
    assert files_below(ROOT / folder)
    assert not (layout.scripted_modules / folder).exists()


@pytest.mark.parametrize(
    "resource",
    [
        "UI/DenseLandmarks.ui",
        "Icons/DenseLandmarks.png",
        "requirements.txt",
        "SampleData/chest-phantom.nrrd",
        "Models/chest-xray/models/model.safetensors",
        "Models/chest-xray/LICENSE",
    ],
)
def test_what_the_panel_asks_for_lies_beside_the_module(resource: str, layout: Layout) -> None:
    installed = layout.scripted_modules / "Resources" / resource
    assert installed.read_bytes() == (ROOT / "Resources" / resource).read_bytes()


def test_every_folder_of_the_library_is_a_package(layout: Layout) -> None:
    """Slicer's translations take their context from packages."""
    library = layout.scripted_modules / "DenseLandmarksLib"
    folders = {path.parent for path in library.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()


def test_training_and_the_licence_lie_beside_the_shared_path(layout: Layout) -> None:
    assert {path.name for path in layout.share.iterdir()} == {"training", "LICENSE", "CITATION.cff"}
    learned = {"RUNS.md"} | {file for file in files_below(ROOT / "training") if file.startswith("results/")}
    assert files_below(layout.share / "training") == files_below(ROOT / "training") - learned
    # A child process that trains finds it from the library, on all platforms.
    modules = layout.scripted_modules
    assert modules.parents[2] / "share" / modules.parent.name / modules.name / "DenseLandmarks" == layout.share


def test_slicer_tests_the_module_when_it_builds_it() -> None:
    installed = Installed(ROOT)
    assert installed.modules == {"DenseLandmarksLib": False, "DenseLandmarks": True}
    assert installed.tests == [ROOT / "DenseLandmarks" / "DenseLandmarks.py"]


def test_the_module_folder_holds_one_python_file() -> None:
    """Slicer takes every .py file there for a module."""
    assert [path.name for path in (ROOT / "DenseLandmarks").glob("*.py")] == ["DenseLandmarks.py"]


# ---- the interpreter itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with the same CMakeLists.txt files and one small file in each place."""
    root = tmp_path / "source"
    for file in (
        *("DenseLandmarks/DenseLandmarks.py", "DenseLandmarksLib/__init__.py", "DenseLandmarksLib/room/table.json"),
        *(
            "Resources/UI/DenseLandmarks.ui",
            "training/__init__.py",
            "training/recipes/a.toml",
            "LICENSE",
            "CITATION.cff",
        ),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file, encoding="utf-8")
    for file in ("CMakeLists.txt", "DenseLandmarks/CMakeLists.txt"):
        shutil.copyfile(ROOT / file, root / file)
    return root


def test_a_new_file_is_installed_without_anybody_listing_it(tree: Path) -> None:
    before = set(Installed(tree).files)
    (tree / "DenseLandmarksLib" / "room" / "new.py").touch()
    (tree / "Resources" / "Models" / "new").mkdir(parents=True)
    (tree / "Resources" / "Models" / "new" / "LICENSE").touch()
    new = {str(file).split("qt-scripted-modules/")[1] for file in set(Installed(tree).files) - before}
    assert new == {"DenseLandmarksLib/room/new.py", "Resources/Models/new/LICENSE"}


def test_what_python_and_editors_leave_behind_is_not_installed(tree: Path) -> None:
    before = Installed(tree).files
    for file in ("DenseLandmarksLib/__pycache__/a.pyc", "DenseLandmarksLib/.a.py", "Resources/UI/.directory"):
        (tree / file).parent.mkdir(exist_ok=True)
        (tree / file).touch()
    for file in ("training/__pycache__/a.pyc", "training/RUNS.md", "training/results/study.jsonl"):
        (tree / file).parent.mkdir(exist_ok=True)
        (tree / file).touch()
    assert Installed(tree).files == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('install(CODE "message(x)")', "expected commands that installed_files.py knows"),
        ("execute_process(COMMAND python)", "execute_process"),
        ("if(WIN32)\nendif()", "got if\\(WIN32\\)"),
        ("list(APPEND LIBRARY_SCRIPTS training/__init__.py)", "got list"),
        ("set(X ${NEVER_SET})", "expected a variable that is set, got \\${NEVER_SET}"),
        ("slicerMacroBuildScriptedModule(NAME X SCRIPTS gone.py)", "expected the file .*gone.py"),
        ("slicerMacroBuildScriptedModule(NAME X SCRIPTS DenseLandmarks.py)", "expected the file"),
        ("slicer_add_python_unittest(SCRIPT gone.py)", "got slicer_add_python_unittest"),
        ("install(FILES LICENSE DESTINATION ${Slicer_INSTALL_QTSCRIPTEDMODULES_SHARE_DIR})", "got install"),
        ("set(X", "never closed"),
    ],
)
def test_a_fault_in_cmake_is_told_with_its_line(tree: Path, line: str, said: str) -> None:
    with (tree / "CMakeLists.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(InputError, match=said):
        Installed(tree)


def test_comments_quotes_and_lists_are_read_as_cmake_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "CMakeLists.txt"
    file.write_text('SET(A "b c" # no\n  d;e)\n# set(F g)\nset( H "x#y" )\n', encoding="utf-8")
    first, second = read_commands(file)
    assert (first.name, first.line, second.line) == ("set", 1, 4)
    assert [argument.expand({}) for argument in first.arguments] == [["A"], ["b c"], ["d", "e"]]
    assert [argument.expand({}) for argument in second.arguments] == [["H"], ["x#y"]]


def test_the_script_lays_out_into_an_empty_folder_only(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(InputError, match="expected an empty folder"):
        lay_out(tmp_path / "there", tree)
    command = [sys.executable, "-m", "Testing.extension.lay_out", str(tmp_path / "new")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "new" / PurePosixPath("lib/Slicer-5.12/qt-scripted-modules/DenseLandmarks.py")).is_file()
