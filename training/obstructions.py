"""What lies over a radiograph and is no anatomy: collimated borders and burnt-in letters, for augmentation."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training.run_recipe import AugmentationRecipe

# What technologists and workstations write on films; no text of a patient.
WORDS = (
    "L",
    "R",
    "PA",
    "AP",
    "ERECT",
    "SUPINE",
    "PORTABLE",
    "LEFT",
    "RIGHT",
    "W/C",
    "10:42",
    "2 of 3",
    "kV 120 mAs 2.5",
)
# The widest collimated border on each side and the largest letters, as shares of the image.
BORDER = 0.14
LETTER_HEIGHT = (0.02, 0.08)


def collimate(image: Tensor, generator: torch.Generator) -> Tensor:
    """An image (H, W) whose outside of a slightly turned rectangle has one grey value, as behind a collimator."""
    height, width = image.shape
    left, right, top, bottom = (torch.rand(4, generator=generator) * BORDER).tolist()
    slope = (torch.rand((), generator=generator).item() - 0.5) * 0.1
    y = torch.linspace(0, 1, height, device=image.device)[:, None]
    x = torch.linspace(0, 1, width, device=image.device)[None]
    u, v = x + slope * (y - 0.5), y - slope * (x - 0.5)
    outside = (u < left) | (u > 1 - right) | (v < top) | (v > 1 - bottom)
    # Black and white as they come, or anything between where a border was cropped and padded by software.
    where = torch.rand((), generator=generator).item()
    low, high = image.min(), image.max()
    shade = low if where < 0.45 else high if where < 0.7 else low + (high - low) * torch.rand((), generator=generator)
    return torch.where(outside, shade, image)


def burn_in(image: Tensor, generator: torch.Generator) -> Tensor:
    """An image (H, W) with one to four short words in its brightest or darkest grey."""
    height, width = image.shape
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    low, high = LETTER_HEIGHT
    for _ in range(int(torch.randint(1, 5, (), generator=generator))):
        word = WORDS[int(torch.randint(len(WORDS), (), generator=generator))]
        x, y, size = torch.rand(3, generator=generator).tolist()
        font = ImageFont.load_default(size=height * (low + (high - low) * size))
        draw.text((x * 0.95 * width, y * 0.95 * height), word, fill=255, font=font)
    weight = torch.from_numpy(np.asarray(canvas, np.float32) / 255).to(image.device)
    ink = image.max() if torch.rand((), generator=generator) < 0.8 else image.min()
    return image + weight * (ink - image)


def add_obstructions(images: Tensor, recipe: AugmentationRecipe, generator: torch.Generator) -> Tensor:
    """Collimation and letters on the recipe's shares of images (B, 1, H, W); those are z-normalised anew, as on reading."""
    if recipe.collimation == 0 and recipe.letters == 0:
        return images
    images = images.clone()
    chance = torch.rand((len(images), 2), generator=generator)
    for image, (collimated, lettered) in zip(images, chance.tolist(), strict=True):
        if collimated < recipe.collimation:
            image[0] = collimate(image[0], generator)
        if lettered < recipe.letters:
            image[0] = burn_in(image[0], generator)
        if collimated < recipe.collimation or lettered < recipe.letters:
            image[0] = (image[0] - image[0].mean()) / image[0].std().clamp_min(1e-6)
    return images
