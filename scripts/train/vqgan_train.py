"""Trains the bundled model's VQGAN: python vqgan_train.py WORK [--steps 5000,1500,6000,4000,3000,6000,8000,6000,4000,5000,8000]

The tokens are given (alphabet.py), so that both halves learn with a teacher: the encoder by cross entropy to name the
token of a piece of a picture, the decoder by L1 + L2 to draw the picture from tokens, without an adversary: flat scenes
come out sharp without one. Eleven rounds:

1. everything, codebook included;
2. the same with frozen batch statistics, as inference will use them; from here on the decoder sees the encoder's tokens
   as well, mistakes included;
3. the encoder alone, on the different 4 x 4 px pieces of many pictures, as drawn and as the decoder draws them;
4. the decoder alone;
5. the same on new pictures;
6. and once more, with fewer of the encoder's mistakes: what the U-Net draws has none;
7. and again;
8. and again, where the decoder is weakest: large pictures, and what is of many small parts;
9. and again, at a lower rate;
10. and again, where it is weakest then: small pictures, and small things whose parts are hardly wider than a token;
11. and again, at a higher rate.

**The encoder is local:** a token sees its own 4 x 4 px and nothing else, so that the same piece of a picture is the same
token wherever it stands. The decoder, which sees neighbours, finds what lies behind, and smooths.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alphabet import (
    ACCENT_SHAPES, ACCENTS, CODES, FIRST_ACCENT, FIRST_MAIN, GRADIENT_LEVELS, GROUNDS, MAIN_SHAPES, shapes, tokens_of,
)  # fmt: skip
from common import CONFIG, Log
from domain import COLOURS, COUNT_OF_LAYOUT, DOMAIN, Scene, training_scene
from draw import background, draw
from layout import place
from model_folder import load_component, save_component
from vqgan import VQGAN, VqResBlock

BATCH, CROP, RATE, LOG_EVERY = 16, 64, 3e-3, 100
WHOLE = [((128, 128), 500), ((64, 64), 300), ((96, 160), 200), ((192, 192), 200)]  # (height, width) and how many
Pictures = tuple[Tensor, Tensor]  # uint8 [n, H, W, 4]: RGB and whether the pixel is an object's; tokens int64 [n, H / 4, W / 4]


def of_many_parts(scene: Scene) -> bool:
    return any(thing.figure in ("boat", "house", "car", "fish") for thing in scene.things)


def of_small_things(scene: Scene) -> bool:
    crowded = COUNT_OF_LAYOUT[scene.layout] > 2
    return any(
        thing.figure in ("cross", "moon", "triangle", "cloud", "sun", "car") and (crowded or thing.size == "small")
        for thing in scene.things
    )


class Round(NamedTuple):
    peak: float  # rate
    mistaken: float  # share of pictures that the decoder draws from the encoder's tokens
    sides: tuple[int, ...] = (64, 128, 64, 128, 96, 128, 192, 128)  # of the pictures that crops come from, in turn
    hard: Callable[[Scene], bool] | None = None  # what at least half of the pictures must be


# The third has a function of its own.
ROUNDS = [
    Round(RATE, 0.0),
    Round(0.4 * RATE, 0.5),
    Round(RATE, 0.0),
    Round(0.5 * RATE, 0.5),
    Round(0.4 * RATE, 0.5),
    Round(0.5 * RATE, 0.3),
    Round(0.5 * RATE, 0.3),
    Round(0.5 * RATE, 0.3, (192, 128, 192, 64, 192, 128, 128, 96), of_many_parts),
    Round(0.3 * RATE, 0.3, (192, 128, 192, 64, 192, 128, 128, 96), of_many_parts),
    Round(0.3 * RATE, 0.3, (64, 64, 192, 64, 96, 64, 128, 192), of_small_things),
    Round(0.5 * RATE, 0.3, (64, 64, 192, 64, 64, 128, 64, 192), of_small_things),
]


def some_scene(rng: random.Random, hard: Callable[[Scene], bool] | None) -> Scene:
    """`hard`: what it must be in half of the cases."""
    must = hard is not None and rng.random() < 0.5
    while True:
        scene = training_scene(rng)
        if not must or hard(scene):
            return scene


def pictures(
    rng: random.Random, count: int, height: int, width: int, hard: Callable[[Scene], bool] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `Pictures`, of scenes drawn by `some_scene`."""
    out, tokens = np.empty((count, height, width, 4), np.uint8), np.empty((count, height // 4, width // 4), np.int64)
    for i in range(count):
        scene, coverage = some_scene(rng, hard), {}
        image = draw(scene, place(rng, scene, width, height).placed, width, height, coverage)
        plain = np.rint(background(scene.background, width, height)).astype(np.uint8)
        out[i, ..., :3], out[i, ..., 3] = image, (image != plain).any(-1)
        tokens[i] = tokens_of(scene, coverage, height, width)
    return out, tokens


def object_crops(rng: random.Random, count: int, wanted: Round) -> Pictures:
    """Crops of CROP px on the token grid around random object pixels, two from each picture: most of a picture is
    ground."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    crops, cropped = [], []
    for i in range(count):
        side = wanted.sides[i % len(wanted.sides)]
        (picture,), (tokens,) = pictures(rng, 1, side, side, wanted.hard)
        ys, xs = np.nonzero(picture[..., 3])
        for k in numbers.integers(len(ys), size=2):
            y, x = (int(np.clip(v - CROP // 2 + numbers.integers(-16, 17), 0, side - CROP)) // 4 for v in (ys[k], xs[k]))
            crops.append(picture[4 * y : 4 * y + CROP, 4 * x : 4 * x + CROP])
            cropped.append(tokens[y : y + CROP // 4, x : x + CROP // 4])
    return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(cropped))


def start_of_codebook() -> Tensor:
    """[codes, c_latent]: colour in the first three channels, the shape's principal components in the others."""
    size, width = CONFIG["vqgan"]["codebook_size"], CONFIG["vqgan"]["c_latent"]
    rgb, masks = np.full((size, 3), 0.5), np.ones((size, 16))
    for k, (name, key) in enumerate(GROUNDS):
        colours = {c: np.array(v) / 255 for c, v in DOMAIN["backgrounds"][name].items()}
        if isinstance(key, int):
            share = (key + 0.5) / GRADIENT_LEVELS
            rgb[k] = (1 - share) * colours["top"] + share * colours["bottom"]
        else:
            rgb[k] = colours[key]
    for first, names, count in ((FIRST_MAIN, COLOURS, MAIN_SHAPES), (FIRST_ACCENT, ACCENTS, ACCENT_SHAPES)):
        for i, name in enumerate(names):
            codes = slice(first + i * count, first + (i + 1) * count)
            is_accent = first == FIRST_ACCENT
            rgb[codes] = np.array(DOMAIN["accents" if is_accent else "colours"][name]) / 255
            masks[codes] = shapes()[name if is_accent else "main"]
    centred = masks[:CODES] - masks[:CODES].mean(0)
    components = np.linalg.svd(centred, full_matrices=False)[2][: width - 3]
    shape = (masks - masks[:CODES].mean(0)) @ components.T
    table = np.concatenate([3 * (rgb - 0.5), 2 * shape], 1)
    return torch.from_numpy(table + 0.05 * np.random.default_rng(0).standard_normal(table.shape)).float()


def pixel_weight(on_object: Tensor) -> Tensor:
    """[B, H, W, 1]: 4 on the objects and 2 px around them, 0.5 elsewhere; small objects would count little otherwise."""
    near = F.max_pool2d(on_object[:, None].float(), 5, stride=1, padding=2)
    return 0.5 + 3.5 * near[:, 0, :, :, None]


@torch.no_grad()
def make_local(model: VQGAN) -> None:
    """Zeroes every weight of the encoder that would let a token see beyond its own 4 x 4 px."""
    for module in model.down_blocks:
        if isinstance(module, VqResBlock):
            weight = module.depthwise[1].weight
            weight.mul_(torch.zeros(3, 3).index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(1.0)))
        elif isinstance(module, torch.nn.Conv2d):
            weight = module.weight  # 4 x 4, stride 2, padding 1: the two middle taps are the token's own
            weight[:, :, (0, 3), :] = 0
            weight[:, :, :, (0, 3)] = 0


class Data:
    def __init__(self, seed: int, crops: int, wanted: Round):
        rng = random.Random(seed)
        self.crops = object_crops(rng, crops, wanted)
        self.whole: list[Pictures] = []
        for size, count in WHOLE:
            picture, tokens = pictures(rng, count, *size, wanted.hard)
            self.whole.append((torch.from_numpy(picture), torch.from_numpy(tokens)))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image [B, H, W, 3] in 0..1, its pixels' weights [B, H, W, 1] and its tokens."""
        source, count = self.crops, BATCH
        if step % 4 == 3:  # whole pictures, for the borders and for the ground
            source = self.whole[step // 4 % len(self.whole)]
            count = max(2, BATCH * CROP * CROP // source[0][0, ..., 0].numel())
        picked = torch.randint(len(source[0]), (count,))
        picture, tokens = source[0][picked], source[1][picked]
        return picture[..., :3].float() / 255, pixel_weight(picture[..., 3]), tokens


def freeze_statistics(model: VQGAN) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def naming_loss(latent: Tensor, codebook: Tensor, tokens: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of the given tokens where a code is the likelier the nearer it is, and the latents' distance from
    their codes. `weight` is the pixels'."""
    flat, wanted = latent.flatten(0, 2), tokens.flatten()
    per_token = F.avg_pool2d(weight.permute(0, 3, 1, 2), 4).flatten()
    distances = (flat * flat).sum(1, keepdim=True) + (codebook * codebook).sum(1) - 2 * flat @ codebook.T
    entropy = F.cross_entropy(-8 * distances, wanted, reduction="none")
    distance = (flat - codebook[wanted]).square().mean(1)
    return ((entropy + distance) * per_token).mean()


class Descent:
    """AdamW, or `muon` for the matrices, and the schedule; what makes the encoder see more than a token's own pixels is
    zeroed after every step."""

    def __init__(self, model: VQGAN, parameters: list[torch.nn.Parameter], peak: float, steps: int, muon: bool):
        self.model, self.parameters = model, parameters
        matrices = [p for p in parameters if p.ndim == 2 and muon]
        others = [p for p in parameters if p.ndim != 2 or not muon]
        self.optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, lr=peak, betas=(0.9, 0.98), weight_decay=0.0)]
        if matrices:
            self.optimisers.append(torch.optim.Muon(matrices, lr=peak, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        self.schedules = [
            torch.optim.lr_scheduler.OneCycleLR(o, peak, total_steps=steps, pct_start=0.05, cycle_momentum=not muon)
            for o in self.optimisers
        ]

    def step(self, loss: Tensor) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser, schedule in zip(self.optimisers, self.schedules):
            optimiser.step()
            schedule.step()
        make_local(self.model)


def run_round(model: VQGAN, data: Data, log: Log, kind: int, steps: int, before: int) -> None:
    """`kind` is the number of the round less one (but 2): see the top of this file. `before` steps were made earlier."""
    decoder = [*model.up_blocks.parameters(), *model.out_block.parameters()]
    parameters = decoder if kind > 2 else list(model.parameters())
    descent = Descent(model, parameters, ROUNDS[kind].peak, steps, muon=kind > 4)
    codebook = model.vquantizer.codebook.weight
    model.train()
    if kind > 0:
        freeze_statistics(model)
    sums = torch.zeros(3)
    for step in range(steps):
        image, weight, tokens = data.batch(step)
        with torch.set_grad_enabled(kind < 2), torch.autocast("cpu", torch.bfloat16):
            latent = model.encode_latent(image).float()
        with torch.no_grad():
            found = model.vquantizer(latent)
        own = torch.rand(len(tokens), 1, 1) < ROUNDS[kind].mistaken
        codes = codebook[torch.where(own, found, tokens)]
        with torch.autocast("cpu", torch.bfloat16):
            out = model.decode_latent(codes.detach() if kind > 2 else codes)
        difference = out.float() - image
        drawing = (difference.abs() * weight).mean() + 4 * (difference.square() * weight).mean()
        loss = drawing if kind > 2 else drawing + 0.05 * naming_loss(latent, codebook, tokens, weight)
        descent.step(loss)
        objects = F.max_pool2d(weight.permute(0, 3, 1, 2), 4)[:, 0] > 1
        named = (found == tokens)[objects].float().mean()
        sums += torch.stack([difference.detach().abs().mean(), drawing.detach(), named])
        if (step + 1) % LOG_EVERY == 0:
            l1, loss_now, right = (sums / LOG_EVERY).tolist()
            log.write(step=before + step + 1, round=kind + 1, l1=round(l1, 5), loss=round(loss_now, 5), named=round(right, 4))
            sums.zero_()


@torch.no_grad()
def different_pieces(model: VQGAN, rng: random.Random, scenes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pieces of pictures uint8 [n, 4, 4, 3], all different, their tokens int64 [n] (the commoner one where two are
    possible), and weights [n] that favour the common ones a little."""
    found: list[np.ndarray] = []
    for k in range(scenes // 16):
        side = 128 if k % 2 else (64, 96, 160, 192)[k // 2 % 4]
        picture, tokens = pictures(rng, 16, side, side)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = model.decode_indices(torch.from_numpy(tokens)).float().clamp(0, 1)
        for image in (picture[..., :3], (decoded * 255).round().to(torch.uint8).numpy()):
            pieces = image.reshape(16, side // 4, 4, side // 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48)
            rows = np.concatenate([pieces, tokens.astype("<u2").reshape(-1, 1).view(np.uint8)], 1)
            on_object = tokens.ravel() >= FIRST_MAIN
            found += [rows[on_object], rows[~on_object][::16]]
    different, counts = np.unique(np.ascontiguousarray(np.concatenate(found)).view("V50").ravel(), return_counts=True)
    rows = different.view(np.uint8).reshape(-1, 50)
    order = np.argsort(-counts, kind="stable")
    _, first = np.unique(np.ascontiguousarray(rows[order, :48]).view("V48").ravel(), return_index=True)
    rows, counts = rows[order][first], counts[order][first]
    tokens = np.ascontiguousarray(rows[:, 48:]).view("<u2").ravel().astype(np.int64)
    pieces = torch.from_numpy(rows[:, :48].reshape(-1, 4, 4, 3).copy())
    return pieces, torch.from_numpy(tokens), torch.from_numpy(counts.astype(np.float32)).sqrt()


def run_encoder_round(model: VQGAN, log: Log, steps: int, before: int) -> None:
    pieces, tokens, weights = different_pieces(model, random.Random(6), 2000)
    encoder = [*model.in_block.parameters(), *model.down_blocks.parameters()]
    descent = Descent(model, encoder, RATE, steps, muon=False)
    model.train()
    freeze_statistics(model)
    codebook, right = model.vquantizer.codebook.weight.detach(), torch.zeros(())
    for step in range(steps):
        picked = torch.multinomial(weights, 4096, replacement=True)
        noise = torch.randn(4096, 4, 4, 3) * (0.02 * torch.rand(4096, 1, 1, 1))
        image, wanted = pieces[picked].float() / 255 + noise, tokens[picked][:, None, None]
        latent = model.encode_latent(image)
        descent.step(naming_loss(latent, codebook, wanted, torch.ones_like(image[..., :1])))
        with torch.no_grad():
            right += (model.vquantizer(latent) == wanted).float().mean()
        if (step + 1) % LOG_EVERY == 0:
            log.write(step=before + step + 1, round=3, named=round(right.item() / LOG_EVERY, 4), pieces=len(pieces))
            right.zero_()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", default="5000,1500,6000,4000,3000,6000,8000,6000,4000,5000,8000", help="of the eleven rounds")
    parser.add_argument("--crops", type=int, default=6000)
    options = parser.parse_args()
    rounds = [int(n) for n in options.steps.split(",")]
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    log = Log(options.work, "vqgan")
    data: Data | None = None
    model = VQGAN(CONFIG["vqgan"])
    for module in model.modules():
        if isinstance(module, VqResBlock):
            with torch.no_grad():
                module.gammas[2] = module.gammas[5] = 0.5  # at 0 the blocks would start without a gradient
    with torch.no_grad():
        model.vquantizer.codebook.weight.copy_(start_of_codebook())
    make_local(model)
    done = 0  # a round is saved when it ends, so that a later start goes on with the next one
    for kind, steps in enumerate(rounds):
        saved = options.work / f"vqgan.round{kind + 1}"
        if saved.exists():
            model = load_component(saved, "vqgan")
        else:
            if kind == 2:
                run_encoder_round(model, log, steps, done)
            else:
                if data is None or kind > 3:
                    data = Data(kind + 1, options.crops, ROUNDS[kind])  # from the fifth round on, pictures of their own
                run_round(model, data, log, kind, steps, done)
            save_component(saved, "vqgan", model)
        done += steps
    save_component(options.work, "vqgan", model.eval())


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
