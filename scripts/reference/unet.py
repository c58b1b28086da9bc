"""The token U-Net of Paella v3 in PyTorch, written from its specification (section 1).

Activations are NHWC throughout. Tensor names and shapes are the official ones. Letters in shape comments:
B images, H x W the token grid (or the current level's grid), c channels, S condition tokens, E condition width (c_cond).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan import Conv1x1, depth_to_space, layer_norm, space_to_depth


class LayerNorm(nn.Module):
    """LayerNorm over channels without parameters (it only occupies an index in nn.Sequential)."""

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x)


class SpaceToDepth(nn.Module):
    def __init__(self, p: int):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return space_to_depth(x, self.p)


class DepthToSpace(SpaceToDepth):
    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(x, self.p)


class DownConv(nn.Conv2d):
    """2x2 convolution of stride 2 as one matrix product: weight [out, in, 2, 2] over space-to-depth'd input."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(space_to_depth(x, 2), self.weight.flatten(1), self.bias)


class UpConv(nn.ConvTranspose2d):
    """2x2 transposed convolution of stride 2 as one matrix product; weight [in, out, 2, 2]."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(F.linear(x, self.weight.flatten(1).T), 2) + self.bias


class DepthwiseConv(nn.Conv2d):
    """k x k convolution with zero padding and one group per output channel.

    With a skip input (weight [c, 2, k, k]) the input holds 2c channels and output g sees channels 2g and 2g + 1 of it.
    """

    def __init__(self, c: int, k: int, inputs_per_group: int):
        super().__init__(c * inputs_per_group, c, k, padding=k // 2, groups=c)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class GlobalResponseNorm(nn.Module):
    """gamma, beta [1, 1, 1, c]. Norms are taken per image and channel over the whole map, in fp32."""

    def __init__(self, c: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, c))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, c))

    def forward(self, x: Tensor) -> Tensor:
        # A channel that is zero everywhere has the gradient 0 below the bound; a plain sqrt's would be NaN. [B, 1, 1, c]
        norms = x.square().sum((1, 2), keepdim=True, dtype=torch.float32).clamp(min=1e-20).sqrt()
        ratio = norms / (norms.mean(-1, keepdim=True) + 1e-6)
        return x * (1 + self.gamma * ratio).to(x.dtype) + self.beta.to(x.dtype)


class ResBlock(nn.Module):
    """Block kind C. A skip is concatenated before the depthwise convolution and takes no part in the residual."""

    def __init__(self, c: int, k: int, has_skip: bool):
        super().__init__()
        self.depthwise = DepthwiseConv(c, k, 2 if has_skip else 1)
        self.channelwise = nn.Sequential(
            nn.Linear(c, 4 * c), nn.GELU(), GlobalResponseNorm(4 * c), nn.Dropout(0.0), nn.Linear(4 * c, c)
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        joined = x if skip is None else torch.cat([x, skip], -1)
        return x + self.channelwise(layer_norm(self.depthwise(joined)))


class TimestepBlock(nn.Module):
    """Block kind T: x * (1 + a) + b with [a, b] = mapper(embedding of r)."""

    def __init__(self, c: int, c_r: int):
        super().__init__()
        self.mapper = nn.Linear(c_r, 2 * c)

    def forward(self, x: Tensor, r_embedding: Tensor) -> Tensor:
        a, b = self.mapper(r_embedding)[:, None, None, :].chunk(2, -1)  # [B, 1, 1, c] each
        return x * (1 + a) + b


class MultiheadAttention(nn.Module):
    """torch.nn.MultiheadAttention's parameters: packed in_proj_weight [3c, c] (rows Q, K, V) and out_proj."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * c, c))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * c))
        self.out_proj = nn.Linear(c, c)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, image: Tensor, condition: Tensor, key_bias: Tensor | None, key_weights: Tensor | None) -> Tensor:
        """image [B, N, c] asks; keys are the image tokens, then condition [B, S, c].

        key_bias [B, N + S] is added to the logits (hides padding in training). key_weights [N + S] multiplies the
        probabilities after the softmax, without renormalising, which is the same as scaling the values.
        """
        c = image.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q, k, v = F.linear(image, weight, bias).chunk(3, -1)
        k_condition, v_condition = F.linear(condition, weight[c:], bias[c:]).chunk(2, -1)
        k, v = torch.cat([k, k_condition], 1), torch.cat([v, v_condition], 1)
        if key_weights is not None:
            v = v * key_weights[None, :, None].to(v.dtype)
        q, k, v = (m.unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (q, k, v))
        # Written out, as PyTorch's fused attention is slow backwards on a CPU at these sizes. [B, heads, N, N + S]
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        if key_bias is not None:
            logits = logits + key_bias[:, None, None, :].to(logits.dtype)
        mixed = logits.softmax(-1).to(v.dtype) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Attention(nn.Module):
    """Holds the attention under the official name `attention.attn`."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.attn = MultiheadAttention(c, heads)


class AttnBlock(nn.Module):
    """Block kind A: the image attends to itself and to the condition."""

    def __init__(self, c: int, c_cond: int, heads: int):
        super().__init__()
        self.attention = Attention(c, heads)
        self.kv_mapper = nn.Sequential(nn.SiLU(), nn.Linear(c_cond, c))

    def forward(self, x: Tensor, condition: Tensor, key_bias: Tensor | None, key_weights: Tensor | None) -> Tensor:
        mixed = self.attention.attn(layer_norm(x).flatten(1, 2), self.kv_mapper(condition), key_bias, key_weights)
        return x + mixed.unflatten(1, x.shape[1:3])


def timestep_embedding(r: Tensor, c_r: int) -> Tensor:
    """r [B] in 0..1 (1: pure noise) -> [B, c_r]: sines, then cosines. Arguments reach 10^4 rad, so fp32 order matters."""
    half = c_r // 2
    frequencies = torch.exp(torch.arange(half, device=r.device).float() * -(math.log(10000) / (half - 1)))
    angles = (r.float() * 10000)[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], 1)


class UNet(nn.Module):
    """config: docs/model-format.md, unet/config.json."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        widths, blocks, kinds = config["c_hidden"], config["blocks"], config["level_config"]
        c_cond, p, c_in, c_out = config["c_cond"], config["patch_size"], config["c_in"], config["c_out"]
        levels = len(widths)
        self.clip_seq_len = config.get("clip_seq_len", 4)

        self.byt5_mapper = nn.Linear(config["byt5_embd"], c_cond)
        if config.get("clip_embd"):
            self.clip_mapper = nn.Linear(config["clip_embd"], c_cond * self.clip_seq_len)
        if config.get("clip_image_embd"):
            self.clip_image_mapper = nn.Linear(config["clip_image_embd"], c_cond * self.clip_seq_len)

        self.in_mapper = nn.Sequential(nn.Embedding(config["num_labels"], c_in), LayerNorm())
        self.embedding = nn.Sequential(SpaceToDepth(p), Conv1x1(c_in * p * p, widths[0]), LayerNorm())

        def block(kind: str, level: int, has_skip: bool) -> nn.Module:
            c = widths[level]
            if kind == "C":
                return ResBlock(c, config["kernel_size"], has_skip)
            if kind == "T":
                return TimestepBlock(c, config["c_r"])
            if kind == "A":
                return AttnBlock(c, c_cond, config["nhead"][level])
            raise ValueError(f"unknown block kind {kind!r}")

        self.down_blocks = nn.ModuleList()
        for level in range(levels):
            stage = nn.ModuleList()
            if level > 0:
                stage.append(nn.Sequential(LayerNorm(), DownConv(widths[level - 1], widths[level])))
            for _ in range(blocks[level]):
                stage.extend(block(kind, level, False) for kind in kinds[level])
            self.down_blocks.append(stage)

        self.up_blocks = nn.ModuleList()  # coarsest level first
        for level in reversed(range(levels)):
            stage = nn.ModuleList()
            for j in range(blocks[level]):
                # Only the first C of every level but the coarsest takes the skip.
                has_skip = j == 0 and level < levels - 1
                stage.extend(block(kind, level, has_skip and k == 0) for k, kind in enumerate(kinds[level]))
            if level > 0:
                stage.append(nn.Sequential(LayerNorm(), UpConv(widths[level], widths[level - 1])))
            self.up_blocks.append(stage)

        self.clf = nn.Sequential(LayerNorm(), Conv1x1(widths[0], c_out * p * p), DepthToSpace(p))
        self.out_mapper = nn.Sequential(LayerNorm(), Conv1x1(c_out, config["num_labels"], bias=False))

    def condition(
        self, byt5: Tensor, clip: Tensor | None = None, clip_image: Tensor | list[Tensor] | None = None
    ) -> Tensor:
        """The condition sequence [B, S, E].

        byt5 [B, T, byt5_embd]; clip [B, clip_embd]; clip_image [B, clip_image_embd] or a list of those, which appends
        clip_seq_len tokens per image.
        """
        parts = [self.byt5_mapper(byt5)]
        if clip is not None:
            parts.append(self.clip_mapper(clip).unflatten(-1, (self.clip_seq_len, -1)))
        if clip_image is not None:
            for one in clip_image if isinstance(clip_image, list) else [clip_image]:
                parts.append(self.clip_image_mapper(one).unflatten(-1, (self.clip_seq_len, -1)))
        return layer_norm(torch.cat(parts, 1))

    def features(
        self,
        tokens: Tensor,
        r: Tensor,
        condition: Tensor,
        condition_bias: Tensor | None = None,
        attn_weights: Tensor | None = None,
    ) -> Tensor:
        """tokens int64 [B, H, W], r [B], condition [B, S, E] -> features before out_mapper, [B, H, W, c_out].

        condition_bias [B, S] is added to the attention logits of the condition tokens (training only).
        attn_weights [M] re-weights the LAST M keys (section 4.3).
        """
        r_embedding = timestep_embedding(r, self.config["c_r"])

        def run(stage: nn.ModuleList, x: Tensor, skip: Tensor | None) -> Tensor:
            for m in stage:
                if isinstance(m, ResBlock):
                    x = m(x, skip)
                    skip = None
                elif isinstance(m, TimestepBlock):
                    x = m(x, r_embedding)
                elif isinstance(m, AttnBlock):
                    image_tokens = x.shape[1] * x.shape[2]
                    key_bias = None
                    if condition_bias is not None:
                        key_bias = F.pad(condition_bias, (image_tokens, 0))
                    key_weights = None
                    if attn_weights is not None:
                        ones = image_tokens + condition.shape[1] - attn_weights.shape[0]
                        key_weights = F.pad(attn_weights, (ones, 0), value=1.0)
                    x = m(x, condition, key_bias, key_weights)
                else:
                    x = m(x)
            return x

        x = self.embedding(self.in_mapper(tokens))
        skips: list[Tensor] = []
        for stage in self.down_blocks:
            x = run(stage, x, None)
            skips.append(x)
        for i, stage in enumerate(self.up_blocks):
            x = run(stage, x, skips[-1 - i] if i > 0 else None)
        return self.clf(x)

    def forward(
        self,
        tokens: Tensor,
        r: Tensor,
        byt5: Tensor,
        clip: Tensor | None = None,
        clip_image: Tensor | list[Tensor] | None = None,
        condition_bias: Tensor | None = None,
        attn_weights: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, H, W, num_labels] for tokens int64 [B, H, W] at noise levels r [B]."""
        condition = self.condition(byt5, clip, clip_image)
        return self.out_mapper(self.features(tokens, r, condition, condition_bias, attn_weights))
