"""A library in which a person worked on cases that a model predicted, through real sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import open_predictor


@dataclass(frozen=True)
class Annotator:
    """Somebody who looks at what the model in ``bundle`` says of images, and whose work is kept in ``folder``."""

    library: Library
    bundle: Path
    folder: Path

    @classmethod
    def begin(cls, folder: Path, bundle: Path, name: str = "corrected") -> Annotator:
        """With a new library."""
        return cls(Library.create(folder / "library", name), bundle, folder)

    def work_on(
        self,
        image: Path,
        decide: Callable[[Session], None],
        spacing_mm: tuple[float, float] | None = None,
        is_predicted: bool = True,
    ) -> str:
        """Open an image, have it predicted, decide, save; returns the case's id."""
        case = self.library.add(image, spacing_mm=spacing_mm)
        session = Session(case, "an annotator", data_folder=self.folder / "user")
        if is_predicted:
            model = read_description(self.bundle)
            read, _ = case.read_image()
            prediction = open_predictor(str(self.bundle), "cpu").predict(read)
            session.take(ModelAnswer(prediction, model.template, model.styles), read.geometry)
        decide(session)
        session.save()
        session.close()
        return case.id
