"""Training scenes and their tokens (alphabet.py), drawn once: python cache.py WORK [--scenes 60000]"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
from pathlib import Path

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
    ((128, 128), 0.58, 1.0), ((64, 64), 0.09, 0.3), ((160, 96), 0.09, 0.25), ((96, 160), 0.09, 0.25),
    ((192, 192), 0.1, 0.2), ((96, 96), 0.05, 0.15),
]  # fmt: skip
Cache = dict[tuple[int, int], tuple[list[Scene], Tensor]]
_PART = 500


def _key(count: int) -> str:
    """Whatever decides about the contents: the code and data that draw, the tokens, the number."""
    digest = hashlib.sha256(str(count).encode())
    for name in ("domain.json", "domain.py", "layout.py", "draw.py", "alphabet.py", "alphabet.json", "cache.py"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def _part(job: tuple[int, int, int]) -> tuple[list[Scene], Tensor]:
    """_PART scenes of one size, from a seed of their own."""
    seed, height, width = job
    rng = random.Random(seed)
    scenes, tokens = [], []
    for _ in range(_PART):
        scene, coverage = training_scene(rng), {}
        draw(scene, place(rng, scene, width, height), width, height, coverage)
        scenes.append(scene)
        tokens.append(tokens_of(scene, coverage, height, width))
    return scenes, torch.from_numpy(np.stack(tokens))


def load_cache(work: Path, count: int) -> Cache:
    """(scenes, tokens int16 [n, H / 4, W / 4]) for every size, from the file or made now."""
    path = work / f"cache-{_key(count)}.pt"
    if path.exists():
        return torch.load(path, weights_only=False)
    jobs = [
        (1000 * index + part, height, width)
        for index, ((height, width), _, share) in enumerate(SIZES)
        for part in range(max(1, round(share * count / _PART)))
    ]
    parts: dict[tuple[int, int], list[tuple[list[Scene], Tensor]]] = {size: [] for size, _, _ in SIZES}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for (_, height, width), made in zip(jobs, pool.imap(_part, jobs)):
            parts[(height, width)].append((made[0], made[1].clone()))
    cache = {
        size: ([s for scenes, _ in some for s in scenes], torch.cat([tokens for _, tokens in some]))
        for size, some in parts.items()
    }
    torch.save(cache, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
    return cache


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--scenes", type=int, default=60000)
    options = parser.parse_args()
    for size, (scenes, _) in load_cache(options.work, options.scenes).items():
        print(size, len(scenes))
