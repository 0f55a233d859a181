"""Scenes that were saved: Slicer's bundle (.mrb) written and read as Slicer does, without its windows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile


def new_scene() -> Any:
    """An empty scene that knows the file format of markups, as it does in every application of Slicer's.

    Without it a bundle is written, and lists read, without a single point and without a word.
    """
    import slicer

    scene = slicer.vtkMRMLScene()
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())
    return scene


def save_scene(scene: Any, path: Path) -> Path:
    """Write the whole scene to a bundle; returns ``path``."""
    assert scene.WriteToMRB(str(path))
    return path


def read_scene(path: Path, into: Any = None) -> Any:
    """A new scene with what a bundle holds, or a given one to which it is added."""
    import slicer

    scene = new_scene() if into is None else into
    if scene.GetDataIOManager() is None:  # a scene unpacks bundles in the cache of its application
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(str(path.parent))
        manager.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(manager)
    said = slicer.vtkMRMLMessageCollection()
    assert scene.ReadFromMRB(str(path), False, said), said.GetAllMessagesAsString()
    return scene


def files_in(path: Path) -> dict[str, bytes]:
    """The files of a bundle."""
    with ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def nodes_of(scene: Any, node_class: str) -> list[Any]:
    """All nodes of a class, in the order of the scene."""
    return [scene.GetNthNodeByClass(n, node_class) for n in range(scene.GetNumberOfNodesByClass(node_class))]


def said_in_new_process(script: str, *arguments: object) -> str:
    """What a script prints in a Python of its own that knows nothing of this one."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
