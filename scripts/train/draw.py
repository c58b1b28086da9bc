"""Draws scenes as anti-aliased RGB images in NumPy, from the geometry of domain.json."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from domain import DOMAIN, Scene
from layout import GRID, Placed

_OVERSAMPLE = 4
RIM = 4.0  # px; width of an outline, and of what stripes leave at the edge
RIM_OF_DOTS = 2.5


def _polygon(points: list[list[float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Even-odd rule."""
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]):
        crosses = (ay > y) != (by > y)
        if ay != by:
            inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return inside


def _layer(layer: dict, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if "polygon" in layer:
        inside = _polygon(layer["polygon"], x, y)
    elif "circle" in layer:
        cx, cy, r = layer["circle"]
        inside = (x - cx) ** 2 + (y - cy) ** 2 <= r * r
    else:
        cx, cy, rx, ry = layer["ellipse"]
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    if "minus" in layer:
        cx, cy, r = layer["minus"]
        inside &= (x - cx) ** 2 + (y - cy) ** 2 > r * r
    return inside


def _eroded(mask: np.ndarray, px: float) -> np.ndarray:
    """Points of the oversampled mask that are further than `px` from its edge."""
    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > px * _OVERSAMPLE


@lru_cache(maxsize=None)
def layers(figure: str, variant: int, mirrored: bool, texture: str, half: int) -> list[tuple[str, np.ndarray]]:
    """(fill, share of every pixel that it covers [2 half, 2 half, 1] in 0..1), from back to front.

    Fills are "main", "white" (textures) or an accent's name.
    """
    steps = (np.arange(2 * half * _OVERSAMPLE) + 0.5) / _OVERSAMPLE - half
    y, x = np.meshgrid(steps / half, (-steps if mirrored else steps) / half, indexing="ij")
    masks = [(layer["fill"], _layer(layer, x, y)) for layer in DOMAIN["figures"][figure]["variants"][variant]]
    merged: list[tuple[str, np.ndarray]] = []
    for fill, mask in masks:  # neighbours of one colour must not show a seam
        if merged and merged[-1][0] == fill:
            merged[-1] = (fill, merged[-1][1] | mask)
        else:
            merged.append((fill, mask))
    if texture != "plain":
        (_, mask), = merged
        py, px = np.meshgrid(steps, steps, indexing="ij")
        if texture == "outlined":
            merged = [("main", mask & ~_eroded(mask, RIM))]
        elif texture == "striped":
            merged.append(("white", _eroded(mask, RIM) & (np.floor(py / 4) % 2 == 0)))
        else:
            u, v = (px % 8) - 4, (py % 8) - 4
            merged.append(("white", _eroded(mask, RIM_OF_DOTS) & (u * u + v * v <= 2.8**2)))
    n = 2 * half
    return [(f, m.reshape(n, _OVERSAMPLE, n, _OVERSAMPLE).mean((1, 3))[..., None].astype(np.float32)) for f, m in merged]


def background(name: str, width: int, height: int) -> np.ndarray:
    """float32 [height, width, 3] in 0..255"""
    colours = {k: np.array(v, np.float32) for k, v in DOMAIN["backgrounds"][name].items()}
    image = np.empty((height, width, 3), np.float32)
    image[:] = colours["top"]
    if "below" in colours:
        image[horizon(height) :] = colours["below"]
    if "bottom" in colours:
        share = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None, None]
        image += share * (colours["bottom"] - colours["top"])
    return image


def horizon(height: int) -> int:
    """Row where the sea or the meadow begins."""
    return GRID * round(DOMAIN["horizon"] * height / GRID)


TEXTURE = "texture"  # the white of stripes and dots
Coverage = dict[str, np.ndarray]  # fill -> share of every pixel that it covers in the end, float32 [height, width]


def draw(
    scene: Scene, placed: list[Placed], width: int, height: int, coverage: Coverage | None = None
) -> np.ndarray:
    """The scene as uint8 [height, width, 3]. `coverage` takes what every fill covers, from back to front: colours' and
    accents' names, and TEXTURE."""
    image = background(scene.background, width, height)
    for p in placed:
        figure = DOMAIN["figures"][p.thing.figure]
        variant = p.variant % len(figure["variants"])
        mirrored = p.mirrored and figure.get("mirrored", False)
        part = image[p.y - p.half : p.y + p.half, p.x - p.half : p.x + p.half]
        for fill, share in layers(p.thing.figure, variant, mirrored, p.thing.texture, p.half):
            rgb = (255, 255, 255) if fill == "white" else DOMAIN["accents"].get(fill) if fill != "main" else None
            colour = np.array(rgb or DOMAIN["colours"][p.thing.colour], np.float32)
            part += share * (colour - part)
            if coverage is not None:
                name = {"main": p.thing.colour, "white": TEXTURE}.get(fill, fill)
                coverage.setdefault(name, np.zeros((height, width), np.float32))
                for other, plane in coverage.items():
                    under = plane[p.y - p.half : p.y + p.half, p.x - p.half : p.x + p.half]
                    under += share[..., 0] * ((other == name) - under)
    return np.rint(image).astype(np.uint8)
