"""Data folders of volumes: what is annotated, what is absent, and what nobody looked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from Testing.training.volume_folder import write_volumes
from training.data import read_dataset
from training.data_folder import is_of_volumes
from training.volume_data import VolumeDataset, read_volume_dataset


def test_a_missing_row_is_not_annotated_and_only_what_is_named_is_absent(tmp_path: Path) -> None:
    dataset = write_volumes(tmp_path / "data", left_out=(("a", "chin"),), absent={"b": ("left_1", "chin")})
    assert dataset.landmark_names == ("left_1", "left_2", "right_1", "chin")
    a, b = dataset.cases[:2]
    assert np.isnan(a.points_lps_mm).all(axis=1).tolist() == [False, False, False, True]
    assert not a.absent.any()
    assert np.isnan(b.points_lps_mm).all(axis=1).tolist() == b.absent.tolist() == [True, False, False, True]
    assert a.points_lps_mm.shape == (4, 3)
    assert is_of_volumes(tmp_path / "data")


def test_volumes_have_splits_folds_and_structures_as_radiographs_have(tmp_path: Path) -> None:
    dataset = write_volumes(tmp_path / "data")
    assert dataset.structures == ("left_artery", "right_artery", "chin")
    assert dataset.landmarks_of("left_artery").tolist() == [0, 1]
    kept, held = dataset.of_split("test").fold(1, 2)
    assert [case.name for case in held.cases] == ["b", "d"]
    assert [case.name for case in kept.cases] == ["a", "c"]
    assert isinstance(held, VolumeDataset)
    with pytest.raises(InputError, match="split 'train'"):
        dataset.of_split("train")


def test_without_a_column_of_structures_all_landmarks_are_of_the_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_volumes(folder)
    lines = [line.split(",") for line in (folder / "landmarks.csv").read_text().splitlines()]
    (folder / "landmarks.csv").write_text("\n".join(",".join(line[:2] + line[3:]) for line in lines))
    assert read_volume_dataset(folder).structures == ("necks",)


@pytest.mark.parametrize(
    ("stated", "message"),
    [(["nose"], "under 'absent' of case a .* got nose"), (["chin", "left_2"], "got both for left_2, chin")],
)
def test_what_cannot_be_absent_is_told(tmp_path: Path, stated: list[str], message: str) -> None:
    write_volumes(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    index["cases"][0]["absent"] = stated
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=message) as caught:
        read_volume_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_radiographs_and_volumes_are_not_taken_for_each_other(tmp_path: Path, phantom_folder: Path) -> None:
    write_volumes(tmp_path / "data")
    with pytest.raises(InputError, match=r"landmarks of radiographs .*x_px, y_px.*got case, landmark.* z_lps_mm in"):
        read_dataset(tmp_path / "data")
    with pytest.raises(InputError, match=r"landmarks of volumes .*x_lps_mm, y_lps_mm, z_lps_mm.*got case,.*x_px"):
        read_volume_dataset(phantom_folder)
    assert not is_of_volumes(phantom_folder)
    (tmp_path / "data" / "landmarks.csv").write_text("case,landmark,x,y\n")
    with pytest.raises(InputError, match="got case, landmark, x, y"):
        is_of_volumes(tmp_path / "data")
    with pytest.raises(InputError, match=r"data folder with dataset\.json"):
        read_volume_dataset(tmp_path)
