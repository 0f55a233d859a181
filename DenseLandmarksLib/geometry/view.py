"""How a model looks at a radiograph: turned by quarter turns, then mirrored, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class View:
    """The stored image turned clockwise by ``turn_deg`` (0, 90, 180 or 270), then mirrored left to right if ``flip``.

    Sizes are (height, width), positions continuous pixels x, y with pixel centres at integers.

    Raises
    ------
    ValueError : for any other turn.
    """

    turn_deg: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.turn_deg not in (0, 90, 180, 270):
            raise ValueError(f"turn_deg must be 0, 90, 180 or 270, got {self.turn_deg}")

    @property
    def matrix(self) -> FloatArray:
        """The linear part (2, 2) of the way from stored to seen positions."""
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.turn_deg // 90]
        mirror = -1 if self.flip else 1
        return np.array([[mirror * cosine, -mirror * sine], [sine, cosine]], np.float64)

    def seen_size(self, stored_size: tuple[int, int]) -> tuple[int, int]:
        """Size as the model sees it."""
        height, width = stored_size
        return (width, height) if self.turn_deg % 180 else (height, width)

    def _centres(self, stored_size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        return tuple((np.array(size[::-1]) - 1) / 2 for size in (stored_size, self.seen_size(stored_size)))  # type: ignore[return-value]

    def to_seen(self, points_px: ArrayLike, stored_size: tuple[int, int]) -> FloatArray:
        """Positions (N, 2) as the model sees them of positions (N, 2) in the stored image."""
        stored, seen = self._centres(stored_size)
        return (np.asarray(points_px, np.float64) - stored) @ self.matrix.T + seen

    def to_stored(self, points_px: ArrayLike, stored_size: tuple[int, int]) -> FloatArray:
        """Positions (N, 2) in the stored image of positions (N, 2) as the model sees them."""
        stored, seen = self._centres(stored_size)
        return (np.asarray(points_px, np.float64) - seen) @ self.matrix + stored

    def see(self, pixels_yx: NDArray[Pixel]) -> NDArray[Pixel]:
        """Pixels (H, W) as the model sees them; a view on the array where possible."""
        turned = np.rot90(pixels_yx, -self.turn_deg // 90)
        return turned[:, ::-1] if self.flip else turned

    def restore(self, pixels_yx: NDArray[Pixel]) -> NDArray[Pixel]:
        """Pixels (H, W) of the stored image of pixels as the model sees them: undoes :meth:`see`."""
        unflipped = pixels_yx[:, ::-1] if self.flip else pixels_yx
        return np.rot90(unflipped, self.turn_deg // 90)

    def then(self, further: View) -> View:
        """The view that looks through this one first and then through ``further``."""
        matrix = further.matrix @ self.matrix
        return next(view for view in VIEWS if np.array_equal(view.matrix, matrix))

    @property
    def inverse(self) -> View:
        """The view that undoes this one."""
        return next(view for view in VIEWS if np.array_equal(view.matrix, self.matrix.T))

    def __str__(self) -> str:
        parts = [f"turned by {self.turn_deg} degrees clockwise"] if self.turn_deg else []
        parts += ["mirrored"] if self.flip else []
        return " and ".join(parts) or "as stored"


AS_STORED = View()
MIRRORED = View(flip=True)
VIEWS = tuple(View(turn, flip) for flip, turn in product((False, True), (0, 90, 180, 270)))
"""All eight."""
