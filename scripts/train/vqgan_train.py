"""Trains the bundled model's VQGAN: python vqgan_train.py WORK [--steps 1500,1500,2500]

L1 + L2 on pixels, codebook and commitment losses, no adversary: flat scenes come out sharp without one. Three rounds:

1. everything; codes that fall out of use are moved onto encoder outputs that fit badly;
2. everything, with the batch statistics frozen, as inference will use them;
3. the decoder alone, on tokens that no longer change.

**The encoder is local:** a token sees its own 4 x 4 px and nothing else, so that the same piece of a picture is the same
token wherever it stands. A token model then has far less to learn; the decoder, which sees neighbours, smooths.
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common import CONFIG, Log
from domain import training_scene
from draw import background, draw
from layout import place
from model_folder import load_component, save_component
from vqgan import VQGAN, VqResBlock

BATCH, CROP, RATE, COMMITMENT, REVIVE_EVERY = 64, 32, 3e-3, 0.25, 100
WHOLE = [((128, 128), 500), ((64, 64), 300), ((96, 160), 200), ((192, 192), 200)]  # (height, width) and how many


def pictures(rng: random.Random, count: int, height: int, width: int) -> np.ndarray:
    """uint8 [count, height, width, 4]: RGB and whether the pixel belongs to an object"""
    out = np.empty((count, height, width, 4), np.uint8)
    for i in range(count):
        scene = training_scene(rng)
        image = draw(rng, scene, place(rng, scene, width, height), width, height)
        plain = np.rint(background(scene.background, width, height)).astype(np.uint8)
        out[i, ..., :3], out[i, ..., 3] = image, (image != plain).any(-1)
    return out


def object_crops(rng: random.Random, count: int) -> Tensor:
    """Crops on the token grid around random object pixels, two from each picture: most of a picture is ground.
    uint8 [2 count, CROP, CROP, 4]"""
    numbers = np.random.default_rng(rng.randrange(2**32))
    crops = []
    for i in range(count):
        size = 128 if i % 4 else (64, 96, 160, 192)[i // 4 % 4]
        (picture,) = pictures(rng, 1, size, size)
        ys, xs = np.nonzero(picture[..., 3])
        for k in numbers.integers(len(ys), size=2):
            y, x = (int(np.clip(v - CROP // 2 + numbers.integers(-8, 9), 0, size - CROP)) // 4 * 4 for v in (ys[k], xs[k]))
            crops.append(picture[y : y + CROP, x : x + CROP])
    return torch.from_numpy(np.stack(crops))


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
    def __init__(self, seed: int, crops: int):
        rng = random.Random(seed)
        self.crops = object_crops(rng, crops)
        self.whole = [torch.from_numpy(pictures(rng, count, *size)) for size, count in WHOLE]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Image [B, H, W, 3] in 0..1 and its pixels' weights."""
        if step % 8 == 7:  # whole pictures, for the borders and for the ground
            source = self.whole[step // 8 % len(self.whole)]
            picture = source[torch.randint(len(source), (max(2, BATCH * CROP * CROP // source[0, ..., 0].numel()),))]
        else:
            picture = self.crops[torch.randint(len(self.crops), (BATCH,))]
        return picture[..., :3].float() / 255, pixel_weight(picture[..., 3])


def freeze_statistics(model: VQGAN) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def revive(codebook: Tensor, used: Tensor, latent: Tensor, code: Tensor) -> None:
    """Moves codes that were not used onto latents, rather where the codes fit badly than at random."""
    dead = used == 0
    if not dead.any():
        return
    flat = latent.reshape(-1, latent.shape[-1])
    error = (flat - code.reshape(flat.shape)).square().sum(1)
    picks = torch.multinomial(error + 1e-6, int(dead.sum()), replacement=True)
    codebook[dead] = flat[picks] + 0.01 * torch.randn(len(picks), flat.shape[1])


def run_round(model: VQGAN, data: Data, log: Log, kind: int, steps: int, before: int) -> None:
    """`kind` 0, 1 or 2: see the top of this file. `before` steps were made in earlier rounds."""
    peak = (1.0, 0.6, 0.6)[kind] * RATE
    decoder = [*model.up_blocks.parameters(), *model.out_block.parameters()]
    parameters = decoder if kind == 2 else list(model.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.05)
    codebook = model.vquantizer.codebook.weight
    used = torch.zeros(codebook.shape[0])
    model.train()
    if kind > 0:
        freeze_statistics(model)
    for step in range(steps):
        image, weight = data.batch(step)
        with torch.set_grad_enabled(kind < 2), torch.autocast("cpu", torch.bfloat16):
            latent = model.encode_latent(image)
        latent = latent.float()
        if kind == 0 and step == 0:
            flat = latent.detach().reshape(-1, latent.shape[-1])
            with torch.no_grad():
                codebook.copy_(flat[torch.randint(len(flat), (codebook.shape[0],))])
        with torch.no_grad():
            indices = model.vquantizer(latent)
        code = model.vquantizer.codebook(indices)
        # Straight through: the decoder sees codes, the encoder gets the decoder's gradient.
        with torch.autocast("cpu", torch.bfloat16):
            out = model.decode_latent(code.detach() if kind == 2 else latent + (code - latent).detach())
        difference = out.float() - image
        loss = (difference.abs() * weight).mean() + 4 * (difference.square() * weight).mean()
        if kind < 2:
            loss = loss + F.mse_loss(code, latent.detach()) + COMMITMENT * F.mse_loss(latent, code.detach())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        make_local(model)
        used.scatter_add_(0, indices.flatten(), torch.ones(indices.numel()))
        if (step + 1) % REVIVE_EVERY == 0:
            l1 = round(difference.abs().mean().item(), 5)
            log.write(step=before + step + 1, round=kind + 1, l1=l1, codes=int((used > 0).sum()))
            if kind == 0 and step < steps * 7 // 10:
                revive(codebook, used, latent.detach(), code.detach())
            used.zero_()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", default="1500,1500,2500", help="of the three rounds")
    parser.add_argument("--crops", type=int, default=20000)
    options = parser.parse_args()
    rounds = [int(n) for n in options.steps.split(",")]
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    log = Log(options.work, "vqgan")
    data = Data(1, options.crops)
    model = VQGAN(CONFIG["vqgan"])
    for module in model.modules():
        if isinstance(module, VqResBlock):
            with torch.no_grad():
                module.gammas[2] = module.gammas[5] = 0.5  # at 0 the blocks would start without a gradient
    make_local(model)
    done = 0  # a round is saved when it ends, so that a later start goes on with the next one
    for kind, steps in enumerate(rounds):
        saved = options.work / f"vqgan.round{kind + 1}"
        if saved.exists():
            model = load_component(saved, "vqgan")
        else:
            run_round(model, data, log, kind, steps, done)
            save_component(saved, "vqgan", model)
        done += steps
    save_component(options.work, "vqgan", model.eval())


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
