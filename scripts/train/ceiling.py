"""What the VQGAN alone lets through: python ceiling.py MODEL OUT [--width 128] [--height 128] [--count 400]

Draws scenes as captions ask for them, held out or not, and writes each three times into OUT, with lists of what the
pictures must show: as drawn (drawn.json), decoded from the drawing program's tokens (tokens.json), which no token model can
do better than, and decoded from the encoder's tokens (encoded.json). MODEL is a model folder or a training's folder.
`npx tsx scripts/evaluate/analyse.ts --raw OUT/tokens.json --output OUT/tokens.judged.json` judges them.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imsave
from torch import Tensor

from alphabet import tokens_of
from domain import LAYOUT_NAMES, WEIGHTS, random_scene
from draw import draw
from heldout import entry
from layout import place
from model_folder import load_component


def save(path: Path, image: Tensor) -> None:
    """`image`: [H, W, 3] in 0..1"""
    imsave(path, (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--count", type=int, default=400)
    options = parser.parse_args()
    vqgan = load_component(options.model, "vqgan").eval()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(77)
    lists: dict[str, list[dict]] = {"drawn": [], "tokens": [], "encoded": []}
    for i in range(options.count):
        scene, coverage = random_scene(rng, rng.choices(LAYOUT_NAMES, [WEIGHTS[name] for name in LAYOUT_NAMES])[0]), {}
        wanted = entry(rng, scene, plain=True, unseen=False, part="")
        picture = draw(scene, place(rng, scene, options.width, options.height).placed, options.width, options.height, coverage)
        image = torch.from_numpy(picture).float()[None] / 255
        tokens = torch.from_numpy(tokens_of(scene, coverage, options.height, options.width).astype(np.int64))[None]
        with torch.inference_mode():
            pictures = {
                "drawn": image,
                "tokens": vqgan.decode_indices(tokens),
                "encoded": vqgan.decode_indices(vqgan.encode(image)),
            }
        for kind, (made,) in pictures.items():
            name = f"{i:04d}.{kind}.png"
            save(options.out / name, made)
            lists[kind].append({**wanted, "file": name})
    for kind, rows in lists.items():
        (options.out / f"{kind}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
