"""Trains the bundled model's U-Net on cached tokens: python unet_train.py WORK --minutes 90 [--resume]

Paella's recipe (section 4.2): t in [0.001, 1], every token replaced by a random one with probability t, cross
entropy weighted 1 - (1 - mask) * (1 - t) * 0.7. See README.md for where and why this deviates from it.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from captions import caption_of
from common import CONFIG, Log
from domain import Scene, training_scene
from draw import draw, place
from model_folder import load_component, save_component
from text_train import pad_batch
from unet import ResBlock, UNet

# (height, width) in px and its share of the batches.
SIZES = [((64, 64), 0.86), ((64, 96), 0.05), ((96, 64), 0.05), ((96, 96), 0.04)]
UNCONDITIONAL = 0.08  # share of captions replaced by ""
EMA = 0.998


def build_cache(work: Path, count: int) -> dict[tuple[int, int], tuple[list[Scene], Tensor]]:
    """Scenes and their tokens (int16 [n, H, W]) for every size, drawn and encoded once."""
    path = work / "cache.pt"
    if path.exists():
        return torch.load(path, weights_only=False)
    vqgan = load_component(work, "vqgan")
    cache = {}
    for index, ((height, width), _) in enumerate(SIZES):
        rng = random.Random(100 + index)
        scenes = [training_scene(rng, CONFIG["layout_weights"]) for _ in range(count if index == 0 else count // 10)]
        parts = []
        for i in range(0, len(scenes), 250):
            images = np.stack([draw(s, place(rng, s, width, height), width, height) for s in scenes[i : i + 250]])
            with torch.inference_mode():
                parts.append(vqgan.encode(torch.from_numpy(images).float() / 255).to(torch.int16))
        cache[(height, width)] = (scenes, torch.cat(parts))
    torch.save(cache, path)
    return cache


def initialise(unet: UNet) -> None:
    """Start values. Residual branches start small, so that depth does not blow up the first updates."""
    blocks = 2 * sum(CONFIG["unet"]["blocks"])
    for module in unet.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        if isinstance(module, ResBlock):
            torch.nn.init.normal_(module.depthwise.weight, std=module.depthwise.weight[0].numel() ** -0.5)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name.endswith(("channelwise.4.weight", "out_proj.weight")):
                parameter.mul_(blocks**-0.5)
            elif name.endswith(".mapper.weight") and "blocks" in name:
                parameter.zero_()
    torch.nn.init.normal_(unet.in_mapper[0].weight, std=0.5)
    torch.nn.init.normal_(unet.out_mapper[1].weight, std=0.02)


class Batches:
    """Endless batches of (clean tokens, noised tokens, t, mask, text states, text bias).

    Captions are drawn for four batches at once and dealt out by length, so that little is spent on padding.
    """

    def __init__(self, work: Path, batch: int, scenes: int, seed: int):
        self.cache = build_cache(work, scenes)
        self.encoder = load_component(work, "text_encoder")
        self.batch, self.rng = batch, random.Random(seed)
        self.codes = CONFIG["unet"]["num_labels"]
        self.ready: list[tuple[list[str], Tensor]] = []

    def refill(self) -> None:
        size = self.rng.choices([s for s, _ in SIZES], [w for _, w in SIZES])[0]
        scenes, tokens = self.cache[size]
        count = max(4, round(self.batch * 64 * 64 / (size[0] * size[1])))
        pairs = []
        for i in self.rng.choices(range(len(scenes)), k=4 * count):
            pairs.append(("" if self.rng.random() < UNCONDITIONAL else caption_of(self.rng, scenes[i]).text, i))
        pairs.sort(key=lambda pair: len(pair[0]))
        for k in range(0, len(pairs), count):
            part = pairs[k : k + count]
            self.ready.append(([text for text, _ in part], tokens[[i for _, i in part]].long()))
        self.rng.shuffle(self.ready)

    def next(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        if not self.ready:
            self.refill()
        texts, clean = self.ready.pop()
        ids, bias = pad_batch(texts)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            states = self.encoder(ids, bias)
        # More of the noisy end than Paella's uniform t: there colours, shapes and places are decided.
        t = torch.rand(len(texts)) ** 0.6 * 0.999 + 0.001
        mask = torch.rand(clean.shape) < t[:, None, None]
        noised = torch.where(mask, torch.randint_like(clean, self.codes), clean)
        return clean, noised, t, mask, states.float(), bias


def rate_at(progress: float, step: int, peak: float) -> float:
    """Warm-up over 200 steps (after a resumption too), constant, then a decay to 2 % over the last 30 % of the time."""
    decay = 1.0 if progress < 0.7 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.7) / 0.3)))
    return peak * min(1.0, (step + 1) / 200) * decay


def worker(rank: int, options: argparse.Namespace) -> None:
    """One of `options.workers` processes with one thread each. They average their gradients after every step: on a
    machine that does other work too this is several times faster than threads, which wait for each other in every
    operation."""
    torch.set_num_threads(1)
    work: Path = options.work
    if options.workers > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{work.resolve()}/rendezvous", rank=rank, world_size=options.workers
        )
    torch.manual_seed(4)
    log = Log(work, "unet")
    unet = UNet(CONFIG["unet"])
    initialise(unet)
    average = UNet(CONFIG["unet"])
    average.load_state_dict(unet.state_dict())
    parameters = list(unet.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.02},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
    step, spent = 0, 0.0
    checkpoint = work / "unet.pt"
    if options.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        unet.load_state_dict(saved["unet"])
        average.load_state_dict(saved["average"])
        if "optimiser" in saved:
            optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    start = step
    seed = 1000 * step + rank
    batches = Batches(work, options.batch // options.workers, options.scenes, seed)
    torch.manual_seed(seed)
    # Every gradient is a view into one buffer, so that a single all-reduce averages them.
    flat = torch.zeros(sum(p.numel() for p in parameters))
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = part.view_as(parameter)

    def save() -> None:
        state = {"unet": unet.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(state | {"step": step, "spent": spent}, work / "unet.tmp")
        if checkpoint.exists():
            checkpoint.replace(work / "unet.previous.pt")
        (work / "unet.tmp").rename(checkpoint)
        save_component(work, "unet", average)

    skipped = 0
    sums, summed, saved_at, before = [0.0, 0.0], 0, time.time(), time.time()
    while True:
        # Rank 0's clock decides, so that all stop at the same step.
        clock = torch.tensor([spent])
        if options.workers > 1:
            dist.broadcast(clock, 0)
        progress = step / options.steps if options.steps else clock.item() / (options.minutes * 60)
        if progress >= 1:
            break
        rate = rate_at(progress, step - start, options.rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        clean, noised, t, mask, states, bias = batches.next()
        with torch.autocast("cpu", torch.bfloat16):
            logits = unet(noised, t, states, condition_bias=bias)
        losses = F.cross_entropy(
            logits.float().flatten(0, 2), clean.flatten(), reduction="none", label_smoothing=options.smoothing
        ).view(clean.shape)
        weights = 1 - (~mask).float() * (1 - t[:, None, None]) * 0.7
        loss = (losses * weights).mean()
        flat.zero_()
        loss.backward()
        if options.workers > 1:
            dist.all_reduce(flat)
            flat.div_(options.workers)
        norm = flat.norm().item()
        if not math.isfinite(norm):  # the same on every worker, as the gradient is averaged
            flat.zero_()
            skipped += 1
            assert skipped < 20, "too many steps without a finite gradient"
        flat.mul_(min(1.0, 1.0 / (norm + 1e-6)) if math.isfinite(norm) else 0.0)  # clip the gradient's norm to 1
        optimiser.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), parameters, 1 - min(EMA, step / (step + 20)))
        now = time.time()
        spent, before = spent + now - before, now
        summed += 1
        sums = [sums[0] + losses.mean().item(), sums[1] + loss.item()]
        if step % 50 == 0:
            if rank == 0:
                log.write(
                    step=step, spent=round(spent), loss=round(sums[0] / summed, 4), weighted=round(sums[1] / summed, 4),
                    rate=round(rate, 6), norm=round(norm, 3),
                )  # fmt: skip
            sums, summed = [0.0, 0.0], 0
        if rank == 0 and now - saved_at > 120:
            save()
            saved_at = now
    if rank == 0:
        save()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=90.0, help="training time, earlier runs' time included")
    parser.add_argument("--steps", type=int, default=0, help="if set, train for so many steps instead of so long")
    parser.add_argument("--batch", type=int, default=64, help="over all workers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--scenes", type=int, default=30000)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    build_cache(options.work, options.scenes)
    (options.work / "rendezvous").unlink(missing_ok=True)
    if options.workers > 1:
        mp.spawn(worker, (options,), options.workers)
    else:
        worker(0, options)


if __name__ == "__main__":
    main()
