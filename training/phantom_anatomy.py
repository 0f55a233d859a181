"""What phantoms show: an analytic thorax, summed as millimetres of water along every ray and exposed like a film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import expit

from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import FloatArray, Template
from training.phantom_deformation import Deformation

Field = NDArray[np.float32]

LUNGS = ("right_lung", "left_lung")
CLAVICLES = ("right_clavicle", "left_clavicle")


@dataclass(frozen=True)
class Thorax:
    """Frame of the analytic anatomy: x is -1..1 across the lungs, y is 0 at their apex and 1 at their lowest point."""

    origin_mm: FloatArray
    unit_mm: FloatArray


def thorax_of(template: Template) -> Thorax:
    height, width = template.field_of_view_mm
    lungs = [s.points_mm for s in template.structures if s.name in LUNGS]
    usual = np.array([[0.1 * width, 0.08 * height], [0.9 * width, 0.85 * height]])
    box = np.vstack(lungs) if len(lungs) == 2 else usual
    low, high = box.min(axis=0), box.max(axis=0)
    return Thorax(np.array([(low[0] + high[0]) / 2, low[1]]), np.array([(high[0] - low[0]) / 2, high[1] - low[1]]))


@dataclass(frozen=True)
class Scene:
    """Draws shapes given in the frame of the thorax into one image; thicknesses are in mm."""

    size: tuple[int, int]
    spacing_mm: float
    deformation: Deformation
    thorax: Thorax

    def place(self, points: ArrayLike) -> FloatArray:
        """Pixel positions (..., 2) of points of the thorax (..., 2)."""
        points_mm = np.asarray(points, np.float64) * self.thorax.unit_mm + self.thorax.origin_mm
        return self.deformation(points_mm.reshape(-1, 2)).reshape(points_mm.shape) / self.spacing_mm - 0.5

    def grid(self) -> tuple[Field, Field]:
        """Coordinates x, y (H, W) of every pixel in the frame of the thorax."""
        height, width = self.size
        knots = 24  # the deformation is smooth: inverting it at every pixel would cost more than all the rest
        rows, columns = np.meshgrid(np.linspace(0, height - 1, knots), np.linspace(0, width - 1, knots), indexing="ij")
        points_mm = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * self.spacing_mm
        points = (self.deformation.back(points_mm) - self.thorax.origin_mm) / self.thorax.unit_mm
        coarse = points.T.astype(np.float32).reshape(2, knots, knots)
        x, y = (np.asarray(zoom(c, (height / knots, width / knots), order=1)) for c in coarse)
        return x, y

    def soft(self, image: ArrayLike, sigma_mm: float) -> Field:
        """An image (H, W) blurred by ``sigma_mm``."""
        sigma_px = sigma_mm / self.spacing_mm
        return np.asarray(gaussian_filter(np.asarray(image, np.float32), sigma_px, truncate=2.5, mode="nearest"))

    def dome(self, mask: NDArray[np.bool_], sigma_mm: float) -> Field:
        """Thickness 0..1 of a rounded body: 0 at the border of its mask, 1 well inside."""
        return np.sqrt(np.clip(2 * self.soft(mask, sigma_mm) - 1, 0, 1)) * mask

    def blob(self, centre: ArrayLike, radii: ArrayLike) -> NDArray[np.bool_]:
        """Mask of an ellipse of the thorax."""
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return polygon_mask(self.place(np.asarray(centre) + circle * np.asarray(radii)), self.size)

    def texture(self, length_mm: float, rng: np.random.Generator) -> Field:
        """Smooth noise of unit deviation whose features are ``length_mm`` wide."""
        coarse = [max(4, int(n * self.spacing_mm / length_mm)) for n in self.size]
        noise = rng.standard_normal(coarse, dtype=np.float32)
        return np.asarray(zoom(noise, [n / c for n, c in zip(self.size, coarse, strict=True)], order=1, mode="nearest"))

    def tubes(self, paths_px: FloatArray, radii_mm: ArrayLike) -> Field:
        """Squared half chord, mm^2, of X-rays through K round tubes along paths (K, N, 2); 0 beside them.

        ``radii_mm`` goes with the paths' points: anything that broadcasts to (K, N). Where tubes meet the deepest
        counts. A ray runs ``2 * sqrt(result)`` mm inside the tube.
        """
        start = paths_px[:, :-1].reshape(-1, 2)
        step = np.diff(paths_px, axis=1).reshape(-1, 2)
        radii = np.broadcast_to(np.asarray(radii_mm, np.float64) / self.spacing_mm, paths_px.shape[:2])
        first, growth = radii[:, :-1].ravel(), np.diff(radii, axis=1).ravel()
        reach = np.maximum(first, first + growth)[:, None]
        limit = np.array(self.size[::-1])
        low = np.clip(np.ceil(np.minimum(start, start + step) - reach), 0, limit).astype(np.intp)
        high = np.clip(np.floor(np.maximum(start, start + step) + reach) + 1, 0, limit).astype(np.intp)
        extent = np.maximum(high - low, 0)
        # Every (segment, pixel of its bounding box) pair in one flat list, as in the uv maps.
        count = extent[:, 0] * extent[:, 1]
        owner = np.repeat(np.arange(len(start)), count)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        x = low[owner, 0] + within % extent[owner, 0]
        y = low[owner, 1] + within // extent[owner, 0]
        dx, dy = x - start[owner, 0], y - start[owner, 1]
        length2 = np.maximum((step**2).sum(axis=1), 1e-9)
        along = np.clip((dx * step[owner, 0] + dy * step[owner, 1]) / length2[owner], 0, 1)
        distance2 = (dx - along * step[owner, 0]) ** 2 + (dy - along * step[owner, 1]) ** 2
        chord2 = (first[owner] + along * growth[owner]) ** 2 - distance2
        deepest = np.zeros(self.size, np.float32)
        np.maximum.at(deepest, (y, x), chord2.astype(np.float32))
        return deepest * np.float32(self.spacing_mm**2)


def _bone(half_chord2: Field, cortex_mm2: float) -> Field:
    """Water equivalent, mm, of a tubular bone: a dense cortex around marrow, so its edges are the brightest."""
    outer, inner = np.sqrt(half_chord2), np.sqrt(np.maximum(half_chord2 - cortex_mm2, 0))
    return outer - 0.82 * inner


def _wall(y: FloatArray) -> FloatArray:
    """Half width of the rib cage at height ``y``, in the frame of the thorax."""
    return np.asarray((1 - 0.6 * np.exp(-np.maximum(y, 0) / 0.13)) * (0.89 + 0.12 * y) + 0.01)


def _ribs(side: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Posterior (10, 18, 2) and anterior (8, 18, 2) halves of one side's ribs, in the frame of the thorax."""
    rib, t = np.arange(10.0)[:, None], np.linspace(0, 1, 18)
    top = -0.035 + rng.uniform(0.086, 0.1) * rib + rng.normal(0, 0.004, rib.shape)
    lateral = top + rng.uniform(0.13, 0.22) * (0.8 + 0.1 * rib)
    edge = _wall(lateral)
    # Rises a little from the spine, runs level, then turns down along the chest wall.
    x = 0.1 + (edge - 0.1) * np.sin(t * np.pi / 2) ** 0.9
    y = top - 0.025 * np.sin(np.pi * t) + (lateral - top) * t**1.6
    posterior = np.stack([side * x, y], axis=-1)
    x = edge + (0.3 + 0.035 * rib - edge) * (1 - np.cos(t * np.pi / 2))
    y = lateral + (0.1 + 0.012 * rib) * np.sin(t * np.pi / 2)
    return posterior, np.stack([side * x, y], axis=-1)[:8]


def _vessels(side: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Vessels that branch out from one hilum: segments (K, 2, 2) in the frame of the thorax, radii (K, 2) in mm."""
    trunks = 9
    position = np.array([side * 0.24, 0.43]) + rng.normal(0, 0.025, (trunks, 2))
    angle = np.linspace(-85, 95, trunks) + rng.normal(0, 8, trunks)
    radius = rng.uniform(1.6, 3.2, trunks)
    segments, radii = [], []
    while len(radius):
        angle = angle + rng.normal(0, 13, len(angle))
        heading = np.stack([side * 1.4 * np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], axis=1)
        tip = position + rng.uniform(0.035, 0.07, (len(angle), 1)) * heading
        segments.append(np.stack([position, tip], axis=1))
        radii.append(np.stack([radius, 0.9 * radius], axis=1))
        fork = rng.uniform(18, 42, len(angle)) * rng.choice([-1, 1], len(angle))
        forks = rng.uniform(size=len(angle)) < 0.75
        position = np.vstack([tip, tip[forks]])
        angle = np.concatenate([angle - 0.25 * fork, (angle + fork)[forks]])
        thinner = radius * rng.uniform(0.55, 0.8, len(radius))
        radius = np.concatenate([radius * rng.uniform(0.8, 0.93, len(radius)), thinner[forks]])
        visible = radius > 0.6
        position, angle, radius = position[visible], angle[visible], radius[visible]
    return np.concatenate(segments), np.concatenate(radii)


def attenuation(
    scene: Scene, contours: dict[str, FloatArray], masks: dict[str, NDArray[np.bool_]], rng: np.random.Generator
) -> Field:
    """Water-equivalent thickness (H, W) in mm along every ray: the sum of all tissue, minus the air."""
    x, y = scene.grid()
    across = np.abs(x)
    air = np.zeros(scene.size, np.float32)
    for name in LUNGS:
        if name in masks:
            air = np.maximum(air, 0.28 * masks[name] + 0.72 * scene.dome(masks[name], 15))
    outside = air == 0
    air = scene.soft(air, 1)
    water = _trunk(scene, across, y, air, outside, rng) + _spine_and_airway(scene, across, y, rng)
    for side in (-1, 1):
        water += _shoulder(scene, side, rng) + _ribs_of(scene, side, across, rng)
    water += _lung_texture(scene, across, y, air, outside, rng)
    for name, mask in masks.items():
        if name == "heart":
            water += 22 * scene.dome(mask, 9)
        elif name in CLAVICLES:
            water += _clavicle(scene, contours[name], mask, rng)
        elif name not in LUNGS:
            water += 25 * scene.dome(mask, 5)
    return np.asarray(np.maximum(water, 0), np.float32)


def _trunk(
    scene: Scene, across: Field, y: Field, air: Field, outside: NDArray[np.bool_], rng: np.random.Generator
) -> Field:
    """Chest wall, abdomen, mediastinum, the muscles at the apices, breasts, and the stomach's bubble of air."""
    stout = rng.uniform(0, 1)
    girth = rng.uniform(1.1, 1.24) + 0.06 * stout
    top, axilla = rng.uniform(-0.1, 0.02), rng.uniform(0.4, 0.6)
    outline = [(0.36, -0.6), (0.37, -0.2), (0.47, top - 0.1), (0.8, top - 0.02), (1.15, top + 0.05), (1.4, 0.15)]
    outline += [(1.75, 0.9), (1.5, 1.0), (girth + 0.04, axilla), (girth, axilla + 0.12)]
    outline += [(girth - 0.02, 0.9), (girth - 0.03, 1.5)]
    half = np.array(outline)
    body = polygon_mask(scene.place(np.vstack([half, half[::-1] * [-1, 1]])), scene.size)
    beside = expit((across - 1.12) / 0.1)
    above = expit(-(y + 0.02) / 0.04)
    # Thinner toward the arms and the neck than through the chest, so the rib cage is a dense rim around the lungs.
    chest = (118 + 34 * stout) * scene.dome(body, 18) * (1 - 0.35 * beside) * (1 - 0.3 * above)
    abdomen = (38 + 30 * stout) * expit((y - 0.86) / 0.035) * outside
    mediastinum = 16 * np.exp(-((across / 0.22) ** 4)) * (1 - 0.7 * air)
    girdle = 16 * np.exp(-(((y - 0.02) / 0.13) ** 2))
    uneven = 4 * scene.texture(60, rng)
    water = chest * (1 - air * rng.uniform(0.46, 0.6)) + (abdomen + mediastinum + girdle + uneven) * body
    height, size = rng.uniform(0.62, 0.78), rng.uniform(0.5, 1) * rng.choice([0.3, 1.0])
    for side in (-1, 1):
        breast = scene.dome(scene.blob((side * 0.62, height), (0.42, 0.2)) & body, 10)
        water += 26 * size * breast * np.clip((y - height) / 0.2 + 0.6, 0, 1)  # only the lower fold has an edge
    radii = rng.uniform(0.05, 0.14) * np.array([1.3, 0.6])
    bubble = scene.blob((rng.uniform(0.4, 0.6), rng.uniform(0.97, 1.03)), radii) & outside
    return np.asarray(water - rng.uniform(10, 50) * scene.soft(bubble, 2.5))


def _spine_and_airway(scene: Scene, across: Field, y: Field, rng: np.random.Generator) -> Field:
    """Vertebrae with gaps and a pair of pedicles each, the knob of the aorta, and the dark trachea with its bronchi."""
    level = rng.uniform(0.08, 0.09)
    phase = (y + rng.uniform(0, level)) / level
    gaps = np.exp(-((((phase % 1) - 0.5) / 0.16) ** 2))
    column = np.exp(-((across / (0.115 + 0.03 * np.clip(y, 0, 1))) ** 6))
    pedicles = np.exp(-(((across - 0.085) / 0.022) ** 2) - (((phase + 0.2) % 1 - 0.5) / 0.17) ** 2)
    knob = scene.blob((rng.uniform(0.1, 0.16), rng.uniform(0.22, 0.27)), (0.11, 0.07))
    x = rng.normal(0.01, 0.015)
    carina = (x + 0.02, 0.28)
    airway = [[(x, -0.5), (x, 0.0)], [(x, 0.0), carina], [carina, (x - 0.13, 0.38)], [carina, (x + 0.17, 0.4)]]
    lumen = scene.soft(scene.tubes(scene.place(airway), [[8.5], [8.5], [6.0], [5.5]]), 1.2)
    return np.asarray((16 - 6 * gaps) * column + 6 * pedicles + 14 * scene.dome(knob, 5) - 3.5 * np.sqrt(lumen))


def _shoulder(scene: Scene, side: int, rng: np.random.Generator) -> Field:
    """Shoulder blade with its dense medial border, and the head of the humerus."""
    blade = np.array([(1.3, 0.02), (0.95, 0.06), (0.86, 0.18), (0.92, 0.55), (1.12, 0.28), (1.3, 0.2)])
    path = scene.place(blade * [side, 1] + rng.normal(0, 0.015, 2))
    head = scene.blob((side * 1.27, 0.12), (0.14, 0.085))
    border = np.sqrt(scene.tubes(path[None, :4], 2.0))
    return np.asarray(9 * scene.soft(polygon_mask(path, scene.size), 1.5) + 2.2 * border + 22 * scene.dome(head, 5))


def _ribs_of(scene: Scene, side: int, across: Field, rng: np.random.Generator) -> Field:
    """The ribs of one side: narrow behind, wider and fainter in front, where they end in cartilage."""
    posterior, anterior = _ribs(side, rng)
    radii = np.linspace(4.4, 6.0, len(posterior))[:, None] * rng.uniform(0.9, 1.15)
    behind = _bone(scene.tubes(scene.place(posterior), radii), 6)
    front = _bone(scene.tubes(scene.place(anterior), np.linspace(4.0, 6.0, anterior.shape[1])), 5)
    return np.asarray(5.2 * behind + 3.6 * np.clip((across - 0.25) / 0.35, 0.15, 1) * front)


def _lung_texture(
    scene: Scene, across: Field, y: Field, air: Field, outside: NDArray[np.bool_], rng: np.random.Generator
) -> Field:
    """Vessels, hila and the fine texture of the lungs; nothing outside them."""
    trees = [_vessels(side, rng) for side in (-1, 1)]
    segments, radii = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    vessels = np.sqrt(scene.tubes(scene.place(segments), radii)) * np.clip(2 * scene.soft(~outside, 2), 0, 1)
    hila = np.exp(-(((across - 0.25) / 0.14) ** 2) - ((y - 0.44) / 0.13) ** 2)
    knots = np.maximum(15 + 9 * scene.texture(7, rng), 0)
    return np.asarray(5.5 * vessels + air * (knots * hila + 2 * scene.texture(9, rng) + 2 * scene.texture(3, rng)))


def _clavicle(scene: Scene, contour: FloatArray, mask: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """A bright band with denser borders; beyond the annotated part it runs on to the shoulder, as bones do."""
    # The lateral end is where the contour is farthest from the midline.
    order = np.abs(contour[:, 0] - scene.place([0, 0])[0]).argsort()
    end, before = contour[order[-4:]].mean(axis=0), contour[order[-10:-4]].mean(axis=0)
    along = (end - before) / np.linalg.norm(end - before)
    normal = np.array([-along[1], along[0]])
    half_width_mm = float(np.clip(np.abs((contour[order[-10:]] - end) @ normal).max() * scene.spacing_mm, 3, 7))
    t = np.linspace(0, 1, 8)[:, None]
    beyond = end + (along * t + np.array([0, 0.1]) * t**2) * 70 / scene.spacing_mm
    rails = beyond + np.array([-1, 1])[:, None, None] * normal * half_width_mm / scene.spacing_mm
    # Where annotation stops the bone does not: a rim across its end would give the place away.
    rows, columns = np.mgrid[: scene.size[0], : scene.size[1]]
    inward_mm = -((columns - end[0]) * along[0] + (rows - end[1]) * along[1]) * scene.spacing_mm
    rim = np.sqrt(scene.tubes(np.vstack([contour, contour[:1]])[None], 1.5)) * np.clip(inward_mm / 8, 0, 1)
    rim = np.maximum(rim, np.sqrt(scene.tubes(rails, 1.5)) * ~mask)
    inside = mask | (scene.tubes(beyond[None], half_width_mm) > 0)
    return np.asarray(rng.uniform(0.8, 1.3) * (11 * inside + 8 * rim), np.float32)


def expose(water_mm: Field, kept: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Displayed grey values (H, W) in [0, 1] of a thickness map in mm of water.

    Quantum noise grows with what is absorbed; the film's response to the logarithm of the exposure is a sigmoid.
    ``kept`` (H, W) are pixels that no border or label may hide.
    """
    height, width = water_mm.shape
    quanta = rng.uniform(0.5, 1.6) * np.exp(np.minimum(water_mm, 250) * 0.004)
    tilt = rng.normal(0, 5, 2)
    slope = tilt[0] * np.linspace(-1, 1, height)[:, None] + tilt[1] * np.linspace(-1, 1, width)
    thickness = gaussian_filter(water_mm, rng.uniform(0.55, 0.85)) + slope
    thickness = thickness + quanta * gaussian_filter(rng.standard_normal(water_mm.shape, dtype=np.float32), 0.5)
    film = expit((thickness - rng.uniform(35, 65)) / rng.uniform(40, 58))
    grey = film ** rng.uniform(0.85, 1.3) + rng.uniform(0.001, 0.004) * rng.standard_normal(film.shape)
    if rng.uniform() < 0.3:  # the collimator's edge
        rows, columns = np.mgrid[:height, :width]
        border = np.minimum(columns, width - 1 - columns) < rng.uniform(0, 0.03) * width
        border |= rows > height * rng.uniform(0.965, 1)
        grey = np.where(border & ~kept, rng.uniform(0.9, 1), grey)
    if rng.uniform() < 0.4:  # blanked labels in the upper corners
        label = np.zeros(water_mm.shape, bool)
        tall, wide = int(rng.uniform(0.03, 0.09) * height), int(rng.uniform(0.08, 0.17) * width)
        label[:tall, :wide] = label[:tall, -wide:] = True
        grey = np.where(label & ~kept, 0, grey)
    return np.asarray(np.clip(grey, 0, 1), np.float32)
