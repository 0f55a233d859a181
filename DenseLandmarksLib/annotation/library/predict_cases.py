"""Every case of a library seen by a model; what people decided stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.edits import TakePrediction
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.fitting_models import refuse_misfit
from DenseLandmarksLib.models.prediction import Predictor


@dataclass(frozen=True)
class PredictedCase:
    """What came of one case.

    Attributes
    ----------
    case, name : its id, and what people call it.
    revision : that now holds the prediction, 0 where nothing was saved.
    doubts : why the model does not believe its own prediction.
    notes : one line each, about the image.
    problem : why there is no prediction, in one line, else empty.
    """

    case: str
    name: str
    revision: int = 0
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


def predict_cases(
    library: Library,
    model: BundleDescription,
    predictor: Predictor,
    who: str,
    again: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[PredictedCase]:
    """Predict the cases of a library, one after the other; each prediction is a revision.

    Cases that hold a prediction of this version of the model are passed over unless ``again``, and those that are being
    decided without one always: whoever decides them asks for it. An image that cannot be
    used is told and does not stop the others. Once ``cancelled`` says so no further case is begun.
    """
    label = f"{model.name} {model.version}"
    for entry in library.cases():
        if cancelled():
            return
        newest = entry.newest
        if newest is not None and newest.model == label and not again:
            continue
        if newest is not None and newest.is_chosen_for_comparison and not newest.model:
            continue
        try:
            yield _predict(library, entry.id, entry.name, model, predictor, who)
        except InputError as error:
            yield PredictedCase(entry.id, entry.name, problem=str(error))


def _predict(
    library: Library, case_id: str, name: str, model: BundleDescription, predictor: Predictor, who: str
) -> PredictedCase:
    case = library.case(case_id)
    state, info = case.load()
    refuse_misfit(model, name, state.geometry.size[2])
    image, notes = case.read_image(state.geometry)
    prediction = predictor.predict(image)
    answer = ModelAnswer(prediction, model.template, model.styles)
    after = apply_edit(state, TakePrediction(answer, state.geometry))
    why = f"predicted by {model.name} {model.version}"
    saved = case.save(after, who, 0 if info is None else info.number, why)
    return PredictedCase(case_id, name, saved.number, prediction.plausibility.doubts, notes)
