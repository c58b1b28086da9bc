"""Random weights for the golden cases: of such sizes that activations stay near one and every weight counts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn


def _normal(rng: np.random.Generator, shape: torch.Size, scale: float, mean: float = 0.0) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(shape)) * scale + mean).float()


def _fan_in(name: str, value: Tensor, transposed: set[str]) -> int:
    if name in transposed:  # [in, out, k, k] with stride 2: every output sees (k / 2)^2 positions
        return value.shape[0] * (value.shape[2] // 2) ** 2
    return math.prod(value.shape[1:])


def _one(rng: np.random.Generator, name: str, value: Tensor, transposed: set[str], d_kv: int) -> Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(1234)
    if leaf == "running_var":
        return torch.from_numpy(rng.uniform(0.5, 2.0, tuple(value.shape))).float()
    if leaf == "running_mean":
        return _normal(rng, value.shape, 0.3)
    if leaf == "gammas":  # scalars of the VQGAN's block; 2 and 5 scale its branches
        return _normal(rng, value.shape, 0.3, 0.0) + torch.tensor([0.0, 0.2, 0.7, 0.0, -0.2, 0.7])
    if leaf == "gamma":
        return _normal(rng, value.shape, 0.7)
    if leaf == "beta":
        return _normal(rng, value.shape, 0.3)
    if leaf.endswith("bias"):
        # The decoder's pixels centre on 0.5; some must lie outside 0..1, so that clamping shows.
        return _normal(rng, value.shape, 0.2, 0.5 if name == "out_block.0.bias" else 0.0)
    if leaf in ("text_projection", "proj"):  # CLIP: [in, out]
        return _normal(rng, value.shape, 1 / math.sqrt(value.shape[0]))
    if leaf in ("positional_embedding", "class_embedding"):
        return _normal(rng, value.shape, 0.7)
    if leaf == "weight" and value.ndim == 1:  # RmsNorm, LayerNorm, BatchNorm
        return _normal(rng, value.shape, 0.25, 1.0)
    if (
        name in ("shared.weight", "in_mapper.0.weight", "vquantizer.codebook.weight", "token_embedding.weight")
        or "relative_attention_bias" in name
    ):
        return _normal(rng, value.shape, 1.0)
    scale = 1 / math.sqrt(_fan_in(name, value, transposed))
    if name.endswith("SelfAttention.q.weight"):  # T5 does not divide scores by sqrt(d_kv)
        scale /= math.sqrt(d_kv)
    elif name == "out_mapper.1.weight":  # logits with some contrast
        scale *= 2
    elif name == "out_block.0.weight":
        scale *= 0.2
    elif ".mapper." in name:  # scale and shift by the timestep
        scale *= 0.5
    return _normal(rng, value.shape, scale)


def fill(module: nn.Module, seed: int) -> nn.Module:
    """Replaces every tensor of `module`, in the order of its state dict, and returns it in eval mode."""
    rng = np.random.default_rng(seed)
    transposed = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.ConvTranspose2d)}
    d_kv = module.config.get("d_kv", 1)  # type: ignore[union-attr, operator]
    state = {name: _one(rng, name, value, transposed, d_kv) for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)
