"""Draws scenes as flat, anti-aliased RGB images in NumPy.

Centres snap to the 4 px grid of the VQGAN's tokens, so that the same token patterns come back again and again.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np

from domain import DOMAIN, Scene

GRID = DOMAIN["grid_px"]
_OVERSAMPLE = 4


@lru_cache(maxsize=None)
def coverage(shape: str, half: float) -> np.ndarray:
    """Share of every pixel that the shape covers, [2n, 2n] in 0..1, centred, n = ceil(half)."""
    n = int(np.ceil(half))
    steps = (np.arange(2 * n * _OVERSAMPLE) + 0.5) / _OVERSAMPLE - n
    y, x = np.meshgrid(steps, steps, indexing="ij")
    if shape == "circle":
        inside = x * x + y * y <= half * half
    elif shape == "square":
        inside = np.maximum(abs(x), abs(y)) <= half
    elif shape == "triangle":
        inside = (abs(y) <= half) & (2 * abs(x) <= y + half)
    else:
        arm = DOMAIN["cross_arm"] * half
        inside = (np.minimum(abs(x), abs(y)) <= arm) & (np.maximum(abs(x), abs(y)) <= half)
    return inside.reshape(2 * n, _OVERSAMPLE, 2 * n, _OVERSAMPLE).mean((1, 3)).astype(np.float32)


def half_size(size: str, width: int, height: int) -> float:
    """Half the bounding box's side in px."""
    return DOMAIN["sizes"][size] * min(width, height)


def place(rng: random.Random, scene: Scene, width: int, height: int) -> list[tuple[int, int]]:
    """Centres (x, y) in px: evenly spread along the layout's axis, each jittered by at most 1/16 of the shorter side."""
    count = len(scene.things)
    along = {1: [1 / 2], 2: [1 / 4, 3 / 4], 3: [3 / 16, 1 / 2, 13 / 16]}[count]
    step = min(width, height) / 16
    # Along the axis only small and medium pairs have room to move.
    roomy = count == 1 or (count == 2 and all(t.size != "large" for t in scene.things))
    row = scene.layout.startswith("row")
    centres = []
    for k in range(count):
        across_shift = rng.choice([-1, 0, 0, 1]) * step
        along_shift = rng.choice([-1, 0, 0, 1]) * step if roomy else 0.0
        if row:
            x, y = width * along[k] + along_shift, height / 2 + across_shift
        else:
            x, y = width / 2 + across_shift, height * along[k] + along_shift
        centres.append((round(x / GRID) * GRID, round(y / GRID) * GRID))
    return centres


def draw(scene: Scene, centres: list[tuple[int, int]], width: int, height: int) -> np.ndarray:
    """The scene as uint8 [height, width, 3]."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = DOMAIN["backgrounds"][scene.background]
    for thing, (x, y) in zip(scene.things, centres):
        mask = coverage(thing.shape, half_size(thing.size, width, height))
        n = mask.shape[0] // 2
        part = image[y - n : y + n, x - n : x + n]
        part += mask[:, :, None] * (np.array(DOMAIN["colours"][thing.colour], np.float32) - part)
    return np.rint(image).astype(np.uint8)
