"""The prior of Paella v3 and its samplers in PyTorch, written from their specification (section 4.4).

From a CLIP text embedding c to a CLIP image embedding x, both [B, E], neither normalised. The noise is an input.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from unet import timestep_embedding

LAYER_NORM_EPS = 1e-5
COSINE_OFFSET = 0.008
SIGNAL_RANGE = (0.0001, 0.9999)


class PriorModel(nn.Module):
    """config: c_in, c_hidden, c_inner (default 4·c_hidden), c_cond, c_r, num_layers. Predicts the noise in x at time r."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        width, embedding, hidden = config["c_hidden"], config["c_in"], config.get("c_inner", 4 * config["c_hidden"])
        self.blocks = nn.ModuleList([nn.Linear(embedding, width)])
        for _ in range(config["num_layers"]):
            self.blocks.append(
                nn.Sequential(
                    nn.Linear(width + config["c_cond"] + config["c_r"], hidden, bias=False),
                    nn.LayerNorm(hidden, eps=LAYER_NORM_EPS),
                    nn.GELU(),
                    nn.Linear(hidden, width, bias=False),
                    nn.LayerNorm(width, eps=LAYER_NORM_EPS),
                )
            )
        self.blocks.append(nn.Linear(width, embedding))

    def forward(self, x: Tensor, c: Tensor, r: Tensor) -> Tensor:
        """x, c [B, E], r [B] in (0, 1] -> noise [B, E]."""
        r_embedding = timestep_embedding(r, self.config["c_r"]).to(x.dtype)
        first, *blocks, last = self.blocks
        h = first(x)
        for block in blocks:
            h = h + block(torch.cat([h, c, r_embedding], -1))
        return last(h)


def times(steps: int) -> list[float]:
    """steps + 1 times, in double precision: equal distances from 1 to 0, without the 1. The model sees them in fp32."""
    return [(steps - i) / (steps + 1) for i in range(steps + 1)]


def signal(t: float) -> float:
    """Share of the signal in the variance at time t (the cumulated product of alphas), the cosine schedule."""

    def cosine(u: float) -> float:
        return math.cos((u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    return min(max(cosine(t) / cosine(0), SIGNAL_RANGE[0]), SIGNAL_RANGE[1])


def coefficients(mode: Literal["ddpm", "ddim"], t: float, following: float) -> tuple[float, float, float]:
    """(a, b, c) of one step, x := a x + b eps + c noise, in double precision."""
    s, s_next = signal(t), signal(following)
    if mode == "ddim":
        # Through the predicted x_0 = (x - sqrt(1 - s) eps) / sqrt(s).
        return math.sqrt(s_next / s), math.sqrt(1 - s_next) - math.sqrt((1 - s) * s_next / s), 0.0
    alpha = s / s_next
    deviation = math.sqrt((1 - alpha) * (1 - s_next) / (1 - s)) if following > 0 else 0.0
    return 1 / math.sqrt(alpha), -(1 - alpha) / math.sqrt((1 - s) * alpha), deviation


def sample(
    model: PriorModel,
    c: Tensor,
    noise: Tensor,
    steps: int,
    mode: Literal["ddpm", "ddim"] = "ddpm",
    guidance: float = 3.0,
) -> list[Tensor]:
    """c [B, E] -> x after every step, [B, E] each; the last is the image embedding.

    noise [steps, B, E], standard normal: noise[0] is where x begins, noise[i + 1] is added after step i, and nothing
    after the last. DDIM needs noise[0] only. The unconditional embedding is zero.
    """
    x, seen = noise[0], []
    moments = times(steps)
    for i in range(steps):
        r = torch.full((len(c),), moments[i], dtype=torch.float32)
        conditional, unconditional = model(x, c, r), model(x, torch.zeros_like(c), r)
        eps = unconditional + guidance * (conditional - unconditional)
        of_x, of_eps, of_noise = coefficients(mode, moments[i], moments[i + 1])
        x = of_x * x + of_eps * eps
        if of_noise:
            x = x + of_noise * noise[i + 1]
        seen.append(x)
    return seen
