"""Trains the bundled model's VQGAN: python vqgan_train.py WORK [steps] [resume]

L1 + L2 on pixels, codebook and commitment losses, no adversary: flat scenes come out sharp without one. Codes that
fall out of use are moved onto encoder outputs that fit badly. `resume` continues with a saved VQGAN: the batch
statistics stay frozen and the rate starts at three quarters of its peak.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common import CONFIG, Log
from domain import training_scene
from draw import draw, place
from model_folder import load_component, save_component
from vqgan import VQGAN, VqResBlock

BATCH, RATE, COMMITMENT, REVIVE_EVERY = 64, 3e-3, 0.25, 100


def pool(count: int, size: int, seed: int) -> Tensor:
    """uint8 [count, size, size, 3]"""
    rng = random.Random(seed)
    scenes = (training_scene(rng, CONFIG["layout_weights"]) for _ in range(count))
    return torch.from_numpy(np.stack([draw(s, place(rng, s, size, size), size, size) for s in scenes]))


def object_crops(images: Tensor, seed: int) -> Tensor:
    """Two 32 px crops an image, on the token grid and around a random object pixel: most of a picture is plain ground,
    and crops show the objects four times as often for the same work. uint8 [2 n, 32, 32, 3]"""
    rng = np.random.default_rng(seed)
    pictures, crops = images.numpy(), []
    for picture in pictures:
        ys, xs = np.nonzero((picture != picture[0, 0]).any(-1))
        for k in rng.integers(len(ys), size=2):
            y, x = (int(np.clip(v[k] - 16 + rng.integers(-8, 9), 0, n - 32)) // 4 * 4 for v, n in zip((ys, xs), picture.shape))
            crops.append(picture[y : y + 32, x : x + 32])
    return torch.from_numpy(np.stack(crops))


def pixel_weight(image: Tensor) -> Tensor:
    """[B, H, W, 1]: 4 on the objects and 2 px around them, 0.5 elsewhere; small objects would count little otherwise."""
    object_pixels = (image - image[:, :1, :1]).abs().amax(-1) > 0.02
    near = F.max_pool2d(object_pixels[:, None].float(), 5, stride=1, padding=2)
    return 0.5 + 3.5 * near[:, 0, :, :, None]


def main(work: Path, steps: int, resume: bool) -> None:
    torch.manual_seed(1)
    work.mkdir(parents=True, exist_ok=True)
    log = Log(work, "vqgan")
    pools = {64: pool(12000, 64, 1), 96: pool(1500, 96, 2)}
    crops = torch.cat([object_crops(pools[64], 3), object_crops(pools[96], 4)[:1500]])
    model = VQGAN(CONFIG["vqgan"])
    for module in model.modules():
        if isinstance(module, VqResBlock):
            with torch.no_grad():
                module.gammas[2] = module.gammas[5] = 0.5  # at 0 the blocks would start without a gradient
    if resume:
        model = load_component(work, "vqgan")
    codebook = model.vquantizer.codebook.weight
    peak = 0.75 * RATE if resume else RATE
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.05)
    used = torch.zeros(codebook.shape[0])
    model.train(not resume)
    for step in range(steps):
        if step == steps * 3 // 4:
            # Freeze the batch statistics, so that the last quarter trains what inference will see.
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        if step % 8 == 7:  # whole pictures, for the borders and for plain ground
            source = pools[96 if step % 16 == 15 else 64]
            image = source[torch.randint(len(source), (16,))].float() / 255
        else:
            image = crops[torch.randint(len(crops), (BATCH,))].float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            latent = model.encode_latent(image)
        latent = latent.float()
        if step == 0 and not resume:
            flat = latent.detach().reshape(-1, latent.shape[-1])
            with torch.no_grad():
                codebook.copy_(flat[torch.randint(len(flat), (codebook.shape[0],))])
        with torch.no_grad():
            indices = model.vquantizer(latent)
        code = model.vquantizer.codebook(indices)
        # Straight through: the decoder sees codes, the encoder gets the decoder's gradient.
        with torch.autocast("cpu", torch.bfloat16):
            out = model.decode_latent(latent + (code - latent).detach())
        difference = out.float() - image
        weight = pixel_weight(image)
        pixel = (difference.abs() * weight).mean() + 4 * (difference.square() * weight).mean()
        loss = pixel + F.mse_loss(code, latent.detach()) + COMMITMENT * F.mse_loss(latent, code.detach())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        used.scatter_add_(0, indices.flatten(), torch.ones(indices.numel()))
        if (step + 1) % REVIVE_EVERY == 0:
            dead = used == 0
            log.write(step=step + 1, l1=round(difference.abs().mean().item(), 5), codes=int((~dead).sum()))
            if step < steps * 6 // 10 and dead.any():
                flat = latent.detach().reshape(-1, latent.shape[-1])
                # Rather where the codes fit badly than at random.
                error = (flat - code.detach().reshape(flat.shape)).square().sum(1)
                picks = torch.multinomial(error + 1e-6, int(dead.sum()), replacement=True)
                with torch.no_grad():
                    codebook[dead] = flat[picks] + 0.01 * torch.randn(len(picks), flat.shape[1])
            used.zero_()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            save_component(work, "vqgan", model)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3000, "resume" in sys.argv)
