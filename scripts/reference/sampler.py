"""The v3 sampler (specification sections 3 and 4.1) with the random numbers of docs/randomness.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from philox import gumbel, initial_noise, renoise_uniform
from unet import UNet


@dataclass(frozen=True)
class SamplerOptions:
    """Every knob of the sampler; None means "as many as steps" (renoise_steps: steps - 1)."""

    steps: int = 12
    renoise_steps: int | None = None
    temperature: tuple[float, float] = (0.7, 0.3)
    guidance: tuple[float, float] = (8.0, 8.0)
    mode: str = "multinomial"  # or "argmax"
    t_start: float = 1.0
    t_end: float = 0.0
    conditional_steps: int | None = None  # guided steps; later steps use the conditional logits alone
    quant_steps: int | None = None  # from this step on: nearest code to the expected codebook vector
    typical_mass: float | None = None
    typical_min_tokens: int = 1
    renoise_mode: str = "start"  # or "prev": renoise with the step's own input tokens


@dataclass(frozen=True)
class Conditions:
    """Inputs of UNet.condition, one row per image: byt5 [B, T, d], and optionally clip and clip_image."""

    byt5: Tensor
    clip: Tensor | None = None
    clip_image: Tensor | list[Tensor] | None = None


def typical_filter(logits: Tensor, mass: float, min_tokens: int) -> Tensor:
    """Sets the logits of atypical codes to -inf.

    At temperature 1, codes are ranked by |-log p - entropy|, ascending; the smallest prefix whose probability reaches
    `mass` stays (ties with its last member stay, too), at least min_tokens codes.
    """
    log_p = logits.log_softmax(-1)
    p = log_p.exp()
    entropy = -(p * log_p).nan_to_num().sum(-1, keepdim=True)
    score = (-log_p - entropy).abs()
    sorted_score, order = score.sort(-1)
    reached = p.gather(-1, order).cumsum(-1)
    last = (reached < mass).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    removed = score > sorted_score.gather(-1, last)
    if min_tokens > 1:
        removed = removed & ~torch.zeros_like(removed).scatter(-1, order[..., :min_tokens], True)
    return logits.masked_fill(removed, -torch.inf)


@torch.inference_mode()
def sample(
    unet: UNet,
    conditions: Conditions,
    unconditional: Conditions,
    shape: tuple[int, int],
    seeds: list[int],
    options: SamplerOptions,
    init_tokens: Tensor | None = None,
    known: Tensor | None = None,
    attn_weights: Tensor | None = None,
    codebook: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """(final tokens int64 [B, H, W], every step's drawn tokens before renoising).

    shape: (H, W) in tokens. init_tokens [B, H, W] is the first input (image to image); `known` [B, H, W] bool marks
    tokens of init_tokens to keep (inpainting): they also replace the initial noise there and every draw. attn_weights
    apply to the conditional pass only. codebook [codes, c_latent] is needed for quant_steps.
    """
    batch, (height, width) = len(seeds), shape
    positions, codes = height * width, unet.config["num_labels"]
    steps = options.steps
    renoise_steps = steps - 1 if options.renoise_steps is None else options.renoise_steps
    conditional_steps = steps if options.conditional_steps is None else options.conditional_steps
    quant_steps = steps if options.quant_steps is None else options.quant_steps

    noise = torch.from_numpy(np.stack([initial_noise(s, positions, codes) for s in seeds])).view(batch, height, width)
    if known is not None:
        assert init_tokens is not None
        noise = torch.where(known, init_tokens, noise)
    # With known tokens the unknown ones start from noise, whatever init_tokens holds there.
    x = noise if init_tokens is None or known is not None else init_tokens
    times = torch.linspace(options.t_start, options.t_end, steps + 1)
    temperatures = torch.linspace(*options.temperature, steps)
    scales = torch.linspace(*options.guidance, steps)
    condition = unet.condition(conditions.byt5, conditions.clip, conditions.clip_image)
    negative = unet.condition(unconditional.byt5, unconditional.clip, unconditional.clip_image)
    drawn: list[Tensor] = []
    for i in range(steps):
        before = x
        r = times[i].expand(batch)
        logits = unet.out_mapper(unet.features(x, r, condition, attn_weights=attn_weights))  # [B, H, W, codes]
        if i < conditional_steps:
            other = unet.out_mapper(unet.features(x, r, negative))
            logits = logits * scales[i] + other * (1 - scales[i])
        if options.typical_mass is not None:
            logits = typical_filter(logits, options.typical_mass, options.typical_min_tokens)
        logits = logits / temperatures[i]
        if i >= quant_steps:
            assert codebook is not None
            expected = logits.softmax(-1) @ codebook
            x = torch.cdist(expected.flatten(0, 2), codebook).argmin(-1).view(batch, height, width)
        elif options.mode == "argmax":
            x = logits.argmax(-1)
        else:
            g = torch.from_numpy(np.stack([gumbel(s, positions, codes, i) for s in seeds]))
            x = (logits + g.view(logits.shape)).argmax(-1)
        if known is not None:
            x = torch.where(known, noise, x)
        drawn.append(x)
        if i < renoise_steps:
            u = torch.from_numpy(np.stack([renoise_uniform(s, positions, i) for s in seeds])).view(x.shape)
            x = torch.where(u < times[i + 1], before if options.renoise_mode == "prev" else noise, x)
    return x, drawn
