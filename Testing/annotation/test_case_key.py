"""A case keeps its key, and the key tells nobody who it is."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_key import case_key, file_key, installation_salt
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

ROOT = Path(__file__).resolve().parents[2]
SALT = bytes(range(32))


def image(pixels: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> MedicalImage:
    volume = sitk.GetImageFromArray(pixels[None])
    volume.SetSpacing(spacing)
    return MedicalImage(volume, SpacingSource.GIVEN)


PIXELS = (np.arange(12 * 16).reshape(12, 16) * 7 % 251).astype(np.uint16)


def test_a_case_stays_the_same_case_when_its_name_or_calibration_is_corrected() -> None:
    key = case_key(image(PIXELS), SALT)
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert case_key(image(PIXELS.copy()), SALT) == key
    assert case_key(image(PIXELS, (0.2, 0.2, 1)), SALT) == key
    assert case_key(replace(image(PIXELS), name="another", spacing_source=SpacingSource.CALIBRATED), SALT) == key


def test_another_picture_is_another_case() -> None:
    one_changed = PIXELS.copy()
    one_changed[3, 4] += 1
    others = (one_changed, PIXELS.reshape(16, 12), PIXELS.astype(np.int16), PIXELS.astype(np.float32))
    keys = {case_key(image(pixels), SALT) for pixels in (PIXELS, *others)}
    assert len(keys) == 5


def test_nobody_can_compute_the_key_without_the_salt_of_the_installation(tmp_path: Path) -> None:
    assert case_key(image(PIXELS), SALT) != case_key(image(PIXELS), SALT[::-1])
    assert file_key(tmp_path, SALT) != file_key(tmp_path, SALT[::-1])


def test_the_salt_is_drawn_once_and_is_for_the_user_alone(tmp_path: Path) -> None:
    salt = installation_salt(tmp_path / "new" / "folder")
    assert len(salt) == 32
    assert installation_salt(tmp_path / "new" / "folder") == salt
    assert installation_salt(tmp_path / "elsewhere") != salt
    (file,) = (tmp_path / "new" / "folder").iterdir()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_start_together_get_one_salt(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path\nfrom DenseLandmarksLib.annotation.case_key import installation_salt\n"
    code += "sys.stdin.read(1); print(installation_salt(Path(sys.argv[1])).hex())"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("g")
        run.stdin.flush()
    assert len({run.communicate(timeout=60)[0] for run in runs}) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["case-key-salt"]


def test_a_salt_that_another_process_made_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(source: Path, target: Path) -> None:
        target.write_bytes(SALT)
        raise FileExistsError

    monkeypatch.setattr(os, "link", late)
    assert installation_salt(tmp_path) == SALT


def test_a_file_system_without_links_keeps_a_salt_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    assert installation_salt(tmp_path) == installation_salt(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"expected to keep the secret .*, got '.+'.*\. Make the folder writable"
    ) as told:
        installation_salt(tmp_path / "file")
    assert "\n" not in str(told.value)


def test_a_damaged_salt_is_not_replaced_in_silence(tmp_path: Path) -> None:
    installation_salt(tmp_path)
    (tmp_path / "case-key-salt").write_bytes(b"short")
    with pytest.raises(InputError, match=r"expected 32 bytes in .*, got 5\. Restore it"):
        installation_salt(tmp_path)
