"""Training scenes and their tokens, drawn and encoded once: python cache.py WORK [--scenes 60000]

The VQGAN's third round changes its decoder only, so the tokens are final after the second.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import HERE
from domain import Scene, training_scene
from draw import draw
from layout import place
from model_folder import load_component
from vqgan import VQGAN

# (height, width) in px; its share of the batches; scenes as a share of the default size's.
SIZES = [
    ((128, 128), 0.76, 1.0), ((64, 64), 0.07, 0.2), ((160, 96), 0.05, 0.15), ((96, 160), 0.05, 0.15),
    ((192, 192), 0.04, 0.08), ((96, 96), 0.03, 0.1),
]  # fmt: skip
Cache = dict[tuple[int, int], tuple[list[Scene], Tensor]]
_PART = 500


def _key(work: Path, count: int) -> str:
    """Whatever decides about the contents: the code and data that draw, the encoder, the number."""
    digest = hashlib.sha256(str(count).encode())
    for name in ("domain.json", "domain.py", "layout.py", "draw.py", "cache.py"):
        digest.update((HERE / name).read_bytes())
    digest.update((work / "vqgan.round2" / "vqgan" / "model.safetensors").read_bytes())
    return digest.hexdigest()[:16]


def encode(vqgan: VQGAN, images: np.ndarray) -> Tensor:
    """Tokens int16 [n, H / 4, W / 4] of uint8 [n, H, W, 3]. A token depends on its own 4 x 4 px alone (vqgan_train.py),
    and few such patches are different: only those are encoded."""
    n, height, width, _ = images.shape
    patches = images.reshape(n, height // 4, 4, width // 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48)
    different, index = np.unique(np.ascontiguousarray(patches).view("V48").ravel(), return_inverse=True)
    pixels = torch.from_numpy(different.view(np.uint8).reshape(-1, 4, 4, 3).copy())
    with torch.inference_mode():
        tokens = torch.cat([vqgan.encode(part.float() / 255).flatten() for part in pixels.split(4096)])
    return torch.from_numpy(tokens.to(torch.int16).numpy()[index].reshape(n, height // 4, width // 4))


def _part(job: tuple[Path, int, int, int]) -> tuple[list[Scene], Tensor]:
    """_PART scenes of one size, from a seed of their own."""
    work, seed, height, width = job
    torch.set_num_threads(1)
    vqgan = load_component(work / "vqgan.round2", "vqgan")
    rng = random.Random(seed)
    scenes = [training_scene(rng) for _ in range(_PART)]
    images = np.stack([draw(rng, s, place(rng, s, width, height), width, height) for s in scenes])
    return scenes, encode(vqgan, images)


def load_cache(work: Path, count: int) -> Cache:
    """(scenes, tokens int16 [n, H / 4, W / 4]) for every size, from the file or made now."""
    path = work / f"cache-{_key(work, count)}.pt"
    if path.exists():
        return torch.load(path, weights_only=False)
    jobs = [
        (work, 1000 * index + part, height, width)
        for index, ((height, width), _, share) in enumerate(SIZES)
        for part in range(max(1, round(share * count / _PART)))
    ]
    parts: dict[tuple[int, int], list[tuple[list[Scene], Tensor]]] = {size: [] for size, _, _ in SIZES}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for (_, _, height, width), made in zip(jobs, pool.imap(_part, jobs)):
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
