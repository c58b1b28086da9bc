"""CLIP's two encoders (ViT-H-14 of open_clip) in PyTorch, written from their specification (section 5.2).

Tensor names and shapes are open_clip's. Letters in shape comments: B inputs, T ids or patches, c the width of a tower,
E the width of the embedding. Embeddings are not normalised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-5
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in 0..1
STD = (0.26862954, 0.26130258, 0.27577711)


class SelfAttention(nn.Module):
    """torch.nn.MultiheadAttention's parameters: packed in_proj_weight [3c, c] (rows Q, K, V) and out_proj."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * c, c))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * c))
        self.out_proj = nn.Linear(c, c)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """x [B, T, c]. Causal: a position sees itself and what is before it."""
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (m.unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (q, k, v))  # [B, heads, T, c / heads]
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        if causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            logits = logits.masked_fill(later, float("-inf"))
        return self.out_proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """c_proj(gelu(c_fc x)), the exact GELU."""

    def __init__(self, c: int, width: int):
        super().__init__()
        self.c_fc = nn.Linear(c, width)
        self.c_proj = nn.Linear(width, c)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, c: int, heads: int, mlp_width: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(c, eps=LAYER_NORM_EPS)
        self.attn = SelfAttention(c, heads)
        self.ln_2 = nn.LayerNorm(c, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(c, mlp_width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.resblocks = nn.ModuleList(
            Block(config["width"], config["heads"], config["mlp_width"]) for _ in range(config["layers"])
        )

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        for block in self.resblocks:
            x = block(x, causal)
        return x


class ClipText(nn.Module):
    """config: width, layers, heads, mlp_width, context_length, vocab_size, embed_dim.

    The end of text has the largest id.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        c = config["width"]
        self.token_embedding = nn.Embedding(config["vocab_size"], c)
        self.positional_embedding = nn.Parameter(torch.zeros(config["context_length"], c))
        self.transformer = Transformer(config)
        self.ln_final = nn.LayerNorm(c, eps=LAYER_NORM_EPS)
        self.text_projection = nn.Parameter(torch.zeros(c, config["embed_dim"]))

    def states(self, ids: Tensor) -> Tensor:
        """ids int64 [B, T], T up to context_length -> [B, T, c] before ln_final.

        Attention is causal: ids after the end of text (open_clip pads with 0) change nothing up to it.
        """
        return self.transformer(self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]], causal=True)

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 [B, T] -> [B, E]: the state at the first of the largest ids, which is the end of text."""
        end = ids.argmax(-1)
        states = self.states(ids)[torch.arange(len(ids), device=ids.device), end]
        return self.ln_final(states) @ self.text_projection


class VisionTower(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        c, patch = config["width"], config["patch_size"]
        patches = (config["image_size"] // patch) ** 2
        self.patch = patch
        self.class_embedding = nn.Parameter(torch.zeros(c))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + patches, c))
        self.proj = nn.Parameter(torch.zeros(c, config["embed_dim"]))
        self.conv1 = nn.Conv2d(3, c, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(c, eps=LAYER_NORM_EPS)
        self.transformer = Transformer(config)
        self.ln_post = nn.LayerNorm(c, eps=LAYER_NORM_EPS)

    def embed(self, x: Tensor) -> Tensor:
        """x [B, image_size, image_size, 3], normalised -> [B, 1 + patches, c]: the class, then patches row by row."""
        b, height, width, _ = x.shape
        p = self.patch
        # A convolution whose stride is its size is a product over patches; the weight's order is channel, row, column.
        patches = x.reshape(b, height // p, p, width // p, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(b, -1, 3 * p * p)
        patches = F.linear(patches, self.conv1.weight.flatten(1))
        tokens = torch.cat([self.class_embedding.expand(b, 1, -1), patches], 1)
        return self.ln_pre(tokens + self.positional_embedding)

    def states(self, x: Tensor) -> Tensor:
        """As embed -> [B, 1 + patches, c] before ln_post."""
        return self.transformer(self.embed(x), causal=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln_post(self.states(x)[:, 0]) @ self.proj


class ClipImage(nn.Module):
    """config: width, layers, heads, mlp_width, patch_size, image_size, embed_dim."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        self.visual = VisionTower(config)

    @staticmethod
    def normalise(pixels: Tensor) -> Tensor:
        """uint8 RGB [..., 3] -> fp32: (p / 255 - mean) / std per channel."""
        return (pixels.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 RGB [B, image_size, image_size, 3] -> [B, E]."""
        return self.visual(self.normalise(pixels))
