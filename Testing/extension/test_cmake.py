"""CMake itself installs what our interpreter of its files says; with a stand-in for Slicer's macros, as Slicer is not here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from Testing.extension.installed_files import SCRIPTED_MODULES, SHARE, Installed
from Testing.extension.lay_out import ROOT

# As Slicer 5.12 and CTK do it: a path stays what it is, relative to the CMakeLists.txt that calls the macro.
STAND_IN = f"""
set(Slicer_USE_FILE ${{CMAKE_CURRENT_LIST_DIR}}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${{CMAKE_CURRENT_LIST_DIR}}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${{CMAKE_CURRENT_LIST_DIR}}/nothing.cmake)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_SHARE_DIR {SHARE})
"""
MACROS = f"""
macro(slicer_add_python_unittest)
endmacro()
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${{ARGN}})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${{MY_UNPARSED_ARGUMENTS}}")
  endif()
  foreach(file ${{MY_SCRIPTS}} ${{MY_RESOURCES}})
    get_filename_component(folder ${{file}} DIRECTORY)
    install(FILES ${{file}} DESTINATION "{SCRIPTED_MODULES}/${{folder}}")
  endforeach()
endmacro()
"""
VERSION = re.compile(r"(?<=cmake_minimum_required\(VERSION )[\d.]+")


def source_tree(folder: Path) -> Path:
    """What CMake reads of this tree, with a version of CMake that may be older than the one Slicer's template asks for."""
    folder.mkdir()
    for name in ("DenseLandmarks", "DenseLandmarksLib", "Resources", "training"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copyfile(ROOT / name, folder / name)
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    (folder / "CMakeLists.txt").write_text(VERSION.sub("3.20", text, count=1), encoding="utf-8")
    return folder


def test_cmake_installs_the_same_files(tmp_path: Path) -> None:
    missing = [one for one in ("cmake", "cc", "c++") if shutil.which(one) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: CMake cannot be asked")
    source, slicer, build, prefix = (tmp_path / name for name in ("source", "slicer", "build", "installed"))
    source_tree(source)
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(STAND_IN, encoding="utf-8")
    (slicer / "use.cmake").write_text(MACROS, encoding="utf-8")
    (slicer / "nothing.cmake").touch()
    configure = [f"-DSlicer_DIR={slicer}", f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DBUILD_TESTING=ON"]
    run(["cmake", "-S", str(source), "-B", str(build), *configure])
    run(["cmake", "--install", str(build)])
    installed = {path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if path.is_file()}
    assert installed == {str(where) for where in Installed(source).files}


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
