"""The model's tokens: what a 4 x 4 px piece of a picture says, and how it is numbered: python alphabet.py

A VQGAN that is left alone gives every pair of colours its own tokens for the same edge, in no order; a token model then
has to learn a figure's outline anew for every colour on every ground. Here a token names the *one* colour that matters
and its outline: (colour, shape), where the shape is the share of every pixel that the colour covers. What lies behind
is left to the decoder, which sees the neighbours. Grounds have one token for every flat colour, a gradient some.

The shapes are cluster centres of what training scenes show: alphabet.json, written by this file's main program. Writing
it anew changes what the tokens mean, and so asks for a new training of VQGAN and U-Net.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache

import numpy as np
from scipy.cluster.vq import kmeans2

from common import CONFIG, HERE
from domain import COLOURS, DOMAIN, Scene, training_scene
from draw import TEXTURE, Coverage, draw, horizon
from layout import place

PATH = HERE / "alphabet.json"
ACCENTS = list(DOMAIN["accents"])
GRADIENT_LEVELS = 16
MAIN_SHAPES, ACCENT_SHAPES = 57, 16
LEAST_MAIN, LEAST_ACCENT = 0.5, 1.5  # px of 16 below which a colour is left to the decoder

# Grounds: (background, key in domain.json or level of its gradient)
GROUNDS = [
    (name, key)
    for name, colours in DOMAIN["backgrounds"].items()
    for key in (range(GRADIENT_LEVELS) if "bottom" in colours else colours)
    if not (key == "top" and name in ("sea", "grass"))  # their sky is a day's
]
FIRST_MAIN = len(GROUNDS)
FIRST_ACCENT = FIRST_MAIN + len(COLOURS) * MAIN_SHAPES
CODES = FIRST_ACCENT + len(ACCENTS) * ACCENT_SHAPES
assert CODES <= CONFIG["vqgan"]["codebook_size"]


def factors() -> tuple[np.ndarray, np.ndarray]:
    """For every code the number of its colour and of its shape, int64. Grounds are main colours' full shape, in colours
    of their own; every accent has shapes of its own."""
    size = CONFIG["vqgan"]["codebook_size"]
    colour, shape = np.zeros(size, np.int64), np.zeros(size, np.int64)
    colour[:FIRST_MAIN] = np.arange(FIRST_MAIN)
    mains = np.arange(FIRST_ACCENT - FIRST_MAIN)
    colour[FIRST_MAIN:FIRST_ACCENT], shape[FIRST_MAIN:FIRST_ACCENT] = FIRST_MAIN + mains // MAIN_SHAPES, mains % MAIN_SHAPES
    accents = np.arange(CODES - FIRST_ACCENT)
    colour[FIRST_ACCENT:CODES] = FIRST_MAIN + len(COLOURS) + accents // ACCENT_SHAPES
    shape[FIRST_ACCENT:CODES] = MAIN_SHAPES + accents
    return colour, shape


def patches(plane: np.ndarray) -> np.ndarray:
    """[H, W] -> [H / 4, W / 4, 16]"""
    h, w = plane.shape
    return plane.reshape(h // 4, 4, w // 4, 4).transpose(0, 2, 1, 3).reshape(h // 4, w // 4, 16)


def ground_tokens(background: str, height: int, width: int) -> np.ndarray:
    """int64 [H / 4, W / 4]"""
    colours = DOMAIN["backgrounds"][background]
    rows = np.empty(height // 4, np.int64)
    if "bottom" in colours:
        levels = ((np.arange(height // 4) + 0.5) / (height // 4) * GRADIENT_LEVELS).astype(int)
        rows[:] = GROUNDS.index((background, 0)) + levels
    elif "below" in colours:
        rows[:] = GROUNDS.index(("day", "top"))
        rows[horizon(height) // 4 :] = GROUNDS.index((background, "below"))
    else:
        rows[:] = GROUNDS.index((background, "top"))
    return np.repeat(rows[:, None], width // 4, 1)


def chosen(coverage: Coverage) -> list[tuple[str, bool, np.ndarray, np.ndarray]]:
    """(fill, whether it is an accent, where it is the colour that the token names [h, w], its masks there [n, 16]).

    Accents come before objects' colours, what stands in front before what stands behind, a texture's white last."""
    planes = {fill: patches(plane) for fill, plane in coverage.items()}
    accents = [f for f in ACCENTS if f in planes]
    mains = [f for f in reversed(planes) if f in COLOURS] + [f for f in planes if f == TEXTURE]
    out = []
    free = np.ones(next(iter(planes.values())).shape[:2], bool)
    if accents:
        areas = np.stack([planes[f].sum(-1) for f in accents])
        largest = areas.argmax(0)
        for i, f in enumerate(accents):
            where = (largest == i) & (areas[i] >= LEAST_ACCENT)
            free &= ~where
            out.append((f, True, where, planes[f][where]))
    for f in mains:
        where = free & (planes[f].sum(-1) >= LEAST_MAIN)
        free &= ~where
        out.append((f, False, where, planes[f][where]))
    return out


@lru_cache(maxsize=None)
def shapes() -> dict[str, np.ndarray]:
    """Masks [n, 16] of "main" colours and of every accent; the first covers everything."""
    return {name: np.array(masks, np.float32) / 100 for name, masks in json.loads(PATH.read_text()).items()}


def nearest(masks: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres * centres).sum(1) - 2 * masks @ centres.T).argmin(1)


def tokens_of(scene: Scene, coverage: Coverage, height: int, width: int) -> np.ndarray:
    """int16 [H / 4, W / 4]"""
    out = ground_tokens(scene.background, height, width)
    for fill, is_accent, where, masks in chosen(coverage):
        if is_accent:
            out[where] = FIRST_ACCENT + ACCENTS.index(fill) * ACCENT_SHAPES + nearest(masks, shapes()[fill])
        else:
            colour = "white" if fill == TEXTURE else fill
            found = FIRST_MAIN + COLOURS.index(colour) * MAIN_SHAPES + nearest(masks, shapes()["main"])
            if colour == "white":  # a white ground's
                found[found == FIRST_MAIN + COLOURS.index(colour) * MAIN_SHAPES] = GROUNDS.index(("white", "top"))
            out[where] = found
    return out.astype(np.int16)


def _clusters(masks: np.ndarray, count: int) -> list[list[int]]:
    """`count` masks in hundredths that stand for the given ones, the full one first."""
    different, often = np.unique(np.rint(masks * 16).astype(np.uint8), axis=0, return_counts=True)
    partial = different.min(1) < 16
    weight = often[partial] ** 0.75  # rare outlines count for more than their share
    picks = np.random.default_rng(0).choice(partial.sum(), 30000, p=weight / weight.sum())
    centres, _ = kmeans2(different[partial][picks].astype(np.float64) / 16, count - 1, minit="++", seed=0, iter=50)
    order = np.lexsort(np.rint(100 * centres).T)
    return [[100] * 16, *np.rint(100 * centres[order]).astype(int).tolist()]


def main() -> None:
    rng = random.Random(9)
    masks: dict[str, list[np.ndarray]] = {}
    for i in range(10000):
        scene, side = training_scene(rng), (128, 128, 64, 192, 96)[i % 5]
        coverage: Coverage = {}
        draw(scene, place(rng, scene, side, side).placed, side, side, coverage)
        for fill, is_accent, _, found in chosen(coverage):
            masks.setdefault(fill if is_accent else "main", []).append(found)
    kinds = {"main": MAIN_SHAPES, **dict.fromkeys(ACCENTS, ACCENT_SHAPES)}
    lines = [f'  "{name}": {_clusters(np.concatenate(masks[name]), count)}' for name, count in kinds.items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
