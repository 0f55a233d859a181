"""A library of hands in which people placed the landmarks blind, and two versions of a model of which one is really worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.models.bundle import CARD, LICENSE, Bundle, load_bundle, save_bundle
from Testing.models.disc_finder import NAMES, STRUCTURE, lps_of, patient, write_hand

ALL = tuple((name, STRUCTURE) for name in NAMES)


def add_hand(library: Library, folder: Path, seed: int, lost: Sequence[str] = ()) -> LibraryCase:
    """The case of one patient's radiograph; the discs of ``lost`` landmarks are not drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    return library.add(write_hand(folder / f"hand-{seed}.nrrd", seed, lost=lost))


def place_blind(case: LibraryCase, user: Path, seed: int, landmarks: Sequence[tuple[str, str]] = ALL) -> Session:
    """A person places landmarks where they are, without a prediction in sight; nothing is saved yet."""
    session = Session(case, "an annotator", data_folder=user)
    session.start_blind(landmarks)
    truth = lps_of(patient(seed))
    for name, _ in landmarks:
        session.place(name, truth[NAMES.index(name)])
    return session


def hands_placed_blind(folder: Path, count: int) -> Library:
    """``count`` hands, three landmarks placed in each."""
    library = Library.create(folder / "library", "hands")
    for seed in range(count):
        landmarks = [ALL[(seed + step) % len(ALL)] for step in (0, 2, 5)]
        session = place_blind(add_hand(library, folder / "images", seed), folder / "user", seed, landmarks)
        session.save()
        session.close()
    return library


def version_of(bundle: Bundle, folder: Path, version: str, shift: int = 0, **metadata: Any) -> Bundle:
    """The same model under another version; ``shift``, in cells of its coarse map, is by how much it looks beside."""
    weights: dict[str, NDArray[Any]] = dict(bundle.weights)
    name = next(name for name in weights if name.startswith("spatial.0") and name.endswith("weight"))
    weights[name] = np.roll(weights[name], shift, axis=-1)
    texts = [(bundle.folder / part).read_text() for part in (CARD, LICENSE)]
    said = {**bundle.metadata, "version": version, **metadata}
    save_bundle(folder, said, bundle.inference, bundle.family_files(), weights, *texts)
    return load_bundle(folder)
