"""The module ``SampleData``: what was registered, and files that lie on this machine loaded into the scene."""

from __future__ import annotations

import hashlib
import inspect
import shutil
import types
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

_READERS = {".nrrd": "NRRD", ".nhdr": "NRRD", ".nii": "Archetype", ".gz": "Archetype", ".dcm": "Archetype"}


class _Source:
    def __init__(self, **given: Any) -> None:
        vars(self).update(given)
        many = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")
        if isinstance(self.uris, str):
            vars(self).update({name: [getattr(self, name)] for name in many})
        missing = {name: [None] * len(self.uris) for name in many[2:] if getattr(self, name) is None}
        vars(self).update(missing)
        if len({len(getattr(self, name)) for name in many}) != 1:
            raise ValueError("All fields of sample data source must have the same length")


def sample_data_module(modules: Any, cache: Path) -> types.ModuleType:
    """The module; sources are kept in ``slicer.modules.sampleDataSources`` as in Slicer."""

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(  # noqa: N802
            category: str = "Custom",
            sampleName: str | None = None,  # noqa: N803
            uris: Any = None,
            fileNames: Any = None,  # noqa: N803
            nodeNames: Any = None,  # noqa: N803
            customDownloader: Any = None,  # noqa: N803
            thumbnailFileName: str | None = None,  # noqa: N803
            loadFileTypes: Any = None,  # noqa: N803
            loadFiles: Any = None,  # noqa: N803
            loadFileProperties: Any = None,  # noqa: N803
            checksums: Any = None,
        ) -> None:
            given = {name: value for name, value in locals().items() if name != "category"}
            if thumbnailFileName is not None and not Path(thumbnailFileName).is_file():
                raise ValueError(f"there is no thumbnail {thumbnailFileName}; Slicer would show an empty picture")
            source = _Source(**given)
            known = modules.sampleDataSources.setdefault(category, [])
            if all(vars(one) != vars(source) for one in known):
                known.append(source)

        def downloadSamples(self, sampleName: str) -> list[Any]:  # noqa: N802, N803
            every = [one for sources in modules.sampleDataSources.values() for one in sources]
            source = next((one for one in every if one.sampleName == sampleName), None)
            if source is None:
                return []
            if source.customDownloader is not None:
                return source.customDownloader(source)
            rows = zip(source.uris, source.fileNames, source.nodeNames, source.checksums, strict=True)
            return [_load(_download(uri, cache / file, check), name) for uri, file, name, check in rows]

        def downloadSample(self, sampleName: str) -> Any:  # noqa: N802, N803
            return self.downloadSamples(sampleName)[0]

    inspect.signature(SampleDataLogic.registerCustomSampleDataSource)
    modules.sampleDataSources = {}
    made = types.ModuleType("SampleData", __doc__)
    made.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    return made


def _download(uri: str, target: Path, checksum: str | None) -> Path:
    parts = urlparse(uri)
    if parts.scheme != "file":
        raise RuntimeError(f"the test host downloads nothing: {uri}")
    shutil.copyfile(unquote(parts.path), target)
    if checksum is not None:
        kind, wanted = checksum.split(":")
        got = hashlib.new(kind, target.read_bytes()).hexdigest()
        if got != wanted.lower():
            raise RuntimeError(f"checksum of {target.name}: expected {wanted}, got {got}")
    return target


def _load(path: Path, name: str | None) -> Any:
    import slicer

    if path.suffix not in _READERS:
        raise RuntimeError(f"the test host loads {sorted(_READERS)}, not {path.name}")
    storage = (
        slicer.vtkMRMLNRRDStorageNode()
        if _READERS[path.suffix] == "NRRD"
        else slicer.vtkMRMLVolumeArchetypeStorageNode()
    )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name or path.stem)
    slicer.mrmlScene.AddNode(storage)
    node.SetAndObserveStorageNodeID(storage.GetID())
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise RuntimeError(f"Failed to load node from file: {path}")
    return node
