"""A quick, rough check during training: python check.py WORK_OR_MODEL [--count 60] [--sheet FILE.png] [...]

Samples held-out captions and judges the pictures with a simple analyser (connected regions of palette colours, shapes
by overlap with rendered templates). The evaluation that counts is scripts/evaluate/, which shares no code with this.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from common import HERE, Log  # also makes scripts/reference importable
from byt5 import tokenize
from domain import BACKGROUNDS, COLOURS, DOMAIN, SHAPES
from draw import coverage
from model_folder import load_component
from sampler import Conditions, SamplerOptions, sample

_COLOURS = np.array([DOMAIN["colours"][c] for c in COLOURS], np.float32)
_BACKGROUNDS = np.array([DOMAIN["backgrounds"][b] for b in BACKGROUNDS], np.float32)


@dataclass(frozen=True)
class Found:
    shape: str
    colour: str
    size: str
    x: float
    y: float


def analyse(image: np.ndarray) -> tuple[str, list[Found]]:
    """uint8 [H, W, 3] -> (background, objects)."""
    pixels = image.astype(np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = int(np.square(np.median(border, 0) - _BACKGROUNDS).sum(1).argmin())
    away = np.sqrt(np.square(pixels - _BACKGROUNDS[ground]).sum(-1))
    to_colours = np.sqrt(np.square(pixels[:, :, None] - _COLOURS).sum(-1))  # [H, W, colours]
    nearest = to_colours.argmin(-1)
    # A pixel is an object's if it is at least half way from the background to the nearest object colour.
    solid = away > to_colours.min(-1)
    labels, count = ndimage.label(solid, np.ones((3, 3)))
    found = []
    unit = min(image.shape[:2])
    for k in range(1, count + 1):
        mask = labels == k
        if mask.sum() < unit * unit * 0.004:
            continue
        ys, xs = np.nonzero(mask)
        top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
        core = mask & (ndimage.binary_erosion(mask) if mask.sum() > 60 else mask)
        colour = int(np.bincount(nearest[core], minlength=len(COLOURS)).argmax())
        side = max(bottom - top, right - left)
        patch = mask[top:bottom, left:right].astype(np.float32)
        scores = []
        for shape in SHAPES:
            template = Image.fromarray((coverage(shape, side / 2 if side % 2 == 0 else (side + 1) / 2) * 255).astype(np.uint8))
            t = np.asarray(template.resize((patch.shape[1], patch.shape[0]), Image.BILINEAR), np.float32) / 255
            scores.append(np.minimum(t, patch).sum() / np.maximum(t, patch).sum())
        half = side / 2 / unit
        sizes = list(DOMAIN["sizes"].items())
        size = min(sizes, key=lambda item: abs(item[1] - half))[0]
        found.append(Found(SHAPES[int(np.argmax(scores))], COLOURS[colour], size, (left + right) / 2, (top + bottom) / 2))
    return BACKGROUNDS[ground], found


def fits(thing: Found, wanted: dict) -> bool:
    size_ok = "size" not in wanted or wanted["size"] == thing.size
    return thing.shape == wanted["shape"] and thing.colour == wanted["colour"] and size_ok


def relation_holds(kind: str, a: Found, b: Found) -> bool:
    return {"above": a.y < b.y, "below": a.y > b.y, "left": a.x < b.x, "right": a.x > b.x}[kind]


def wholly_right(image: np.ndarray, expected: dict) -> bool:
    background, found = analyse(image)
    wanted = expected["objects"]
    if background != expected["background"] or len(found) != len(wanted):
        return False
    return any(
        all(fits(t, w) for t, w in zip(order, wanted))
        and all(relation_holds(r["kind"], order[r["a"]], order[r["b"]]) for r in expected["relations"])
        for order in itertools.permutations(found)
    )


def generate(
    models: tuple, entries: list[dict], size: tuple[int, int], options: SamplerOptions, seed: int
) -> list[np.ndarray]:
    """One uint8 image a caption. Captions of one length share a batch, so that nothing is padded."""
    encoder, unet, vqgan = models
    images: list[np.ndarray] = [np.zeros(0)] * len(entries)
    by_length: dict[int, list[int]] = {}
    for i, e in enumerate(entries):
        by_length.setdefault(len(e["caption"]), []).append(i)
    for members in by_length.values():
        with torch.inference_mode():
            states = encoder(torch.tensor([tokenize(entries[i]["caption"]) for i in members]))
            empty = encoder(torch.tensor([tokenize("")] * len(members)))
            seeds = [seed + i for i in members]
            shape = (size[0] // 4, size[1] // 4)
            tokens, _ = sample(unet, Conditions(states), Conditions(empty), shape, seeds, options)
            out = (vqgan.decode_indices(tokens).clamp(0, 1) * 255).round().byte().numpy()
        for i, image in zip(members, out):
            images[i] = image
    return images


def sheet(images: list[np.ndarray], marks: list[bool], columns: int, path: Path) -> None:
    """A contact sheet, each picture framed green (right) or red (wrong)."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    canvas = np.full((rows * (height + 4), columns * (width + 4), 3), 255, np.uint8)
    for i, (image, right) in enumerate(zip(images, marks)):
        y, x = i // columns * (height + 4), i % columns * (width + 4)
        canvas[y : y + height + 4, x : x + width + 4] = (0, 170, 0) if right else (230, 0, 60)
        canvas[y + 2 : y + 2 + height, x + 2 : x + 2 + width] = image
    Image.fromarray(canvas).resize((canvas.shape[1] * 2, canvas.shape[0] * 2), Image.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=60, help="captions of one and two objects; a quarter more of three")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--guidance", type=float, nargs=2, default=(1.6, 1.0))
    parser.add_argument("--temperature", type=float, nargs=2, default=(0.3, 0.02))
    parser.add_argument("--renoise", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = tuple(load_component(options.model, n) for n in ("text_encoder", "unet", "vqgan"))
    entries = json.loads((HERE / "heldout.json").read_text())["captions"]
    rng = random.Random(options.seed)
    few = [e for e in entries if len(e["objects"]) < 3]
    many = [e for e in entries if len(e["objects"]) == 3]
    chosen = few if options.count >= len(few) else rng.sample(few, options.count)
    chosen = chosen + rng.sample(many, min(len(many), max(1, options.count // 4)))
    sampler = SamplerOptions(
        steps=options.steps, renoise_steps=options.renoise, temperature=tuple(options.temperature),
        guidance=tuple(options.guidance),
    )  # fmt: skip
    images = generate(models, chosen, (options.height, options.width), sampler, options.seed)
    marks = [wholly_right(image, e) for image, e in zip(images, chosen)]
    figures = {}
    for n in (1, 2, 3):
        own = [m for m, e in zip(marks, chosen) if len(e["objects"]) == n]
        figures[f"objects_{n}"] = round(sum(own) / max(1, len(own)), 3)
    few_marks = [m for m, e in zip(marks, chosen) if len(e["objects"]) < 3]
    figures["one_or_two"] = round(sum(few_marks) / len(few_marks), 3)
    print(json.dumps(figures), flush=True)
    if (options.model / "unet.pt").exists():  # a training folder: the figures belong into its curves
        step = torch.load(options.model / "unet.pt", weights_only=True)["step"]
        Log(options.model, "check").write(step=step, **figures)
    if options.sheet:
        sheet(images, marks, 15, options.sheet)
        for e, m in list(zip(chosen, marks))[:15]:
            print("right" if m else "WRONG", e["caption"])


if __name__ == "__main__":
    main()
