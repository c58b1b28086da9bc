"""The ByT5 (T5 v1.1) encoder in PyTorch, written from its specification (section 5.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD, EOS, BYTE_OFFSET = 0, 1, 3


def tokenize(text: str, max_tokens: int = 768) -> list[int]:
    """UTF-8 bytes + 3, cut to max_tokens - 1, then EOS. "" gives [1]. No special strings are parsed."""
    return [b + BYTE_OFFSET for b in text.encode()[: max_tokens - 1]] + [EOS]


def relative_buckets(length: int, buckets: int, max_distance: int) -> Tensor:
    """Bucket numbers [query, key] of delta = key - query, bidirectional.

    Half the buckets are for delta > 0. In each half, small distances have a bucket of their own and the rest is
    logarithmic up to max_distance.
    """
    half = buckets // 2
    exact = half // 2
    position = torch.arange(length)
    delta = position[None, :] - position[:, None]
    n = delta.abs()
    log_part = torch.log(n.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    large = (exact + log_part.long()).clamp(max=half - 1)
    return torch.where(n < exact, n, large) + torch.where(delta > 0, half, 0)


class RmsNorm(nn.Module):
    """x * rsqrt(mean(x^2) + eps) * weight, the mean in fp32; weight [d]."""

    def __init__(self, d: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return (x * scale).to(x.dtype) * self.weight


class SelfAttention(nn.Module):
    """Attention without 1/sqrt(d) and with an additive bias. q, k, v [inner, d_model], o [d_model, inner]."""

    def __init__(self, config: dict, has_bias_table: bool):
        super().__init__()
        d, inner = config["d_model"], config["num_heads"] * config["d_kv"]
        self.heads = config["num_heads"]
        self.q = nn.Linear(d, inner, bias=False)
        self.k = nn.Linear(d, inner, bias=False)
        self.v = nn.Linear(d, inner, bias=False)
        self.o = nn.Linear(inner, d, bias=False)
        if has_bias_table:  # [bucket, head]; block 0's table serves every layer
            self.relative_attention_bias = nn.Embedding(config["relative_attention_num_buckets"], self.heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [B, T, d_model], bias [1 or B, heads, T, T]."""
        q, k, v = (m(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        logits = q @ k.transpose(2, 3) + bias.to(q.dtype)  # [B, heads, T, T]
        mixed = logits.float().softmax(-1).to(v.dtype) @ v
        return self.o(mixed.transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    """wo(gelu_tanh(wi_0 x) * wi_1 x)."""

    def __init__(self, d: int, d_ff: int):
        super().__init__()
        self.wi_0 = nn.Linear(d, d_ff, bias=False)
        self.wi_1 = nn.Linear(d, d_ff, bias=False)
        self.wo = nn.Linear(d_ff, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class AttentionLayer(nn.Module):
    def __init__(self, config: dict, has_bias_table: bool):
        super().__init__()
        self.SelfAttention = SelfAttention(config, has_bias_table)
        self.layer_norm = RmsNorm(config["d_model"], config["layer_norm_epsilon"])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), bias)


class FeedForwardLayer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.DenseReluDense = GatedFeedForward(config["d_model"], config["d_ff"])
        self.layer_norm = RmsNorm(config["d_model"], config["layer_norm_epsilon"])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, config: dict, has_bias_table: bool):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config, has_bias_table), FeedForwardLayer(config)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.layer[1](self.layer[0](x, bias))


class Stack(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.block = nn.ModuleList(Block(config, i == 0) for i in range(config["num_layers"]))
        self.final_layer_norm = RmsNorm(config["d_model"], config["layer_norm_epsilon"])


class ByT5Encoder(nn.Module):
    """config: transformers' keys for T5 v1.1 (docs/model-format.md). Output: last_hidden_state."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config)

    def forward(self, ids: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """ids int64 [B, T] -> [B, T, d_model].

        key_bias [B, T], added to every query's logits: a training aid to hide padding (-inf-like at pads). At
        inference there is none, as the specification says: every position is attended.
        """
        config = self.config
        buckets = relative_buckets(
            ids.shape[1], config["relative_attention_num_buckets"], config["relative_attention_max_distance"]
        )
        table = self.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        bias = table(buckets.to(ids.device)).permute(2, 0, 1)[None]  # [1, heads, T, T]
        if key_bias is not None:
            bias = bias + key_bias[:, None, None, :]
        x = self.shared(ids)
        for block in self.encoder.block:
            x = block(x, bias)
        return self.encoder.final_layer_norm(x)
