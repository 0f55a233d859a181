"""A person at the page with a library and a model, whose predictions come from a worker that runs already."""

from __future__ import annotations

from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.scene.predicting import Predicting
from DenseLandmarksLib.worker.client import Worker
from Testing.panel.lent_worker import LentWorker
from Testing.web.test_app import SIZE, Person


def come_with_model(folder: Path, images: list[Path], model: Path, worker: Worker, patch: pytest.MonkeyPatch) -> Person:
    """At the page with a library of these images, the first predicted; the library and the user's data are in ``folder``."""
    from DenseLandmarksLib.web import state

    library = Library.create(folder / "library", "images")
    for image in images:
        library.add(image)
    patch.setattr(state, "model_names", lambda: (str(model),))
    anna = Person(library.folder, folder / "user")
    anna.bench.predicting = Predicting(lambda: LentWorker(worker))  # type: ignore[arg-type,return-value]
    for view in anna.page.views.views.values():
        view.area.update_size("", {"w": SIZE, "h": SIZE, "p": 1})
    anna.chooses(model=str(model), device="cpu")
    open_and_predict(anna, images[0].stem)
    return anna


def open_and_predict(anna: Person, name: str) -> None:
    """Open a case and press Predict."""
    anna.opens(name)
    assert anna.sees("missing") == ""
    anna.does("predict")
    anna.until(lambda: not anna.sees("predicting"))
