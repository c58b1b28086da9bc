"""The f4 VQGAN of Paella v3 in PyTorch, written from its specification (section 2.1).

Activations are NHWC throughout: B images, H x W positions, channels last. Tensor names and shapes are the official
ones, so state dicts load without renaming.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6


def layer_norm(x: Tensor) -> Tensor:
    """Normalises over channels (the last dimension), without affine parameters."""
    return F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)


def space_to_depth(x: Tensor, p: int) -> Tensor:
    """[B, H, W, C] -> [B, H/p, W/p, C*p*p]; output channel = c*p*p + p*dy + dx (PixelUnshuffle's order)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // p, p, w // p, p, c)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(b, h // p, w // p, c * p * p)


def depth_to_space(x: Tensor, p: int) -> Tensor:
    """[B, H, W, C*p*p] -> [B, H*p, W*p, C]; the inverse of space_to_depth (PixelShuffle's order)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // (p * p), p, p)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(b, h * p, w * p, c // (p * p))


class Nhwc(nn.Module):
    """Base of wrappers that run an NCHW convolution on NHWC data. The permuted view is PyTorch's channels_last
    layout, so nothing is copied."""

    @staticmethod
    def run(function, x: Tensor) -> Tensor:
        return function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution on NHWC data: [B, H, W, in] -> [B, H, W, out]; weight [out, in, 1, 1]."""

    def __init__(self, c_in: int, c_out: int, bias: bool = True):
        super().__init__(c_in, c_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


class ConvNhwc(nn.Conv2d):
    """Any other Conv2d on NHWC data."""

    def forward(self, x: Tensor) -> Tensor:
        return Nhwc.run(super().forward, x)


class ConvTransposeNhwc(nn.ConvTranspose2d):
    """A ConvTranspose2d on NHWC data."""

    def forward(self, x: Tensor) -> Tensor:
        return Nhwc.run(super().forward, x)


class ReplicationPad1(nn.Module):
    """Repeats the border positions once on every side: [B, H, W, C] -> [B, H+2, W+2, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return Nhwc.run(lambda y: F.pad(y, (1, 1, 1, 1), mode="replicate"), x)


class BatchNormNhwc(nn.BatchNorm2d):
    """BatchNorm2d on NHWC data; running statistics in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        return Nhwc.run(super().forward, x)


class VqResBlock(nn.Module):
    """Depthwise 3x3 and a two-layer MLP, each behind a LayerNorm and scaled by scalars, `gammas` [6]."""

    def __init__(self, c: int, hidden: int):
        super().__init__()
        self.depthwise = nn.Sequential(ReplicationPad1(), ConvNhwc(c, c, 3, groups=c))
        self.channelwise = nn.Sequential(nn.Linear(c, hidden), nn.GELU(), nn.Linear(hidden, c))
        self.gammas = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        g = self.gammas
        x = x + self.depthwise(layer_norm(x) * (1 + g[0]) + g[1]) * g[2]
        return x + self.channelwise(layer_norm(x) * (1 + g[3]) + g[4]) * g[5]


class VectorQuantiser(nn.Module):
    """`codebook.weight` [codes, c_latent] and the nearest-code search."""

    def __init__(self, codes: int, c_latent: int):
        super().__init__()
        self.codebook = nn.Embedding(codes, c_latent)

    def forward(self, x: Tensor) -> Tensor:
        """[..., c_latent] -> indices [...]: least squared distance, the lowest index on ties."""
        codes = self.codebook.weight
        flat = x.reshape(-1, x.shape[-1])
        distances = (codes * codes).sum(1) + (flat * flat).sum(1, keepdim=True) - 2 * flat @ codes.T
        return distances.argmin(1).reshape(x.shape[:-1])


class VQGAN(nn.Module):
    """config: levels, bottleneck_blocks, c_hidden, c_latent, codebook_size, scale_factor (docs/model-format.md)."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = dict(config)
        levels, latent = config["levels"], config["c_latent"]
        widths = [config["c_hidden"] // 2**i for i in reversed(range(levels))]  # finest level first
        self.scale_factor: float = config["scale_factor"]

        self.in_block = nn.Sequential(nn.Identity(), Conv1x1(3 * 4, widths[0]))
        down: list[nn.Module] = []
        for i, c in enumerate(widths):
            if i > 0:
                down.append(ConvNhwc(widths[i - 1], c, 4, stride=2, padding=1))
            down.append(VqResBlock(c, 4 * c))
        down.append(nn.Sequential(Conv1x1(widths[-1], latent, bias=False), BatchNormNhwc(latent)))
        self.down_blocks = nn.Sequential(*down)

        self.vquantizer = VectorQuantiser(config["codebook_size"], latent)

        up: list[nn.Module] = [nn.Sequential(Conv1x1(latent, widths[-1]))]
        for i, c in enumerate(reversed(widths)):
            up += [VqResBlock(c, 4 * c) for _ in range(config["bottleneck_blocks"] if i == 0 else 1)]
            if i < levels - 1:
                up.append(ConvTransposeNhwc(c, c // 2, 4, stride=2, padding=1))
        self.up_blocks = nn.Sequential(*up)
        self.out_block = nn.Sequential(Conv1x1(widths[0], 3 * 4), nn.Identity())

    def encode_latent(self, image: Tensor) -> Tensor:
        """[B, Hp, Wp, 3] in 0..1 -> continuous latents before quantisation, [B, Hp/4, Wp/4, c_latent] (unscaled)."""
        return self.down_blocks(self.in_block(space_to_depth(image, 2)))

    def encode(self, image: Tensor) -> Tensor:
        """[B, Hp, Wp, 3] in 0..1 -> token indices int64 [B, Hp/4, Wp/4] (for levels = 2)."""
        return self.vquantizer(self.encode_latent(image))

    def decode_latent(self, latent: Tensor) -> Tensor:
        """Unscaled latents [B, H, W, c_latent] -> image [B, 4H, 4W, 3], nominally 0..1, not clamped."""
        return depth_to_space(self.out_block(self.up_blocks(latent)), 2)

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Token indices [B, H, W] -> image [B, 4H, 4W, 3]; codebook rows are used raw."""
        return self.decode_latent(self.vquantizer.codebook(indices))

    def decode(self, latent: Tensor) -> Tensor:
        """Scaled latents (the official encode()'s unit) -> image; `scale_factor` is applied first."""
        return self.decode_latent(latent * self.scale_factor)
