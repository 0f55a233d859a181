"""The predictor of multi-scale models: a volume's pyramid, coarse to fine, how sure each landmark is, LPS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import Bundle, broken
from DenseLandmarksLib.models.ellipsoids import isotropic
from DenseLandmarksLib.models.evidence import Evidence, need_landmark
from DenseLandmarksLib.models.networks.loc_net import entropy_of, heat_covariance
from DenseLandmarksLib.models.networks.multi_scale import NETWORK_MODULE, NETWORKS, LevelOutput, MultiScaleLocNet
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from DenseLandmarksLib.models.prediction import do_nothing
from DenseLandmarksLib.models.predictors.image_pyramid import ImagePyramid, Ramp
from DenseLandmarksLib.models.predictors.level_maps import level_maps
from DenseLandmarksLib.models.predictors.on_device import computes_mixed, within_memory
from DenseLandmarksLib.models.predictors.open_network import open_network
from DenseLandmarksLib.models.predictors.volume_predictor import Seen, VolumePredictor, arguments_of

COMPONENTS = ("shifted", "heat", "levels", "coarse_entropy")
"""Raw covariances of a landmark: of the passes with shifted crops, of the finest heatmap, of what the levels disagree by, and
of the size of the coarsest heatmap's bulk."""
# Voxels of crops that go through the network at once.
_VOXELS_AT_ONCE = 2**20


@dataclass
class MultiScalePredictor(VolumePredictor):
    """Predicts volumes coarse to fine.

    ``passes`` says how often the finest level looks, the crops moved by up to ``shift_mm`` each way (paper, section 2.4);
    all else as in :class:`VolumePredictor`.
    """

    components = COMPONENTS
    plain = ("shifted", "heat")

    network: MultiScaleLocNet
    passes: int = 8
    shift_mm: float = 5.0

    @property
    def coarsest_mm(self) -> float:
        """Of the coarsest level."""
        return self.network.spacings_mm[0]

    @property
    def says_presence(self) -> bool:
        """Where it was trained to."""
        return self.network.presence is not None

    def run_once(self) -> bool:
        """One pass of every level over a grey ramp; whether all that comes out is finite."""
        seen = self._look(Ramp(self.network.spacings_mm, self.network.crop_size), do_nothing, 1)
        return bool(np.isfinite(seen.points_lps_mm).all())

    def look(self, image: MedicalImage, between_passes: Callable[[], None] = do_nothing) -> Seen:
        """All passes over a volume, before anything is made of them; goes on with the CPU when a card's memory is short."""
        pyramid = ImagePyramid(image, self.network.spacings_mm, self.intensity)
        return within_memory(self, lambda: self._look(pyramid, between_passes, self.passes))

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """The landmark's heatmaps at the finest and at the coarsest level, from one look at each.

        Raises :class:`InputError` for a radiograph, and for a landmark that the model does not know.
        """
        self.refuse_radiograph(image)
        row = need_landmark(landmark, self.names, self.name)
        between_passes()
        pyramid = ImagePyramid(image, self.network.spacings_mm, self.intensity)
        outputs = within_memory(self, lambda: self._heat_of(row, pyramid, between_passes))
        return Evidence(landmark, level_maps(outputs, row, self.network.centre, image.geometry))

    @torch.inference_mode()
    def _heat_of(self, row: int, pyramid: Pyramid, between_passes: Callable[[], None]) -> tuple[LevelOutput, ...]:
        """The finest level, where there is more than one, in the crop that holds one landmark, and the coarsest."""
        network = self.network
        output, logits = network.coarse([pyramid], network.size_to_see(pyramid))
        last = len(network.spacings_mm) - 1
        if last == 0:
            return (output,)
        before = self._before_finest(output, self._present(logits), pyramid, between_passes)
        between_passes()
        crop = (network.rows == row).any(dim=1).nonzero()[:1, 0]
        return network.finer(last, [pyramid], before, None, crop), output

    def _present(self, logits: Tensor) -> NDArray[np.floating[Any]]:
        """Probability (N,) that the landmarks are in the volume."""
        if not self.network.presence:
            return np.ones(len(self.names))
        return np.asarray(torch.sigmoid(logits[0].float()).cpu().numpy())

    def _before_finest(
        self,
        output: LevelOutput,
        present: NDArray[np.floating[Any]],
        pyramid: Pyramid,
        between_passes: Callable[[], None],
    ) -> Tensor:
        """Positions (1, N, 3) that the finest level looks about."""
        points = self._in_shape(output, present)
        for level in range(1, len(self.network.spacings_mm) - 1):
            points = self._finer(level, pyramid, points, None, between_passes)[0]
        return points

    @torch.inference_mode()
    def _look(self, pyramid: Pyramid, between_passes: Callable[[], None], passes: int) -> Seen:
        network = self.network
        output, logits = network.coarse([pyramid], network.size_to_see(pyramid))
        entropy = entropy_of(output.heat[:, 0], network.centre)[0].cpu().numpy()
        present = self._present(logits)
        # A distribution of this entropy fills so many voxels.
        bulk_mm2 = np.exp(2 * entropy / 3) * output.spacing_mm**2
        # What the finest level stands on, and moves its crops about.
        before = self._before_finest(output, present, pyramid, between_passes)
        shifted = []
        heats = []
        if len(network.spacings_mm) > 1:
            for number in range(passes):
                shift = torch.from_numpy(_shifts(passes, len(network.rows), number) * self.shift_mm).float()[None]
                found, heat = self._finer(
                    len(network.spacings_mm) - 1, pyramid, before, shift.to(self.device), between_passes
                )
                shifted.append(found[0].cpu().numpy())
                heats.append(heat)
            points_lps_mm = np.mean(shifted, axis=0)
            covariance = np.mean(heats, axis=0)
        else:
            points_lps_mm, covariance = before[0].cpu().numpy(), self._heat_covariance(output)
        away = points_lps_mm - before[0].cpu().numpy()
        apart = np.zeros((len(points_lps_mm), 3, 3))
        if len(shifted) > 1:
            off = np.array(shifted) - points_lps_mm
            apart = np.einsum("pni,pnj->nij", off, off) / (len(shifted) - 1)
        components = {
            "shifted": apart,
            "heat": covariance,
            "levels": isotropic((away**2).sum(axis=1) / 3),
            "coarse_entropy": isotropic(bulk_mm2),
        }
        return Seen(points_lps_mm.astype(np.float64), components, present.astype(np.float64))

    def _in_shape(self, output: LevelOutput, presence: NDArray[np.floating[Any]]) -> Tensor:
        """Positions (1, N, 3) of the coarsest level; for a network that works in the shape's pose, as fits the shape.

        A few landmarks that it saw far off would turn the pose, and with it all that the finer levels see.
        """
        points = output.points_lps_mm
        if self.network.shape_mm is None:
            return points
        vague = self._heat_covariance(output) + output.spacing_mm**2 * np.eye(3)
        fitting = self.with_shape(points[0].cpu().numpy().astype(np.float64), vague, presence >= 0.5)
        return points if fitting is None else torch.from_numpy(fitting[0]).float()[None].to(points.device)

    def _finer(
        self,
        level: int,
        pyramid: Pyramid,
        points_lps_mm: Tensor,
        shift_lps_mm: Tensor | None,
        between_passes: Callable[[], None],
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Positions (1, N, 3) that one level says, and its heatmaps' covariances (N, 3, 3), a few crops at a time."""
        network = self.network
        at_once = max(1, _VOXELS_AT_ONCE // network.crop_size**3)
        found, covariance = points_lps_mm.clone(), np.zeros((len(self.names), 3, 3))
        for first in range(0, len(network.rows), at_once):
            between_passes()
            crops = torch.arange(first, min(first + at_once, len(network.rows)), device=network.rows.device)
            shift = None if shift_lps_mm is None else shift_lps_mm[:, crops]
            output = network.finer(level, [pyramid], points_lps_mm, shift, crops)
            found[:, output.landmarks] = output.points_lps_mm[:, output.landmarks]
            covariance[output.landmarks.cpu().numpy()] = self._heat_covariance(output)
        return found, covariance

    def _heat_covariance(self, output: LevelOutput) -> NDArray[np.float64]:
        """Covariances (K, 3, 3), mm^2 along LPS, of the heatmaps of the landmarks that are in one volume's crops."""
        voxels = heat_covariance(output.heat[0], self.network.centre)
        turned = torch.einsum("ai,cgij,bj->cgab", output.frames[0], voxels, output.frames[0])
        mm2 = output.by_landmark(turned[None])[0] * output.spacing_mm**2
        return np.asarray(mm2.cpu().numpy(), np.float64)


def _shifts(passes: int, crops: int, number: int) -> NDArray[np.float64]:
    """Shifts (C, 3) from -1 to 1 of one of so many passes, none in a single one; the same in every prediction."""
    if passes == 1:
        return np.zeros((crops, 3))
    return np.random.default_rng((passes, number)).uniform(-1, 1, (crops, 3))


def open_multi_scale(bundle: Bundle, device: str) -> MultiScalePredictor:
    """The predictor of a checked bundle of this family on ``"cpu"`` or ``"cuda"``.

    Raises :class:`InputError`, in one line, when weights and network do not fit.
    """
    network = open_network(bundle, NETWORKS, NETWORK_MODULE)
    inference = bundle.inference
    try:
        network.is_mixed = computes_mixed(inference, device)
        if network.landmarks != len(bundle.landmark_names):
            raise ValueError(f"it has {network.landmarks} landmarks, the metadata {len(bundle.landmark_names)}")
        return MultiScalePredictor(
            network=network,
            passes=int(inference["passes"]),
            shift_mm=float(inference["shift_mm"]),
            **arguments_of(bundle, device),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise broken(bundle.folder, f"its weights do not fit its network ({error})") from error
