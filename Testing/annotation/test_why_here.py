"""A person asks why a landmark is where it is: what the case holds is told at once, and nothing of the case changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.why_here import bundle_behind
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.registry import find_bundle
from Testing.annotation.perfect_answer import chest_image
from Testing.models.volume_model import PerfectVolumeModel, neck_volume
from Testing.scene.open_cases import chest_library, edits_on_disk, predict

A = "heart_03"


@pytest.fixture
def session(tmp_path: Path, chest_template: Template) -> Session:
    library = chest_library(tmp_path, chest_template)
    session = Session(library.case(library.cases()[0].id), "anna", data_folder=tmp_path / "user")
    predict(session, chest_template)
    return session


def highest_ijk(session: Session, name: str) -> np.ndarray:
    evidence = session.why_here(name)
    assert evidence is not None
    (one,) = evidence.maps
    kji = np.argwhere(one.values == one.values.max()).mean(axis=0)
    return np.asarray((one.to_index @ [*kji[::-1], 1.0])[:3])


def test_it_is_told_from_the_case_and_is_no_edit(session: Session, tmp_path: Path) -> None:
    row = session.state.landmarks.names.index(A)
    before, on_disk = session.state, edits_on_disk(tmp_path / "user")
    np.testing.assert_allclose(highest_ijk(session, A), session.state.index_ijk[row], atol=1)
    assert session.state is before
    assert edits_on_disk(tmp_path / "user") == on_disk == ["TakePrediction"]


def test_where_a_person_put_it_does_not_change_what_the_model_saw(session: Session) -> None:
    before = highest_ijk(session, A)
    row = session.state.landmarks.names.index(A)
    session.move({A: session.state.landmarks.points_lps_mm[row] + [40.0, 0, 0]})
    np.testing.assert_array_equal(highest_ijk(session, A), before)


def test_a_landmark_that_was_defined_later_has_its_evidence_too(session: Session) -> None:
    rows = session.state.landmarks.of_structure("heart")
    middle = session.state.landmarks.points_lps_mm[rows].mean(axis=0)
    session.define_landmark("valve", middle)
    expected = session.state.index_ijk[session.state.landmarks.names.index("valve")]
    np.testing.assert_allclose(highest_ijk(session, "valve"), expected, atol=1)


def test_a_model_without_a_field_has_to_be_asked(tmp_path: Path) -> None:
    image = neck_volume()
    sitk.WriteImage(image.volume, str(tmp_path / "neck.nrrd"))
    library = Library.create(tmp_path / "library", "necks")
    session = Session(library.add(tmp_path / "neck.nrrd"), "anna", data_folder=tmp_path / "user")
    session.take(ModelAnswer(PerfectVolumeModel().predict(image), None, ()), image.geometry)
    assert session.why_here("hyoid") is None
    session.place("nodule", image.geometry.origin_lps_mm)
    with pytest.raises(InputError, match=r"expected a landmark that perfect-neck looked for, got nodule"):
        session.why_here("nodule")


def test_what_cannot_be_told_is_told_in_one_line(tmp_path: Path, chest_template: Template) -> None:
    library = chest_library(tmp_path, chest_template)
    session = Session(library.case(library.cases()[0].id), "anna", data_folder=tmp_path / "user")
    with pytest.raises(InputError, match=r"expected a predicted case to tell why heart_03 is there"):
        session.why_here(A)
    predict(session, chest_template, lost=("heart",))
    with pytest.raises(InputError, match=r"expected a landmark of the case, got 'nose'"):
        session.why_here("nose")
    with pytest.raises(InputError, match=r"expected heart in the image"):
        session.why_here(A)
    point = chest_image(chest_template).geometry.origin_lps_mm
    session.place("marker", point, "")
    with pytest.raises(InputError, match=r"expected a landmark that perfect looked for, got marker"):
        session.why_here("marker")


@pytest.fixture
def prediction() -> Prediction:
    return PerfectVolumeModel().predict(neck_volume())


def test_the_model_that_is_asked_is_the_one_that_predicted(
    prediction: Prediction, volume_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    by_finder = replace(prediction, model_name="neck-finder", model_version="1.0.0")
    assert bundle_behind(by_finder, str(volume_bundle)) == volume_bundle
    with pytest.raises(InputError, match=r"expected perfect-neck 1\.0\.0, which predicted this case, on this computer"):
        bundle_behind(prediction, str(volume_bundle))
    with pytest.raises(InputError, match=r"expected neck-finder 1\.0\.1, which predicted"):
        bundle_behind(replace(by_finder, model_version="1.0.1"), str(volume_bundle))
    with pytest.raises(InputError, match="expected neck-finder 1"):
        bundle_behind(by_finder, "chest-xray")
    shipped = read_description(find_bundle("chest-xray"))
    by_shipped = replace(prediction, model_name=shipped.name, model_version=shipped.version)
    assert bundle_behind(by_shipped, str(volume_bundle)) == shipped.folder
