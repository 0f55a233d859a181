"""The predictor of heatmap models for volumes: one level, tile by tile, peaks, how sure each landmark is, LPS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut
from DenseLandmarksLib.models.bundle import Bundle, broken
from DenseLandmarksLib.models.ellipsoids import isotropic
from DenseLandmarksLib.models.evidence import Evidence, lps_to_index, need_landmark
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORK_MODULE, HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from DenseLandmarksLib.models.prediction import do_nothing
from DenseLandmarksLib.models.predictors.heat_maps import maps_of
from DenseLandmarksLib.models.predictors.heat_passes import join_passes
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading
from DenseLandmarksLib.models.predictors.heat_tiles import Tiles, find_in_tiles, join_heat, rigid_moves
from DenseLandmarksLib.models.predictors.image_pyramid import ImagePyramid
from DenseLandmarksLib.models.predictors.on_device import computes_mixed, within_memory
from DenseLandmarksLib.models.predictors.open_network import open_network
from DenseLandmarksLib.models.predictors.volume_predictor import Seen, VolumePredictor, arguments_of

COMPONENTS = ("heat", "sigma", "passes")
"""Raw covariances of a landmark in mm^2: of its heatmap about the peak, of the Gaussian that was taught, and of what the
passes differ by."""


@dataclass(kw_only=True)
class HeatmapVolumePredictor(VolumePredictor):
    """Predicts volumes with a heatmap network that sees ``tiles`` of one level of ``spacing_mm``.

    ``reading`` says how often it looks and how its heatmaps are read. Without a calibration a landmark is there where its
    peak has more than ``reading.present_above`` of the strength that was taught. All else as in :class:`VolumePredictor`.
    """

    components = COMPONENTS
    plain = ("heat", "passes")

    network: HeatmapNetwork
    reading: HeatReading
    spacing_mm: float
    tiles: Tiles

    @property
    def coarsest_mm(self) -> float:
        """Of the heatmaps' pixels."""
        return self.spacing_mm * self.network.stride

    @property
    def says_presence(self) -> bool:
        """Always: a peak is high, or it is not."""
        return True

    @torch.inference_mode()
    def run_once(self) -> bool:
        """One pass over a small grey ramp; whether all that comes out is finite."""
        x, y, z = (min(2 * self.network.divisor, side) for side in self.tiles.size)
        ramp = torch.linspace(-1, 1, x, device=self.device).expand(1, 1, z, y, x).contiguous()
        return bool(self.network(ramp).heat.isfinite().all())

    def look(self, image: MedicalImage, between_passes: Callable[[], None] = do_nothing) -> Seen:
        """All passes over a volume, before anything is made of them; goes on with the CPU when a card's memory is short."""
        pyramid = ImagePyramid(image, (self.spacing_mm,), self.intensity)
        return within_memory(self, lambda: self._look(pyramid, between_passes))

    def _look(self, pyramid: Pyramid, between_passes: Callable[[], None]) -> Seen:
        found: list[HeatReadOut] = []
        for move in rigid_moves(self.reading.passes, pyramid.grids[0]):
            if found:
                between_passes()
            found.append(find_in_tiles(self.network, pyramid, self.tiles, self.reading, move, between_passes))
        joined, apart = join_passes(found)
        components = {
            "heat": joined.covariance,
            "sigma": isotropic((self._sigma * self.coarsest_mm) ** 2),
            "passes": apart,
        }
        # A half where the strength is the limit; its log odds are the logarithm of how far it is from there.
        return Seen(joined.points, components, joined.strength / (joined.strength + self.reading.present_above))

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """The landmark's heatmap, and what the network makes it of, from one pass.

        Raises :class:`InputError` for a radiograph, and for a landmark that the model does not know.
        """
        self.refuse_radiograph(image)
        row = need_landmark(landmark, self.names, self.name)
        between_passes()
        pyramid = ImagePyramid(image, (self.spacing_mm,), self.intensity)
        grid = pyramid.grids[0]
        (still,) = rigid_moves(1, grid)
        joined = within_memory(self, lambda: join_heat(self.network, pyramid, self.tiles, still, between_passes, row))
        peaks = self.reading.peaks(self._sigma, self.network.dimensions)
        to_lps_mm = np.diag([*[grid.spacing_mm * joined.stride] * 3, 1.0])
        to_lps_mm[:3, 3] = grid.lps_mm_from_index([np.full(3, (joined.stride - 1) / 2)])[0]
        maps = maps_of(
            joined.within(joined.heat[0], grid),
            {name: joined.within(part, grid) for name, part in joined.parts.items()},
            None if peaks is None else float(peaks[row]),
            self.reading.shown_highest(joined.heat[0]),
            lps_to_index(image.geometry, to_lps_mm),
        )
        return Evidence(landmark, maps)

    @property
    def _sigma(self) -> NDArray[np.float64]:
        """Of the Gaussians that were taught (N,), heatmap pixels."""
        return self.network.sigma.detach().cpu().numpy().astype(np.float64)


def open_heatmap_volume(bundle: Bundle, device: str) -> HeatmapVolumePredictor:
    """The predictor of a checked bundle of this family on ``"cpu"`` or ``"cuda"``.

    Raises :class:`InputError`, in one line, when weights, network, tiles and landmarks do not fit.
    """
    network = open_network(bundle, HEATMAP_NETWORKS, HEATMAP_NETWORK_MODULE)
    inference = bundle.inference
    network.is_mixed = computes_mixed(inference, device)
    try:
        x, y, z = (int(side) for side in inference["tile"])
        predictor = HeatmapVolumePredictor(
            network=network,
            reading=HeatReading.from_inference(inference),
            spacing_mm=float(inference["spacing_mm"]),
            tiles=Tiles((x, y, z), int(inference["step"])),
            **arguments_of(bundle, device),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise broken(bundle.folder, f"a configuration file cannot be read ({error!r})") from error
    _check_fit(bundle, predictor)
    return predictor


def _check_fit(bundle: Bundle, predictor: HeatmapVolumePredictor) -> None:
    """Raises :class:`InputError` where a network is not for volumes, or not for the bundle's landmarks or tiles."""
    network, tiles = predictor.network, predictor.tiles
    if network.landmarks != len(bundle.landmark_names):
        raise broken(
            bundle.folder, f"its network has {network.landmarks} landmarks, its metadata {len(bundle.landmark_names)}"
        )
    if network.dimensions != 3 or network.structures:
        raise broken(bundle.folder, "its network is not one of landmarks of volumes")
    if any(side % network.divisor for side in tiles.size) or not network.stride <= tiles.step <= min(tiles.size):
        raise broken(
            bundle.folder,
            f"its tiles of {tiles.size}, {tiles.step} voxels apart, do not fit its network, which needs multiples of "
            f"{network.divisor}",
        )
    if not predictor.reading.present_above > 0 or not predictor.spacing_mm > 0:
        raise broken(bundle.folder, "its spacing and the strength of a landmark that is there are not above 0")
