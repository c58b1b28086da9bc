"""Attention re-weighting as section 4.3 says it: the probabilities are multiplied after the softmax.

unet.py scales the values instead, and the engine folds the weights into the values that it keeps; this module is what
both are compared with.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from unet import AttnBlock, MultiheadAttention, UNet


class LiteralAttention(MultiheadAttention):
    """The same parameters and arguments; probabilities are weighted per key and not renormalised."""

    def forward(self, image: Tensor, condition: Tensor, key_bias: Tensor | None, key_weights: Tensor | None) -> Tensor:
        assert key_bias is None, "a training aid, which has no place here"
        c, heads = image.shape[-1], self.heads
        keys = torch.cat([image, condition], 1)  # [B, N + S, c]
        of_q, of_k, of_v = self.in_proj_weight.split(c)
        bias_q, bias_k, bias_v = self.in_proj_bias.split(c)
        q = F.linear(image, of_q, bias_q).unflatten(-1, (heads, -1))
        k = F.linear(keys, of_k, bias_k).unflatten(-1, (heads, -1))
        v = F.linear(keys, of_v, bias_v).unflatten(-1, (heads, -1))
        logits = torch.einsum("bqhd,bkhd->bhqk", q, k) / (c // heads) ** 0.5
        probabilities = logits.softmax(-1)
        if key_weights is not None:
            probabilities = probabilities * key_weights.to(probabilities.dtype)
        return self.out_proj(torch.einsum("bhqk,bkhd->bqhd", probabilities, v).flatten(2))


def with_literal_weights(unet: UNet) -> UNet:
    """A copy of `unet` whose attention weights probabilities."""
    unet = copy.deepcopy(unet)
    for block in unet.modules():
        if isinstance(block, AttnBlock):
            own = block.attention.attn
            literal = LiteralAttention(own.in_proj_weight.shape[1], own.heads).to(own.in_proj_weight)
            literal.load_state_dict(own.state_dict())
            block.attention.attn = literal.requires_grad_(False)
    return unet.eval()
