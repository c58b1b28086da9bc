"""Training scenes and their tokens (alphabet.py), drawn once: python cache.py WORK [--scenes 60000]"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alphabet import tokens_of
from common import HERE
from domain import Scene, training_scene
from draw import draw
from layout import place

# (height, width) in px; its share of the batches; scenes as a share of the default size's.
SIZES = [
    ((128, 128), 0.2, 1.0), ((64, 64), 0.09, 0.4), ((160, 96), 0.06, 0.3), ((96, 160), 0.06, 0.3),
    ((192, 192), 0.55, 0.7), ((96, 96), 0.04, 0.15),
]  # fmt: skip


class Pictures(NamedTuple):
    scenes: list[Scene]
    tokens: Tensor  # int16 [n, H / 4, W / 4]
    choices: Tensor  # int8 [n, len(layout.CHOICES), 2]: which one, out of how many


Cache = dict[tuple[int, int], Pictures]
_PART = 500


def _key(count: int) -> str:
    """Whatever decides about the contents: the code and data that draw, the tokens, the number."""
    digest = hashlib.sha256(str(count).encode())
    for name in ("domain.json", "domain.py", "layout.py", "draw.py", "alphabet.py", "alphabet.json", "cache.py"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def _part(job: tuple[int, int, int]) -> Pictures:
    """_PART scenes of one size, from a seed of their own."""
    seed, height, width = job
    rng = random.Random(seed)
    scenes, tokens, choices = [], [], []
    for _ in range(_PART):
        scene, coverage = training_scene(rng), {}
        arrangement = place(rng, scene, width, height)
        draw(scene, arrangement.placed, width, height, coverage)
        scenes.append(scene)
        tokens.append(tokens_of(scene, coverage, height, width))
        choices.append(arrangement.choices)
    return Pictures(scenes, torch.from_numpy(np.stack(tokens)), torch.tensor(choices, dtype=torch.int8))


def load_cache(work: Path, count: int) -> Cache:
    """Pictures of every size, from the file or made now."""
    path = work / f"cache-{_key(count)}.pt"
    if path.exists():
        return {size: Pictures(*parts) for size, parts in torch.load(path, weights_only=False).items()}
    jobs = [
        (1000 * index + part, height, width)
        for index, ((height, width), _, share) in enumerate(SIZES)
        for part in range(max(1, round(share * count / _PART)))
    ]
    parts: dict[tuple[int, int], list[Pictures]] = {size: [] for size, _, _ in SIZES}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for (_, height, width), made in zip(jobs, pool.imap(_part, jobs)):
            parts[(height, width)].append(Pictures(made.scenes, made.tokens.clone(), made.choices.clone()))
    cache = {
        size: Pictures(
            [scene for part in some for scene in part.scenes],
            torch.cat([part.tokens for part in some]),
            torch.cat([part.choices for part in some]),
        )
        for size, some in parts.items()
    }
    # Plain tuples: run as a program, this module has another name than the one under which others load the file.
    torch.save({size: tuple(pictures) for size, pictures in cache.items()}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
    return cache


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--scenes", type=int, default=60000)
    options = parser.parse_args()
    for size, pictures in load_cache(options.work, options.scenes).items():
        print(size, len(pictures.scenes))
