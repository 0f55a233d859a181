"""The models that stay open, so that the second image waits for none."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from DenseLandmarksLib.models.bundle import METADATA, broken, load_bundle, sha256
from DenseLandmarksLib.models.prediction import OpenPredictor
from DenseLandmarksLib.models.registry import open_bundle

MODELS_LIMIT = 4


class WarmModels:
    """Predictors by bundle folder and wanted device; the one unused for longest goes first."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[Path, str], tuple[str, OpenPredictor]] = OrderedDict()

    def warm(self, folder: Path, device: str) -> OpenPredictor | None:
        """The predictor if it is open and its bundle's metadata, which names checksums of all, is still the same."""
        checksum, predictor = self._open.get((folder, device), ("", None))
        try:
            unchanged = predictor is not None and sha256(folder / METADATA) == checksum
        except OSError:
            unchanged = False
        if not unchanged:
            self._open.pop((folder, device), None)
            return None
        self._open.move_to_end((folder, device))
        return predictor

    def open(self, folder: Path, device: str) -> OpenPredictor:
        """Open a bundle and keep it; raises :class:`InputError` for a bundle or device that cannot be used."""
        try:
            checksum = sha256(folder / METADATA)
            predictor = open_bundle(load_bundle(folder), device)
        except OSError as error:
            raise broken(folder, f"it cannot be read ({error})") from error
        self._open[folder, device] = checksum, predictor
        if len(self._open) > MODELS_LIMIT:
            self._open.popitem(last=False)
        return predictor
