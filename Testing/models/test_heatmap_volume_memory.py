"""However large a volume is, its heatmaps need little memory beside it."""

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
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading
from DenseLandmarksLib.models.predictors.heat_tiles import Tiles
from DenseLandmarksLib.models.predictors.heatmap_volume import HeatmapVolumePredictor
network = HEATMAP_NETWORKS[sys.argv[1]](25, dimensions=3)
network.is_mixed = "mixed" in sys.argv
names = tuple(map(str, range(25)))
predictor = HeatmapVolumePredictor(
    network=network, names=names, structures=names, intensity=IntensityRecipe(), name="m", version="1", device="cpu",
    reading=HeatReading("distribution", present_above=0.1), spacing_mm=2.0,
    tiles=Tiles(tuple(map(int, sys.argv[2:5])), int(sys.argv[5])),
)
volume = sitk.Image((448,) * 3, sitk.sitkInt16)
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
    """448 x 448 x 448 at 0.5 mm, 25 landmarks, four tiles as large as the paper's, by the network for CPUs."""
    command = [sys.executable, "-c", MEASURE, "CompactHeatmapNet", "96", "96", "192", "64"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 100 < float(done.stdout) < MORE_THAN_THE_VOLUME_MIB
