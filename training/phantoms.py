"""Phantoms: synthetic chest radiographs whose masks, uv maps and landmarks are known exactly.

The mean shapes of a template are bent by one smooth random deformation; the same deformation bends an analytic
anatomy (body, spine, ribs, vessels), whose thickness in millimetres of water is summed and exposed like a film. So the
pixels follow the truth, and the truth has no annotator in it. Phantoms are for tests, for the shipped demonstration
and for pre-training. They are no evidence about patients.

Positions in millimetres are measured from the outer corner of the field of view: ``mm = (px + 0.5) * spacing_mm``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.barycentric import interpolate_at
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import FloatArray, Template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from training.phantom_anatomy import Field, Scene, attenuation, expose, thorax_of
from training.phantom_deformation import fit_inside, jitter, random_deformation

if TYPE_CHECKING:
    from DenseLandmarksLib.geometry.medical_image import MedicalImage

TRAINING_SEEDS = range(0, 900_000)
DEMO_SEEDS = range(900_000, 900_100)
"""Reserved for demonstrations and tests. Training must never draw one: see :func:`training_seed`."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic radiograph and its exact truth.

    Attributes
    ----------
    template, seed : what it was drawn from.
    pixels : (H, W) float32 in [0, 1], as a radiograph is displayed: lungs dark, bone bright.
    contours : per structure (P, 2) float64, pixel positions x, y (pixel centres at integers) in the template's order.
    masks : (S, H, W) bool, the polygons of ``contours``, in the template's order; they overlap.
    spacing_mm : edge of a pixel.
    """

    template: Template
    seed: int
    pixels: Field
    contours: dict[str, FloatArray]
    masks: NDArray[np.bool_]
    spacing_mm: float

    @property
    def landmarks_px(self) -> FloatArray:
        """Pixel positions (L, 2) of the template's named landmarks, in the order of ``template.landmark_names``."""
        return landmarks_of(self.template, self.contours)

    def uv_map(self, structure: str, margin: float = np.inf) -> Field:
        """Exact uv map (2, H, W) of one structure, continued for ``margin`` pixels around it."""
        height, width = self.pixels.shape
        return draw_uv_map(self.template.structure(structure), self.contours[structure], (height, width), margin)


def landmarks_of(template: Template, contours: dict[str, FloatArray]) -> FloatArray:
    """Positions (L, 2) of a template's named landmarks, on or inside the contours (P, 2) of one image.

    Ask with the result of :meth:`Template.with_landmark` to get the truth of a landmark that was added later.
    """
    return np.vstack(
        [
            interpolate_at(s.vertex_uv, s.triangles, s.with_centre(contours[s.name]), s.landmark_uv)
            for s in template.structures
        ]
    )


def training_seed(rng: np.random.Generator) -> int:
    """A random seed out of ``TRAINING_SEEDS``, so that no demonstration or test image is ever trained on."""
    return int(rng.integers(TRAINING_SEEDS.start, TRAINING_SEEDS.stop))


def draw_phantom(template: Template, seed: int, size: tuple[int, int] = (256, 256)) -> Phantom:
    """Draw the phantom of ``seed``: the same template, seed and size always give the same pixels.

    Parameters
    ----------
    template : whose structures are drawn. ``right_lung``, ``left_lung``, ``heart``, ``right_clavicle`` and
        ``left_clavicle`` look like what they are; any other structure becomes a soft bright region.
    seed : any non-negative integer; see ``TRAINING_SEEDS`` and ``DEMO_SEEDS``.
    size : (height, width) in pixels, with the aspect ratio of the template's field of view.
    """
    rng = np.random.default_rng(seed)
    spacing = template.field_of_view_mm[0] / size[0]
    deformation = random_deformation(template, rng)
    shapes_mm = {s.name: jitter(deformation(s.points_mm), s.name, rng) for s in template.structures}
    shrink, shift = fit_inside(np.vstack(list(shapes_mm.values())), template)
    deformation = replace(deformation, matrix=shrink * deformation.matrix, offset=shrink * deformation.offset + shift)
    contours = {name: (shrink * shape + shift) / spacing - 0.5 for name, shape in shapes_mm.items()}
    masks = np.stack([polygon_mask(contour, size) for contour in contours.values()])
    scene = Scene(size, spacing, deformation, thorax_of(template))
    water_mm = attenuation(scene, contours, dict(zip(contours, masks, strict=True)), rng)
    return Phantom(template, seed, expose(water_mm, np.asarray(masks.any(axis=0)), rng), contours, masks, spacing)


def phantom_image(phantom: Phantom) -> MedicalImage:
    """The phantom as a radiograph, 16 bits per pixel, named ``phantom-<seed>``, with its spacing given."""
    # SimpleITK takes a second to import; drawing for training never needs it.
    import SimpleITK as sitk

    from DenseLandmarksLib.geometry.image_geometry import SpacingSource
    from DenseLandmarksLib.geometry.medical_image import MedicalImage

    volume = sitk.GetImageFromArray(np.round(phantom.pixels[None] * 65535).astype(np.uint16))
    volume.SetSpacing((phantom.spacing_mm, phantom.spacing_mm, 1.0))
    return MedicalImage(volume, SpacingSource.GIVEN, f"phantom-{phantom.seed}")
