"""Measure a model on annotated cases: ``python -m training evaluate``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels, pixels_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.polygon import contour_tangents, polygon_mask
from DenseLandmarksLib.models.prediction import Prediction, Predictor
from training.data import Case, Dataset
from training.data_folder import AnnotatedCases, CaseT
from training.evaluation_report import (
    METRICS,
    CaseMeasurement,
    StructureMeasurement,
    Values,
    build_report,
    compare_reports,
    read_report,
)
from training.evaluation_table import markdown_of
from training.landmark_measurement import ellipse_areas_mm2, match_landmarks, measure_landmarks
from training.measure_volume import measure_volume_case, read_volume_case
from training.measuring import add_request, measured_cases, open_any_request, write_report
from training.metrics import (
    LandmarkErrors,
    dice_percent,
    is_simple_polygon,
    landmark_surface_distances_mm,
    surface_distances_mm,
)
from training.reference_lines import read_references
from training.volume_data import VolumeDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


def contour_structures(dataset: Dataset) -> tuple[str, ...]:
    """Structures whose landmarks, in order, are a contour.

    A data set does not say so, its points do: the closed polygon through them crosses itself in no more than a few
    cases (in none of ``jsrt``, in every case of ``hand`` and ``ceph``).
    """
    found = []
    for structure in dataset.structures:
        rows = dataset.landmarks_of(structure)
        complete = [case.points_px[rows] for case in dataset.cases if np.isfinite(case.points_px[rows]).all()]
        if complete and np.mean([is_simple_polygon(points) for points in complete]) > 0.9:
            found.append(structure)
    return tuple(found)


def read_case(case: Case, dataset: Dataset) -> MedicalImage:
    """The image of a case with the data set's spacing; raises :class:`InputError` when it is not the annotated one."""
    known = dataset.spacing_source != SpacingSource.UNKNOWN
    image = read_image(case.image_path, spacing_mm=case.spacing_mm if known else None)
    if image.volume.GetSize()[:2] != case.size_px:
        raise InputError(
            f"expected an image of {case.size_px[0]} x {case.size_px[1]} pixels for case {case.name}, "
            f"{case.image_path} has {image.volume.GetSize()[0]} x {image.volume.GetSize()[1]}. "
            "Restore the image that the landmarks were placed on."
        )
    return image


def measure_case(
    prediction: Prediction,
    image: MedicalImage,
    case: Case,
    dataset: Dataset,
    contours: Sequence[str],
    absence_is_real: bool = False,
) -> CaseMeasurement:
    """Measure one prediction of a radiograph against the truth.

    Masks are measured on the model's grid, as in the paper, against the polygon of the truth's landmarks; landmarks in
    physical millimetres. ``contours`` names the structures whose landmarks are a contour. A missing row in a data set
    means not annotated; only with ``absence_is_real`` does it mean absent, so that a landmark that the model calls
    present there is a false alarm.

    Raises :class:`InputError` when the model is one for volumes, ``ValueError`` when it gives no position for a landmark
    that it names.
    """
    grid = prediction.grid
    if grid is None:
        raise InputError(
            f"expected a model for radiographs, as {dataset.name} is of radiographs, got {prediction.model_name}, which "
            "is for volumes. Choose another model or another data folder."
        )
    matched = match_landmarks(prediction, dataset.landmark_names, case.name)
    count = len(matched.named)
    points_px = pixels_from_lps_mm(image.geometry, matched.points_lps_mm)
    annotated = np.asarray(np.isfinite(case.points_px).all(axis=1))
    truth_lps_mm = lps_mm_from_pixels(image.geometry, case.points_px)
    spacing_x_mm, spacing_y_mm = grid.pixel_size(image.volume.GetSpacing()[:2])
    spacing_yx_mm = (float(spacing_y_mm), float(spacing_x_mm))
    region_mm2 = ellipse_areas_mm2(matched.covariance_mm2, image.geometry.axes_lps[:, :2])
    errors = LandmarkErrors(*(np.full(count, np.nan) for _ in LandmarkErrors._fields))
    structures = {}
    for structure in dataset.structures:
        of_structure = dataset.landmarks_of(structure)
        marked = of_structure[annotated[of_structure]]
        measured = marked[matched.named[marked]]
        absent = of_structure[~annotated[of_structure] & matched.named[of_structure] & absence_is_real]
        tangents = None
        if structure in contours and len(measured):
            # Over all annotated landmarks, also those the model does not name: it is the truth's direction.
            tangents = contour_tangents(truth_lps_mm[marked])[matched.named[marked]]
        of_landmarks, of_errors = measure_landmarks(matched, truth_lps_mm, measured, absent, image.unit, tangents)
        for all_errors, some in zip(errors, of_errors, strict=True):
            all_errors[measured] = some
        values: Values = {**dict.fromkeys(METRICS), **of_landmarks}
        if np.isfinite(region_mm2[measured]).any():
            values["median_ellipse_90_mm2"] = float(np.nanmedian(region_mm2[measured]))
        if structure in contours and len(marked) == len(of_structure):
            truth = polygon_mask(grid.from_pixels(case.points_px[of_structure]), grid.size)
            if len(measured) and truth.any():
                on_grid = grid.from_pixels(points_px[measured])
                values["asd_one_sided_mm"] = float(landmark_surface_distances_mm(on_grid, truth, spacing_yx_mm).mean())
            if structure in prediction.structures:
                predicted = np.asarray(prediction.masks[prediction.structures.index(structure)], bool)
                values["dsc"] = dice_percent(predicted, truth)
                surface = surface_distances_mm(predicted, truth, spacing_yx_mm)
                values["asd_mm"], values["asd_predicted_to_truth_mm"] = surface
        structures[structure] = StructureMeasurement(values, len(measured), len(absent))
    return CaseMeasurement(
        case=case.name,
        images="radiographs",
        unit=image.unit,
        model={"name": prediction.model_name, "version": prediction.model_version, "device": prediction.device},
        structures=structures,
        landmark_names=dataset.landmark_names,
        points_lps_mm=matched.points_lps_mm,
        present=matched.present,
        errors=errors,
        region=region_mm2,
        unnamed_landmarks=tuple(n for n, known in zip(dataset.landmark_names, matched.named, strict=True) if not known),
    )


def _measure_each(
    predictor: Predictor,
    dataset: AnnotatedCases[CaseT],
    read: Callable[[CaseT], MedicalImage],
    measure: Callable[[Prediction, MedicalImage, CaseT], CaseMeasurement],
    progress: bool,
) -> tuple[CaseMeasurement, ...]:
    measurements = []
    for case in tqdm(dataset.cases, desc="evaluate", unit="case", file=sys.stderr, disable=not progress):
        image = read(case)
        prediction = predictor.predict(image)
        if not set(prediction.landmarks.names) & set(dataset.landmark_names):
            raise InputError(
                f"expected a model that names landmarks of {dataset.name} (such as {dataset.landmark_names[0]}), "
                f"{prediction.model_name} names none of them. Choose another model or another data folder."
            )
        measurements.append(measure(prediction, image, case))
    return tuple(measurements)


def measure_cases(
    predictor: Predictor,
    dataset: Dataset | VolumeDataset,
    absence_is_real: bool = False,
    progress: bool = True,
) -> tuple[CaseMeasurement, ...]:
    """Predict and measure every case of a data set (of one split), with a progress bar on standard error.

    ``absence_is_real`` is about radiographs: a data set of volumes states itself what is absent.

    Raises :class:`InputError` when the model is for other images, or names no landmark of the data set.
    """
    if isinstance(dataset, VolumeDataset):
        volumes = dataset
        return _measure_each(
            predictor,
            volumes,
            read_volume_case,
            lambda prediction, image, case: measure_volume_case(prediction, image, case, volumes),
            progress,
        )
    radiographs, contours = dataset, contour_structures(dataset)
    return _measure_each(
        predictor,
        radiographs,
        lambda case: read_case(case, radiographs),
        lambda prediction, image, case: measure_case(prediction, image, case, radiographs, contours, absence_is_real),
        progress,
    )


def evaluate(
    predictor: Predictor,
    dataset: Dataset | VolumeDataset,
    split: str = "test",
    absence_is_real: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """The report (see :mod:`training.evaluation_report`) of a model on one split of a data set."""
    measurements = measure_cases(predictor, dataset.of_split(split), absence_is_real, progress)
    return build_report(measurements, dataset.name, split, spacing=dataset.spacing)


def _case_drawer(
    predictor: Predictor,
    dataset: Dataset | VolumeDataset,
    measurements: Sequence[CaseMeasurement],
    contours: Sequence[str],
) -> Callable[[int, str], Figure]:
    """What draws a case by its number, with a title: it reads and predicts it again, so that no images are kept."""
    from training.evaluation_figures import draw_case
    from training.volume_figures import draw_volume_case

    if isinstance(dataset, VolumeDataset):
        volumes = dataset

        def draw_volume(index: int, title: str) -> Figure:
            image = read_volume_case(volumes.cases[index])
            return draw_volume_case(image, predictor.predict(image), volumes.cases[index], measurements[index], title)

        return draw_volume
    radiographs = dataset

    def draw_radiograph(index: int, title: str) -> Figure:
        case = radiographs.cases[index]
        image = read_case(case, radiographs)
        prediction = predictor.predict(image)
        return draw_case(image, prediction, case, measurements[index], radiographs, contours, title)

    return draw_radiograph


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m training evaluate``."""
    add_request(parser)
    parser.add_argument(
        "--compare", metavar="OTHER", help="a second model, or an earlier report (.json): adds paired differences"
    )
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card and metadata")
    parser.add_argument(
        "--reference",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME MM", "LANDMARK"),
        help="a known error to stand beside, such as --reference 'two readers' 2.15, or of one landmark; repeatable, "
        "also as reference_mm in dataset.json",
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw best, median and worst case and the errors")
    parser.add_argument(
        "--read-out", choices=("border", "affine", "softmin"), help="instead of the model's own way from uv to points"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print its table; raises :class:`InputError` for what cannot be used."""
    from DenseLandmarksLib.models.registry import find_bundle, open_predictor

    predictor, dataset = open_any_request(args)
    in_mm = not isinstance(dataset, Dataset) or dataset.spacing_source != SpacingSource.UNKNOWN
    references = read_references(args.data, args.reference, dataset.landmark_names, in_mm)
    other_report, other_predictor = None, None
    if args.compare is not None and args.compare.endswith(".json"):
        other_report = read_report(Path(args.compare))
    elif args.compare is not None:
        other_predictor = open_predictor(args.compare, args.device)

    measurements = measure_cases(predictor, dataset)
    split = measured_cases(args)
    report = build_report(measurements, dataset.name, split, references, dataset.spacing)
    if other_predictor is not None:
        other_report = build_report(measure_cases(other_predictor, dataset), dataset.name, split)
    if other_report is not None:
        report["comparison"] = compare_reports(report, other_report)
    write_report(args.report, report, markdown_of(report))
    if args.record:
        from training.rewrite_bundle import record_measurement

        record_measurement(find_bundle(args.model), report)
    if args.figures is not None:
        from training.evaluation_figures import draw_figures

        contours = contour_structures(dataset) if isinstance(dataset, Dataset) else ()
        draw = _case_drawer(predictor, dataset, measurements, contours)
        for path in draw_figures(args.figures, measurements, report, dataset, contours, draw, other_report):
            logger.info("drew %s", path)
    return 0
