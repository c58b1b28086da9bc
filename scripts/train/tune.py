"""Tries sampler settings on captions of TRAINING combinations, so that the held-out ones stay untouched:
python tune.py MODEL [--count 60] [--settings FILE.json]

Settings are [guidance start, end, temperature start, end, renoise steps]. Prints one line a setting.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch

from check import generate, wholly_right
from domain import training_scene
from heldout import entry
from model_folder import load_component
from sampler import SamplerOptions

SETTINGS = [
    [3, 3, 0.7, 0.2, 7], [2, 2, 0.7, 0.1, 7], [2, 2, 0.4, 0.05, 7], [1.5, 1.5, 0.7, 0.1, 7], [4, 2, 0.6, 0.05, 7],
    [2, 2, 1.0, 0.1, 7], [2, 2, 0.7, 0.05, 6], [2, 2, 0.7, 0.05, 5], [3, 1, 0.7, 0.05, 6],
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--settings", type=json.loads, default=SETTINGS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = tuple(load_component(options.model, n) for n in ("text_encoder", "unet", "vqgan"))
    rng = random.Random(77)
    entries = [entry(rng, training_scene(rng, [0.17, 0.42, 0.41, 0, 0])) for _ in range(options.count)]
    for g0, g1, t0, t1, renoise in options.settings:
        sampler = SamplerOptions(
            steps=options.steps, renoise_steps=renoise, temperature=(t0, t1), guidance=(g0, g1)
        )  # fmt: skip
        images = generate(models, entries, (64, 64), sampler, 1000)
        right = sum(wholly_right(image, e) for image, e in zip(images, entries)) / len(entries)
        line = {"guidance": [g0, g1], "temperature": [t0, t1], "renoise_steps": renoise, "right": round(right, 3)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
