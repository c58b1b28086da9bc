"""Trains the bundled model's U-Net on cached tokens: python unet_train.py WORK --minutes 90 [--resume] [--start MODEL]

Paella's recipe (specification section 4.2): every token replaced by a random one with probability t, cross entropy
weighted 1 - (1 - mask) * (1 - t) * 0.7. See README.md for where and why this deviates from it.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrize import register_parametrization

from alphabet import factors
from cache import SIZES, load_cache
from captions import training_caption
from common import CONFIG, Log
from model_folder import load_component, save_component
from text_train import HIDDEN, pad_batch
from unet import ResBlock, UNet

UNCONDITIONAL = 0.06  # share of captions replaced by ""
# Unrolling: without an image embedding that goes with the picture, the noisier input that the net draws from is at most
# this noisy. Above, its draws are another picture than the one that is wanted back, and the net would learn to distrust
# what it has drawn.
UNROLL_BELOW = 0.85
UNCOUPLED = 0.07  # share of pictures whose image embedding says nothing about them, as when a picture is edited
# What a number of the image embedding may be, as quantiles of the normal distribution, so that the numbers have the size of
# other activations. None is near k / n for n of 2 to 5: near such a border some tokens would choose the one, some the other.
QUANTILES = torch.tensor([0.1, 0.29, 0.45, 0.55, 0.71, 0.9])
NO_IMAGE = 0.05  # share of captions, beside the empty ones, without an image embedding


class Batch(NamedTuple):
    clean: Tensor  # int64 [B, H, W]
    noise: Tensor  # int64 [B, H, W]: one random picture, which takes the places that are noised
    t: Tensor  # [B]
    states: Tensor  # of the text encoder, [B, S, D]
    image: Tensor  # image embeddings [B, E]
    told: Tensor  # bool [B]: the image embedding goes with the picture, and the net sees it
    bias: Tensor  # [B, S + tokens of the image embedding], hides padding, and some image embeddings


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
            elif name.startswith("clip_image_mapper"):
                # Its tokens are normalised: without a bias they would say nothing of the embedding's length.
                parameter.normal_()


class Factored(torch.nn.Module):
    """A table with one row a code as the sum of a row for its colour, one for its shape, and one of its own (alphabet.py):
    what is learned of a shape in one colour holds in the others. Only a training's form: the model has the plain table."""

    def __init__(self, table: Tensor, std: float):
        super().__init__()
        colour, shape = (torch.from_numpy(f) for f in factors())
        self.register_buffer("of_colour", colour, persistent=False)
        self.register_buffer("of_shape", shape, persistent=False)
        self.colour, self.shape = (
            torch.nn.Parameter(std * torch.randn(int(f.max()) + 1, *table.shape[1:])) for f in (colour, shape)
        )

    def forward(self, own: Tensor) -> Tensor:
        return own + self.colour[self.of_colour] + self.shape[self.of_shape]


def factor_tables(unet: UNet, fresh: bool) -> None:
    """`fresh`: the tables as they are say nothing yet."""
    for module, std in ((unet.in_mapper[0], 0.35), (unet.out_mapper[1], 0.015)):
        if fresh:
            torch.nn.init.zeros_(module.weight)
        register_parametrization(module, "weight", Factored(module.weight, std if fresh else 0.0))


def plain(unet: UNet) -> UNet:
    """A copy with plain tables, as models have them."""
    copy = UNet(CONFIG["unet"])
    state = {k: v for k, v in unet.state_dict().items() if ".parametrizations." not in k}
    state["in_mapper.0.weight"] = unet.in_mapper[0].weight
    state["out_mapper.1.weight"] = unet.out_mapper[1].weight
    copy.load_state_dict(state)
    return copy


def image_embedding(choices: Tensor) -> tuple[Tensor, Tensor]:
    """[B, len(CHOICES)]: numbers that go with the pictures, each one of six levels. Of n things to choose from, the levels
    whose quantile falls into the k-th of n equal parts go with the k-th. At generation the seed draws the levels, whatever
    the caption says: one embedding leads to one picture, and tokens that are drawn at the same time agree on where things
    stand instead of each drawing for itself. The full model gets this from its prior's image embedding.

    Also bool [B]: whether the numbers do go with the picture."""
    which, out_of = choices.unbind(-1)
    part = (QUANTILES * out_of[..., None]).floor()
    fitting = (part == which[..., None]).float()
    coupled = torch.rand(len(choices)) >= UNCOUPLED
    fitting[~coupled] = 1.0
    level = torch.multinomial(fitting.flatten(0, 1), 1)
    return torch.special.ndtri(QUANTILES)[level].view(which.shape), coupled


class Batches:
    """Endless batches. Captions are worded anew, drawn for four batches at once and dealt out by length, so that little
    is spent on padding."""

    def __init__(self, work: Path, batch: int, scenes: int, seed: int):
        self.cache = load_cache(work, scenes)
        self.encoder = load_component(work, "text_encoder")
        self.batch, self.rng = batch, random.Random(seed)
        self.codes = CONFIG["unet"]["num_labels"]
        self.ready: list[tuple[list[str], Tensor, Tensor]] = []

    def refill(self) -> None:
        size = self.rng.choices([s for s, _, _ in SIZES], [w for _, w, _ in SIZES])[0]
        scenes, tokens, choices = self.cache[size]
        count = max(4, round(self.batch * 128 * 128 / (size[0] * size[1])))
        pairs = []
        for i in (self.rng.randrange(len(scenes)) for _ in range(4 * count)):
            pairs.append(("" if self.rng.random() < UNCONDITIONAL else training_caption(self.rng, scenes[i]).text, i))
        pairs.sort(key=lambda pair: len(pair[0]))
        for k in range(0, len(pairs), count):
            part = pairs[k : k + count]
            rows = [i for _, i in part]
            self.ready.append(([text for text, _ in part], tokens[rows].long(), choices[rows]))
        self.rng.shuffle(self.ready)

    def next(self) -> Batch:
        if not self.ready:
            self.refill()
        texts, clean, choices = self.ready.pop()
        ids, bias = pad_batch(texts)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            states = self.encoder(ids, bias)
        # More of the noisy end than Paella's uniform t: there colours, figures and places are decided.
        t = torch.rand(len(texts)) ** 0.5 * 0.999 + 0.001
        without = [text == "" or self.rng.random() < NO_IMAGE for text in texts]
        hidden = torch.tensor([[HIDDEN if yes else 0.0] * CONFIG["unet"]["clip_seq_len"] for yes in without])
        bias = torch.cat([bias, hidden], 1)
        noise = torch.randint_like(clean, self.codes)
        image, coupled = image_embedding(choices)
        return Batch(clean, noise, t, states.float(), image, coupled & ~torch.tensor(without), bias)


def noised(batch: Batch, share: float, unet: UNet) -> tuple[Tensor, Tensor]:
    """The input tokens, and where they are noise (bool), both [B, H, W].

    For about `share` of the pictures (those without an image embedding only where they are not too noisy), what is not
    noise comes from the net's own draw at a noisier level, as in sampling, instead of from the clean picture (after SUNDAE,
    arXiv:2112.06749): the net learns to mend its own mistakes, which a sampler otherwise carries on.
    """
    u = torch.rand(batch.clean.shape)
    mask = u < batch.t[:, None, None]
    kept = batch.clean
    earlier = (batch.t + 0.03 + 0.2 * torch.rand(len(batch.t))).clamp(max=1.0)
    rows = ((torch.rand(len(batch.t)) < share) & (batch.told | (earlier < UNROLL_BELOW))).nonzero().flatten()
    if len(rows) > 0:
        before = torch.where(u[rows] < earlier[rows, None, None], batch.noise[rows], batch.clean[rows])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = unet(before, earlier[rows], batch.states[rows], None, batch.image[rows], batch.bias[rows])
            temperature = 0.05 + 0.55 * torch.rand(len(rows), 1, 1, 1)
            gumbel = -torch.empty_like(logits, dtype=torch.float32).exponential_().log()
            drawn = (logits.float() + temperature * gumbel).argmax(-1)
        kept = kept.clone()
        kept[rows] = drawn
    return torch.where(mask, batch.noise, kept), mask


def rate_at(progress: float, step: int, warm_up: int, constant: float) -> float:
    """Share of the peak rate: warm-up over 200 steps (50 after a resumption), then constant for the given part of the
    plan, then a cosine down to 2 %."""
    decay = 1.0
    if progress > constant:
        decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - constant) / (1 - constant))))
    return min(1.0, (step + 1) / warm_up) * decay


def optimisers_of(unet: UNet, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the hidden layers, AdamW for the rest."""
    matrices, kernels, vectors = [], [], []
    for name, p in unet.named_parameters():
        hidden = p.ndim == 2 and "blocks" in name and ".mapper." not in name
        (matrices if hidden and options.muon else kernels if p.ndim > 1 and p.numel() > p.shape[-1] else vectors).append(p)
    groups = [{"params": kernels, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
    chosen: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)]
    if matrices:
        chosen.append(torch.optim.Muon(matrices, lr=options.rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"))
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return chosen


class Run:
    """The state that a checkpoint holds."""

    def __init__(self, options: argparse.Namespace):
        self.path: Path = options.work / "unet.pt"
        self.unet, self.average = UNet(CONFIG["unet"]), UNet(CONFIG["unet"])
        initialise(self.unet)
        if options.start:
            self.unet.load_state_dict(load_component(options.start, "unet").state_dict())
        for unet in (self.unet, self.average):
            factor_tables(unet, not options.start or options.fresh_tokens)
        self.average.load_state_dict(self.unet.state_dict())
        self.optimisers = optimisers_of(self.unet, options)
        self.step, self.spent = 0, 0.0
        if options.resume and self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.unet.load_state_dict(saved["unet"])
            self.average.load_state_dict(saved["average"])
            for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(state)
            self.step, self.spent = saved["step"], saved["spent"]

    def save(self, work: Path) -> None:
        state = {
            "unet": self.unet.state_dict(), "average": self.average.state_dict(), "step": self.step, "spent": self.spent,
            "optimisers": [o.state_dict() for o in self.optimisers],
        }  # fmt: skip
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").rename(self.path)
        save_component(work, "unet", plain(self.average))


def loss_of(unet: UNet, batch: Batch, share: float, smoothing: float) -> tuple[Tensor, Tensor]:
    """(weighted loss to descend, mean cross entropy), both over a random half of the positions: neighbours say much the
    same, and the head with its 1,024 logits is costly."""
    tokens, mask = noised(batch, share, unet)
    positions = torch.randperm(mask.numel())[: mask.numel() // 2]
    with torch.autocast("cpu", torch.bfloat16):
        condition = unet.condition(batch.states, None, batch.image)
        features = unet.features(tokens, batch.t, condition, condition_bias=batch.bias)
        logits = unet.out_mapper(features.flatten(0, 2)[positions])
    losses = F.cross_entropy(
        logits.float(), batch.clean.flatten()[positions], reduction="none", label_smoothing=smoothing
    )
    weights = (1 - (~mask).float() * (1 - batch.t[:, None, None]) * 0.7).flatten()[positions]
    return (losses * weights).mean(), losses.detach().mean()


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
    log, run = Log(work, "unet"), Run(options)
    parameters, start = list(run.unet.parameters()), run.step
    batches = Batches(work, options.batch // options.workers, options.scenes, 1000 * run.step + rank)
    torch.manual_seed(1000 * run.step + rank)
    # Every gradient is a view into one buffer, so that a single all-reduce averages them.
    flat = torch.zeros(sum(p.numel() for p in parameters))
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = part.view_as(parameter)

    skipped, summed, sums = 0, 0, [0.0, 0.0]
    saved_at = before = time.time()
    while True:
        # Rank 0's clock decides, so that all stop at the same step.
        clock = torch.tensor([run.spent])
        if options.workers > 1:
            dist.broadcast(clock, 0)
        progress = run.step / options.steps if options.steps else clock.item() / (options.minutes * 60)
        if progress >= 1:
            break
        rate = rate_at(progress, run.step - start, 50 if start else 200, options.constant)
        for optimiser in run.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
        share = options.unroll * min(1.0, max(0.0, (run.step - options.unroll_from) / 500))
        loss, mean = loss_of(run.unet, batches.next(), share, options.smoothing)
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
        for optimiser in run.optimisers:
            optimiser.step()
        run.step += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(run.average.parameters()), parameters, 1 - min(options.average, run.step / (run.step + 20)))
        now = time.time()
        run.spent, before = run.spent + now - before, now
        summed, sums = summed + 1, [sums[0] + mean.item(), sums[1] + loss.item()]
        if run.step % 50 == 0:
            if rank == 0:
                log.write(
                    step=run.step, spent=round(run.spent), loss=round(sums[0] / summed, 4),
                    weighted=round(sums[1] / summed, 4), rate=round(rate * options.rate, 6), norm=round(norm, 3),
                )  # fmt: skip
            summed, sums = 0, [0.0, 0.0]
        if rank == 0 and now - saved_at > 120:
            run.save(work)
            saved_at = now
    if rank == 0:
        run.save(work)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=90.0, help="training time, earlier runs' time included")
    parser.add_argument("--steps", type=int, default=0, help="if set, train for so many steps instead of so long")
    parser.add_argument("--batch", type=int, default=64, help="over all workers, at 128 x 128 px")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--muon", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--constant", type=float, default=0.4, help="part of the plan before the rate decays")
    parser.add_argument("--average", type=float, default=0.999, help="how much of the averaged weights a step keeps")
    parser.add_argument("--unroll", type=float, default=0.5, help="share of the pictures that continue the net's own draw")
    parser.add_argument("--unroll-from", type=int, default=500, help="step")
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--scenes", type=int, default=60000)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start", type=Path, help="a model folder whose U-Net to start from")
    parser.add_argument("--fresh-tokens", action="store_true", help="the folder's tokens meant something else")
    options = parser.parse_args()
    torch.set_num_threads(2)
    load_cache(options.work, options.scenes)
    (options.work / "rendezvous").unlink(missing_ok=True)
    if options.workers > 1:
        mp.spawn(worker, (options,), options.workers)
    else:
        worker(0, options)


if __name__ == "__main__":
    main()
