"""Places of the image whose traces are kept: a patch around the middle, places along a long stimulus."""

from __future__ import annotations

import numpy as np

# Offsets from the middle along a long stimulus, pixels: dense in the middle, where correlations are strong.
OFFSETS = tuple(sorted({*range(-7, 8), *range(-15, -8, 2), *range(9, 16, 2)}))


def patch(size: int, radius: int) -> np.ndarray:
    """Return the places up to `radius` pixels from the middle of an image, row by row: ((2 radius + 1)², 2)."""
    around = size // 2 + np.arange(-radius, radius + 1)
    return np.stack(np.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)


def along(angle: float, size: int) -> np.ndarray:
    """Return the places (row, column) along a long stimulus through the middle of an image.

    The stimulus of an angle is long at a right angle to its carrier, in the direction (-sin, cos) of (row, column),
    rounded to a multiple of 45°.

    Args:
        angle: of the stimulus, radian.
        size: side of the image, pixels.

    Returns:
        (sites, 2) int, as many on one side of the middle as on the other.
    """
    octant = round(angle / (np.pi / 4)) % 8
    direction = np.rint([-np.sin(octant * np.pi / 4), np.cos(octant * np.pi / 4)]).astype(int)
    farthest = min(size // 2, size - 1 - size // 2)
    offsets = np.array([offset for offset in OFFSETS if abs(offset) <= farthest])
    return size // 2 + offsets[:, None] * direction


def in_layer(sites: np.ndarray, image: tuple[int, int], layer: tuple[int, int]) -> np.ndarray:
    """Return sites of the image in a layer of another size: floor(place × layer size / image size)."""
    return (sites * np.asarray(layer) // np.asarray(image)).astype(np.int16)
