"""What a window must do with numpy, scipy, SimpleITK and pydicom alone, as Slicer brings them; run in a process of its own.

``python -I -S Testing/bare_environment.py ROOT PACKAGES STEP FOLDER`` knows the standard library, the packages that lie in
PACKAGES, and the project. A step is a function that takes an empty folder; to add one, write it below. Steps with a scene
get Slicer's own packages too.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DenseLandmarksLib.geometry.medical_image import MedicalImage
    from DenseLandmarksLib.landmarks.template import Template
    from DenseLandmarksLib.models.prediction import Prediction

Step = Callable[[Path], None]

PRESENT = ("numpy", "scipy", "SimpleITK", "pydicom")
SLICER = ("slicer", "slicer_core", "vtkmodules")
ABSENT = (
    *("torch", "monai", "safetensors", "tensorboard"),
    *("PIL", "matplotlib", "contourpy", "skimage", "cv2", "tqdm"),
    *("trame", "trame_slicer", "slicer_layer_dm", "PySide6", "slicerio", "nrrd", "qt", "pytest"),
)
ROOMS = ("geometry", "landmarks", "models", "worker", "annotation")
# These run networks, in a process that has torch.
WITH_NETWORKS = ("models/networks/", "models/predictors/", "worker/server")
STEPS: dict[str, Step] = {}
SCENE_STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    """Name a function as one of the steps."""
    STEPS[function.__name__] = function
    return function


def scene_step(function: Step) -> Step:
    """Name a function as one of the steps with a scene."""
    SCENE_STEPS[function.__name__] = function
    return function


# ---- the environment itself --------------------------------------------------------------------------------------------


@step
def only_the_four_packages_are_there(folder: Path) -> None:
    assert [name for name in PRESENT if importlib.util.find_spec(name) is None] == []
    assert [name for name in (*ABSENT, *SLICER) if importlib.util.find_spec(name) is not None] == []


@step
def every_module_opens(folder: Path) -> None:
    assert open_rooms(ROOMS) > 80
    assert not {*ABSENT, *SLICER} & {name.split(".")[0] for name in sys.modules}


def open_rooms(rooms: tuple[str, ...]) -> int:
    """Import every module of some rooms; returns how many there are."""
    library = Path(sys.path[0]) / "DenseLandmarksLib"
    opened = 0
    for room in rooms:
        for path in sorted((library / room).rglob("*.py")):
            if path.relative_to(library).as_posix().startswith(WITH_NETWORKS):
                continue
            importlib.import_module(".".join(path.relative_to(library.parent).with_suffix("").parts))
            opened += 1
    return opened


# ---- images ------------------------------------------------------------------------------------------------------------


@step
def a_dicom_radiograph_is_read(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.geometry.image_geometry import SpacingSource
    from DenseLandmarksLib.geometry.read_image import read_image
    from Testing.geometry.dicom_files import PIXELS, write_dicom

    image = read_image(write_dicom(folder / "chest.dcm", ImagerPixelSpacing=[0.2, 0.3]))
    np.testing.assert_array_equal(image.pixels_yx, PIXELS)
    assert image.geometry.spacing_mm[:2] == (0.3, 0.2)
    assert image.spacing_source is SpacingSource.DETECTOR


@step
def a_nrrd_radiograph_is_read(folder: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    from DenseLandmarksLib.geometry.read_image import read_image
    from Testing.models.perfect_prediction import radiograph

    image = radiograph()
    sitk.WriteImage(image.volume, str(folder / "chest.nrrd"))
    read = read_image(folder / "chest.nrrd")
    np.testing.assert_array_equal(read.pixels_yx, image.pixels_yx)
    np.testing.assert_allclose(read.geometry.index_to_lps_mm, image.geometry.index_to_lps_mm)


@step
def a_photograph_is_refused_for_want_of_its_reader(folder: Path) -> None:
    from DenseLandmarksLib.errors import InputError
    from DenseLandmarksLib.geometry.read_image import read_image

    (folder / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    said = ""
    try:
        read_image(folder / "film.png")
    except InputError as error:
        said = str(error)
    assert "package PIL" in said, said


# ---- models ------------------------------------------------------------------------------------------------------------


def shipped_template() -> Template:
    from DenseLandmarksLib.models.bundle import read_description
    from DenseLandmarksLib.models.registry import find_bundle

    return read_description(find_bundle("chest-xray")).template


@step
def a_shipped_model_describes_itself(folder: Path) -> None:
    from DenseLandmarksLib.models.bundle import read_description
    from DenseLandmarksLib.models.registry import find_bundle
    from DenseLandmarksLib.models.versions import shipped_bundles

    assert find_bundle("chest-xray") in shipped_bundles()
    described = read_description(find_bundle("chest-xray"))
    assert described.name == "chest-xray"
    assert described.template.landmark_names == tuple(described.metadata["landmark_names"])
    assert tuple(style.name for style in described.styles) == described.template.structure_names
    assert described.limits


# ---- a prediction, corrected, looked up in, written and read back ----------------------------------------------------------


def predicted() -> tuple[MedicalImage, Prediction, Template]:
    """A radiograph and what a model without any error would say, one structure lost."""
    from Testing.models.perfect_prediction import patient, perfect_prediction, radiograph

    image, template = radiograph(), shipped_template()
    lost = (template.structure_names[-1],)
    return image, perfect_prediction(template, patient(1), image, lost=lost, stride=2), template


def masks_on_image(image: MedicalImage, prediction: Prediction) -> NDArray[np.bool_]:
    import numpy as np

    masks = np.stack([prediction.grid.mask_on_image(mask) for mask in prediction.masks])[:, None]
    assert masks.shape[1:] == image.geometry.size[::-1]
    assert masks[0].any()
    return masks


@step
def a_correction_moves_neighbours_and_masks(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.geometry.plane import grid_from_plane_mm, plane_mm_from_lps_mm
    from DenseLandmarksLib.landmarks.propagation import landmark_propagation, propagate
    from DenseLandmarksLib.landmarks.structure_warp import structure_warp
    from DenseLandmarksLib.landmarks.warp_mask import fold_in_mask, warp_mask
    from Testing.models.perfect_prediction import corrected

    image, prediction, template = predicted()
    geometry, landmarks = image.geometry, prediction.landmarks
    axes = geometry.axes_lps[:, :2]
    structure = template.structures[0]
    name = structure.contour_names[5]
    row = landmarks.names.index(name)
    own = landmarks.points_lps_mm[landmarks.of_structure(structure.name)]
    away = landmarks.points_lps_mm[row] - own.mean(axis=0)
    to = landmarks.points_lps_mm[row] + 12 * away / np.linalg.norm(away)
    propagation = landmark_propagation(landmarks, axes, template)
    now = propagate(corrected(landmarks, {name: to}), propagation, axes)
    moved = np.linalg.norm(now.points_lps_mm - landmarks.points_lps_mm, axis=1)
    assert moved[row] > 11.9
    assert 3 < moved[row + 1] < 12
    warp = structure_warp(now, structure.name, geometry)
    before = prediction.masks[0]
    after = warp_mask(before, warp, geometry, prediction.grid)
    assert after.sum() > before.sum() + 50
    inward = now.points_lps_mm[[row]] - 0.15 * away
    x, y = np.rint(grid_from_plane_mm(geometry, prediction.grid, plane_mm_from_lps_mm(geometry, inward))[0]).astype(int)
    assert after[y, x]
    assert fold_in_mask(before, warp, geometry, prediction.grid) is None


@step
def a_new_landmark_is_defined_and_found(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
    from DenseLandmarksLib.models.look_up import Method, define, find, with_landmarks

    image, prediction, template = predicted()
    structure = template.structures[0].name
    landmarks = prediction.landmarks
    click = landmarks.points_lps_mm[landmarks.of_structure(structure)].mean(axis=0)
    definition = define(prediction, image.geometry, template, click)
    assert (definition.structure, definition.method) == (structure, Method.UV_MAP)
    new = [NewLandmark("centre", structure, definition.uv), NewLandmark("gone", template.structures[-1].name, (0, 0))]
    found = find(prediction, image.geometry, template, new)
    assert np.linalg.norm(found.points_lps_mm[0] - click) < 0.2
    assert found.method == (Method.UV_MAP, Method.GUESS)
    assert found.found.tolist() == [True, False]
    more = with_landmarks(prediction, image.geometry, template, new)
    assert more.landmarks.names[-2:] == ("centre", "gone")


@step
def landmarks_are_written_and_read_back(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.annotation.exports.coco import write_coco
    from DenseLandmarksLib.annotation.exports.landmark_csv import write_landmark_csv
    from DenseLandmarksLib.annotation.exports.markups import write_markups
    from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks

    image, prediction, _ = predicted()
    landmarks = prediction.landmarks
    write_markups(folder / "a.mrk.json", landmarks, image.unit)
    write_landmark_csv(folder / "a.csv", landmarks, image.geometry)
    write_coco(folder / "a.json", [(image.name, image.geometry, landmarks)])
    for path in sorted(folder.iterdir()):
        read = read_landmarks(path, image.geometry)
        order = [read.names.index(name) for name in landmarks.names]
        assert tuple(read.presence[i] for i in order) == landmarks.presence, path
        present = np.isfinite(read.points_lps_mm[order]).all(axis=1)
        assert 0 < present.sum() < len(landmarks), path
        np.testing.assert_allclose(
            read.points_lps_mm[order][present], landmarks.points_lps_mm[present], atol=1e-4, err_msg=str(path)
        )


@step
def structures_are_written_and_read_back(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
    from DenseLandmarksLib.annotation.imports.segmentation import read_segmentation
    from DenseLandmarksLib.models.bundle import read_description
    from DenseLandmarksLib.models.registry import find_bundle

    image, prediction, template = predicted()
    masks = masks_on_image(image, prediction)
    styles = read_description(find_bundle("chest-xray")).styles
    write_segmentation(folder / "a.seg.nrrd", masks, image.geometry, styles)
    read = read_segmentation(folder / "a.seg.nrrd", image.geometry)
    assert tuple(read) == template.structure_names
    for mask, name in zip(masks, template.structure_names, strict=True):
        np.testing.assert_array_equal(read[name], mask, name)


@step
def a_prediction_crosses_to_another_process_and_is_reported(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.annotation.exports.report import report
    from DenseLandmarksLib.files import write_json
    from DenseLandmarksLib.models.prediction_arrays import prediction_from_arrays, prediction_to_arrays

    image, prediction, _ = predicted()
    header, arrays = prediction_to_arrays(prediction)
    np.savez(folder / "prediction.npz", **arrays)
    with np.load(folder / "prediction.npz") as stored:
        back = prediction_from_arrays(header, dict(stored))
    np.testing.assert_array_equal(back.landmarks.points_lps_mm, prediction.landmarks.points_lps_mm)
    np.testing.assert_array_equal(back.masks, prediction.masks)
    write_json(folder / "a.report.json", report(image, back))


# ---- sessions and libraries ----------------------------------------------------------------------------------------------


@step
def a_library_is_opened_a_case_corrected_undone_saved_and_exported(folder: Path) -> None:
    import numpy as np

    from DenseLandmarksLib.annotation.case_masks import structure_mask
    from DenseLandmarksLib.annotation.case_state import ModelAnswer
    from DenseLandmarksLib.annotation.library.export import FORMATS, export_library
    from DenseLandmarksLib.annotation.library.library import Library
    from DenseLandmarksLib.annotation.library.look_up_everywhere import look_up_everywhere
    from DenseLandmarksLib.annotation.session import Session
    from DenseLandmarksLib.models.bundle import read_description
    from DenseLandmarksLib.models.registry import find_bundle
    from Testing.geometry.dicom_files import write_dicom
    from Testing.models.perfect_prediction import patient, perfect_prediction

    described = read_description(find_bundle("chest-xray"))
    Library.create(folder / "library", "chests")
    library = Library.open(folder / "library")
    sessions = []
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 4096, (300, 400)).astype(np.uint16)
        case = library.add(write_dicom(folder / f"{i}.dcm", pixels=pixels, ImagerPixelSpacing=[1.2, 0.9]))
        image, notes = case.read_image()
        assert not notes
        session = Session(case, "an annotator", data_folder=folder / "user")
        prediction = perfect_prediction(described.template, patient(i), image, stride=2)
        session.take(ModelAnswer(prediction, described.template, described.styles), image.geometry)
        session.save()
        sessions.append(session)
    first = sessions[0]
    name = described.template.structures[0].contour_names[5]
    before, mask = first.state, structure_mask(first.state, described.template.structures[0].name)
    row = before.landmarks.names.index(name)
    first.move({name: before.landmarks.points_lps_mm[row] + 6 * before.geometry.axes_lps[:, 0]})
    assert (structure_mask(first.state, described.template.structures[0].name) != mask).any()
    first.undo()
    assert first.state is before
    first.redo()
    centre = before.landmarks.points_lps_mm[before.landmarks.of_structure("heart")].mean(axis=0)
    first.define_landmark("centre", centre)
    assert first.save().number == 2
    looked_up = {result.case: result for result in look_up_everywhere(library, "an annotator")}
    assert looked_up[sessions[1].case.id].revision == 2
    for one in sessions:
        one.close()
    again = Session(first.case, "an annotator", data_folder=folder / "user")
    np.testing.assert_array_equal(again.state.landmarks.points_lps_mm, first.state.landmarks.points_lps_mm)
    for file_format in FORMATS:
        exported = export_library(library, file_format, folder / "out" / file_format)
        assert exported.whole
        assert exported.cases == 2


@step
def work_that_was_lost_is_recovered(folder: Path) -> None:
    from DenseLandmarksLib.annotation.library.library import Library
    from DenseLandmarksLib.annotation.session import Session
    from Testing.geometry.dicom_files import write_dicom

    case = Library.create(folder / "library", "chests").add(write_dicom(folder / "a.dcm"))
    session = Session(case, "an annotator", data_folder=folder / "user")
    session.place("apex", session.state.geometry.origin_lps_mm)
    session.close()
    again = Session(case, "an annotator", data_folder=folder / "user")
    again.recover(again.recoverable[0])
    assert again.state.landmarks.names == ("apex",)


# ---- a case in Slicer's scene --------------------------------------------------------------------------------------------


@scene_step
def the_room_of_the_scene_opens_without_slicer_itself(folder: Path) -> None:
    assert [name for name in (*PRESENT, *SLICER) if importlib.util.find_spec(name) is None] == []
    assert [name for name in ABSENT if importlib.util.find_spec(name) is not None] == []
    assert open_rooms(("scene",)) > 15
    assert "slicer" not in sys.modules


@scene_step
def a_case_is_worked_on_in_a_scene_that_is_saved_and_opened_again(folder: Path) -> None:
    import numpy as np
    import slicer

    from DenseLandmarksLib.annotation.case_masks import structure_mask
    from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
    from DenseLandmarksLib.scene.desk import Desk
    from DenseLandmarksLib.scene.ras import to_vtk
    from DenseLandmarksLib.scene.saved_case import same
    from Testing.scene.open_cases import (
        chest_library,
        control_point,
        everything_is_on_its_voxel,
        point_lps_mm,
        predict,
        world_ras_mm,
    )
    from Testing.scene.saved_scene import new_scene, read_scene, save_scene

    template = shipped_template()
    library = chest_library(folder, template, 2)
    scene, lines = new_scene(), []
    desk = Desk(scene, "an annotator", lines.append, folder / "user")
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, template)
    name, other = template.structures[0].contour_names[5], template.structures[0].contour_names[9]
    before = point_lps_mm(case, name)
    node, n = control_point(case, name)
    node.InvokeEvent(node.PointStartInteractionEvent)
    for step_mm in (2.0, 4.0, 6.0):
        node.SetNthControlPointPosition(n, -before[0] - step_mm, -before[1], before[2])
        case.poll()
    node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    np.testing.assert_allclose(point_lps_mm(case, name), before + [6, 0, 0], atol=1e-9)
    case.undo()
    np.testing.assert_array_equal(point_lps_mm(case, name), before)
    case.redo()
    _, gone = control_point(case, other)
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveNthControlPoint(gone)
    case.poll()
    landmarks = case.session.state.landmarks
    assert landmarks.presence[landmarks.names.index(other)] is Presence.ABSENT
    heart = case.segments.node.GetSegmentation().GetSegment("heart")
    labelmap = heart.GetRepresentation("Binary labelmap")
    x0, _, y0, _, z0, _ = labelmap.GetExtent()
    labelmap.SetScalarComponentFromDouble(x0, y0, z0, 0, heart.GetLabelValue())
    labelmap.Modified()
    heart.Modified()
    case.segments.node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
    case.poll()
    assert case.session.state.structure_review("heart") is Review.CORRECTED
    assert structure_mask(case.session.state, "heart")[z0, y0, x0]
    turn = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    rows = case.session.state.landmarks.of_structure("heart")
    case.session.define_landmark("centre", case.session.state.landmarks.points_lps_mm[rows].mean(axis=0))
    assert everything_is_on_its_voxel(case)
    case.save()
    state, world = case.session.state, world_ras_mm(case, "centre")
    opened = read_scene(save_scene(scene, folder / "scene.mrb"))
    desk.close()
    left = {scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())}
    assert left <= {"vtkMRMLLinearTransformNode", "vtkMRMLTransformStorageNode"}, left
    again_desk = Desk(opened, "an annotator", lines.append, folder / "user")
    (again,) = again_desk.reopen()
    assert same(again.session.state, state)
    assert everything_is_on_its_voxel(again)
    np.testing.assert_allclose(world_ras_mm(again, "centre"), world, atol=1e-4)
    following = again_desk.open_next(again, "order")
    assert following is not None
    predict(following.session, template)
    following.poll()
    assert "centre" in following.session.state.landmarks.names
    assert len(lines) == 2, lines


def main(arguments: list[str]) -> int:
    """Run one step; whatever fails is on stderr, and the last line says which modules came in."""
    root, packages, name, folder = arguments
    sys.path[:0] = [root, packages]
    (STEPS | SCENE_STEPS)[name](Path(folder))
    came_in: Any = {module.split(".")[0] for module in sys.modules} & set(ABSENT)
    assert not came_in, came_in
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
