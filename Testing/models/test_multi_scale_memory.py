"""However large a volume is, a prediction needs little memory beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MORE_THAN_THE_VOLUME_MIB = 1024
MEASURE = """
import sys
import numpy as np, SimpleITK as sitk, torch
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.multi_scale import MultiScaleLocNet
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor
size = tuple(map(int, sys.argv[1:4]))
network = MultiScaleLocNet(5, [4.0, 2.0, 1.0, 0.5], 56, presence=True)
names = tuple("abcde")
predictor = MultiScalePredictor(network, names, names, IntensityRecipe(), "m", "1", "cpu", passes=1)
volume = sitk.Image(size, sitk.sitkInt16)
volume.SetSpacing((0.5,) * 3)
volume += 40
def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here, not with that of whoever started this process
used = kib("VmRSS")
prediction = predictor.predict(MedicalImage(volume, SpacingSource.CALIBRATED))
assert np.isfinite(prediction.landmarks.points_lps_mm).all()
print((kib("VmHWM") - used) / 2**10)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory in use")
def test_a_large_volume_needs_less_than_a_gibibyte_beside_itself() -> None:
    """448 x 448 x 448 at 0.5 mm by the paper's network with five landmarks: as many crops as go through it at once."""
    command = [sys.executable, "-c", MEASURE, "448", "448", "448"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 100 < float(done.stdout) < MORE_THAN_THE_VOLUME_MIB
