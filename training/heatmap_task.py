"""What a heatmap model does in training: radiographs altered anew in each step, and what is wrong with its heatmaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.heat_read_out import read_heat
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from training.augmentation import change_intensities, sample_transform
from training.grid_cases import GridCases, load_grid_cases
from training.heatmap_data import HeatmapTrainingSet, chosen_landmarks, make_points_template
from training.heatmap_losses import heat_loss, joint_mask_loss
from training.heatmap_recipe import HeatmapRecipe
from training.heatmap_targets import heat_pixels
from training.metrics import FAR_MM
from training.new_heatmap_network import heatmap_network_definition, new_heatmap_network
from training.obstructions import add_obstructions
from training.precision import computes_mixed
from training.replay import CaseMix
from training.sides import mirrored_rows, without_other_side


@dataclass(frozen=True)
class HeatmapBatch:
    """B radiographs as they are seen in one step.

    ``images`` (B, 1, H, W); ``points`` (B, N, 2) grid pixels, NaN where none is seen; ``present`` (B, N) 1 on the image, 0
    moved off it or truly absent, NaN where nobody annotated; ``masks`` (B, K, H, W) and ``annotated`` (B, K) of joint networks,
    K = 0 of others; ``weights`` (B, N) how much each landmark counts, ``None`` that all count 1.
    """

    images: Tensor
    points: Tensor
    present: Tensor
    masks: Tensor
    annotated: Tensor
    weights: Tensor | None = None


class HeatmapTask:
    """Everything of a heatmap run but its loop, see :class:`training.trainer.Task`."""

    validated: tuple[str, ...] = ("tre_mm", "from_10_mm_share")

    def __init__(
        self,
        recipe: HeatmapRecipe,
        data: HeatmapTrainingSet,
        template: Template,
        cases: GridCases,
        held: GridCases | None,
        mix: CaseMix | None = None,
    ) -> None:
        """``cases`` are those that are trained on, ``held`` those that are not, both with the landmarks that are asked for.

        ``mix`` says which of the cases are replayed, by default none.

        Raises :class:`InputError` when images are to be mirrored and a landmark has no partner on the other side.
        """
        self.recipe, self.data, self.template, self.cases, self.held = recipe, data, template, cases, held
        self.optimiser, self.seed, self.device = recipe.optimiser, recipe.seed, data.images.device.type
        self.mix = mix or CaseMix(len(cases))
        self.steps_per_epoch = self.mix.steps(recipe.optimiser.batch)
        self.structures = template.structure_names if recipe.loss.mask_weight > 0 else ()
        alone = without_other_side((*cases.landmark_names, *self.structures)) if recipe.augmentation.mirror > 0 else ()
        if alone:
            raise InputError(
                f"expected landmarks of both sides to mirror images, got {alone[0]} alone. Set augmentation.mirror to 0."
            )
        self.mirrored_rows = mirrored_rows(cases.landmark_names).to(self.device)
        self.mirrored_structures = mirrored_rows(self.structures).to(self.device)

    @classmethod
    def read(cls, recipe: HeatmapRecipe, data: Path, device: str, parent: Bundle | None) -> HeatmapTask:
        """The ``train`` split of a data folder or packed file; the template is the ``parent``'s where there is one.

        Raises :class:`InputError` when the parent finds other landmarks.
        """
        every = load_grid_cases(data, recipe.target.grid).of_split("train")
        # Before the folds are dealt: the models of all of them find the same landmarks.
        rows = chosen_landmarks(every, recipe.target)
        held: GridCases | None = None
        if recipe.validation_fold >= 0:
            every, rest = every.fold(recipe.validation_fold, recipe.folds)
            held = rest.of_landmarks(rows)
        cases = every.of_landmarks(rows)
        template = make_points_template(cases, recipe.target) if parent is None else parent.need_template()
        if template.landmark_names != cases.landmark_names:
            raise InputError(
                f"expected a model to start from that finds the {len(rows)} landmarks of the recipe, this one finds "
                f"{len(template.landmark_names)} others. Start from another model, or from none."
            )
        structures = template.structure_names if recipe.loss.mask_weight > 0 else ()
        return cls(recipe, HeatmapTrainingSet.build(cases, every, structures, device), template, cases, held)

    def network_definition(self) -> dict[str, Any]:
        """The class of the network and its arguments, for JSON."""
        recipe = self.recipe
        return heatmap_network_definition(
            recipe.network, recipe.loss, len(self.cases.landmark_names), 2, len(self.structures)
        )

    def new_network(self) -> nn.Module:
        """A freshly initialised network; raises :class:`InputError` for an unknown name, argument or size."""
        network = new_heatmap_network(self.network_definition(), self.recipe.target.grid, "target.grid")
        network.sigma.requires_grad_(self.recipe.loss.learned_sigma)
        network.is_mixed = computes_mixed(self.optimiser, self.device)
        return network

    def batches(self, epoch: int) -> Iterator[HeatmapBatch]:
        """Each image about once, altered at random."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        for rows in self.mix.rows(self.recipe.optimiser.batch, generator):
            yield self.draw_batch(rows, generator)

    def draw_batch(self, order: Tensor, generator: torch.Generator) -> HeatmapBatch:
        """The cases in ``order`` (B,), altered at random."""
        data, recipe = self.data, self.recipe.augmentation
        height, width = self.recipe.target.grid
        transform = sample_transform(len(order), (height, width), recipe, generator, self.device)
        padding = "border" if torch.rand((), generator=generator) < 0.5 else "zeros"
        order = order.to(self.device)
        images = transform.resample(data.images[order].float(), padding=padding)
        images = change_intensities(images, recipe, generator)
        images = add_obstructions(images, recipe, generator)
        points, masks, annotated = transform.move_points(data.points[order]), data.masks[order], data.annotated[order]
        if self.structures:
            masks = transform.resample(masks.float()) > 0.5
        mirrored = transform.is_mirrored
        points = torch.where(mirrored[:, None, None], points[:, self.mirrored_rows], points)
        absent, weights = (
            None if of is None else self._mirrored(of[order], mirrored) for of in (data.absent, data.weights)
        )
        if self.structures:
            masks = torch.where(mirrored[:, None, None, None], masks[:, self.mirrored_structures], masks)
            annotated = torch.where(mirrored[:, None], annotated[:, self.mirrored_structures], annotated)
        last = torch.tensor([width - 0.5, height - 0.5], device=points.device)
        on_image = ((points >= -0.5) & (points <= last)).all(dim=2)
        present = torch.where(points.isfinite().all(dim=2), on_image.float(), torch.nan)
        if absent is not None:
            present = torch.where(absent, 0.0, present)
        seen = torch.where(on_image[..., None], points, torch.nan)
        return HeatmapBatch(images, seen, present, masks.float(), annotated, weights)

    def _mirrored(self, of_landmarks: Tensor, is_mirrored: Tensor) -> Tensor:
        """What is known of landmarks (B, N), with the sides exchanged in images that are mirrored (B,)."""
        return torch.where(is_mirrored[:, None], of_landmarks[:, self.mirrored_rows], of_landmarks)

    def loss(self, network: nn.Module, batch: HeatmapBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms; their weights stay the same all along."""
        assert isinstance(network, HeatmapNetwork)
        recipe, output = self.recipe.loss, network(batch.images)
        points = heat_pixels(batch.points, network.stride)
        loss, terms = heat_loss(output.heat, points, batch.present, network.sigma, recipe, batch.weights)
        if not self.structures:
            return loss, terms
        assert output.mask_logits is not None
        masks = joint_mask_loss(
            output.mask_logits, batch.masks, batch.annotated, self.data.positive_weight, recipe.mask
        )
        return recipe.mask_weight * masks + (1 - recipe.mask_weight) * loss, terms | {"heat": loss, "masks": masks}

    def locate(self, network: nn.Module, image: NDArray[np.float16]) -> NDArray[np.float64]:
        """Where a network sees the landmarks (N, 2) of one image (H, W), in grid pixels."""
        assert isinstance(network, HeatmapNetwork)
        with torch.inference_mode():
            output = network(torch.from_numpy(image).float()[None, None].to(self.device))
        read = read_heat(output.heat[0].cpu().numpy(), self.recipe.heat, self.recipe.sub_pixel)
        return (read.points + 0.5) * network.stride - 0.5

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Mean error (mm) of the landmarks of the cases that are held out, and the share of errors of 10 mm or more."""
        if self.held is None:
            return {}
        network.eval()
        found = np.stack([self.locate(network, image) for image in self.held.images])
        errors = np.linalg.norm(found - self.held.points, axis=2) * self.held.mm_per_pixel[:, None]
        errors = errors[np.isfinite(errors)]
        return {"tre_mm": float(errors.mean()), "from_10_mm_share": float((errors >= FAR_MM).mean())}

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""
        from training.export_heatmap import export_heatmap_bundle

        export_heatmap_bundle(folder, self, network, parent)
