"""Golden cases of the three networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from byt5 import ByT5Encoder, relative_buckets, tokenize
from golden_io import Recorder, write_case
from golden_weights import fill
from unet import UNet, layer_norm, timestep_embedding
from vqgan import VQGAN

TEXT_CONFIG = dict(
    d_model=24, d_kv=10, d_ff=52, num_layers=3, num_heads=3, vocab_size=384,
    relative_attention_num_buckets=32, relative_attention_max_distance=128, layer_norm_epsilon=1e-6,
)  # fmt: skip

# Attention at both levels, no CLIP; widths that are no multiple of 8, and a vocabulary that is no multiple of 4.
TWO_LEVELS = dict(
    c_in=12, c_out=10, num_labels=53, c_r=16, patch_size=2, c_cond=20, c_hidden=[20, 36], nhead=[2, 3], blocks=[2, 1],
    level_config=["CTA", "CTA"], byt5_embd=24, clip_embd=0, clip_image_embd=0, clip_seq_len=4, kernel_size=3,
)  # fmt: skip

# The official model in small: no attention at the finest level, skips at two levels, text and image embeddings.
THREE_LEVELS = dict(
    c_in=16, c_out=16, num_labels=64, c_r=64, patch_size=2, c_cond=24, c_hidden=[16, 32, 32], nhead=[-1, 4, 4],
    blocks=[2, 2, 1], level_config=["CT", "CTA", "CTA"], byt5_embd=28, clip_embd=20, clip_image_embd=18,
    clip_seq_len=4, kernel_size=3,
)  # fmt: skip

VQGAN_CONFIG = dict(levels=2, bottleneck_blocks=2, c_hidden=24, c_latent=4, codebook_size=53, scale_factor=0.3764)


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).float()


def integers(rng: np.random.Generator, below: int, *shape: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, below, shape))


def text_encoder_case() -> None:
    module = fill(ByT5Encoder(TEXT_CONFIG), 101)
    rng = np.random.default_rng(102)
    long_text = "a wide picture of many small shapes in every colour, side by side and above each other; " * 3
    texts = {1: "", 5: "a—", 40: "a large red cross above a small blue sun", 200: long_text}
    tensors: dict[str, Tensor] = {}
    for length, text in texts.items():
        ids = torch.tensor(tokenize(text, max_tokens=length))[None]
        assert ids.shape[1] == length, (length, ids.shape)
        tensors[f"length_{length}/ids"] = ids[0]
        recorder = Recorder(module, {f"encoder.block.{i}": [] for i in range(3)} if length == 40 else {})
        tensors[f"length_{length}/states"] = module(ids)[0]
        for name, value in recorder.close().items():
            tensors[f"length_40/{name.removeprefix('block/')}"] = value[0]
    # Three texts of one length at once: every one must come out as if it were alone.
    batch = integers(rng, 384, 3, 7)
    tensors |= {"batch/ids": batch, "batch/states": module(batch)}
    # Bucket of key - query = -400 … 400.
    tensors["buckets_from_minus_400"] = torch.cat(
        [relative_buckets(401, 32, 128)[400, :400], relative_buckets(401, 32, 128)[0]]
    )
    write_case("text-encoder", "text_encoder", module, tensors)


def _stages(module: UNet) -> dict[str, list[str]]:
    """The last module of every stage: its output is the stage's."""
    names = {"embedding": [], "clf": []}
    for group in ("down_blocks", "up_blocks"):
        for i, stage in enumerate(getattr(module, group)):
            names[f"{group}.{i}.{len(stage) - 1}"] = []
    return names


def _predict(module: UNet, tensors: dict[str, Tensor], prefix: str, tokens: Tensor, r: Tensor, **condition) -> None:
    weights = condition.pop("attn_weights", None)
    sequence = module.condition(**condition)
    features = layer_norm(module.features(tokens, r, sequence, attn_weights=weights))
    tensors[f"{prefix}/condition"] = sequence
    tensors[f"{prefix}/features"] = features
    tensors[f"{prefix}/logits"] = module.out_mapper[1](features)


def _record_stages(
    module: UNet, tensors: dict[str, Tensor], tokens: Tensor, r: Tensor, blocks: dict, **condition
) -> None:
    stages = _stages(module)
    recorder = Recorder(module, stages)
    module(tokens, r, **condition)
    for name, value in recorder.close().items():
        path = name.removeprefix("block/").removesuffix("/output")
        stage = ".".join(path.split(".")[:2]) if path in stages else path
        tensors[f"stages/{stage}"] = value
    tensors["stages/timestep_embedding"] = timestep_embedding(r, module.config["c_r"])
    recorder = Recorder(module, blocks)
    module(tokens, r, **condition)
    tensors |= recorder.close()


def two_level_case() -> None:
    module = fill(UNet(TWO_LEVELS), 201)
    rng = np.random.default_rng(202)
    tokens, r = integers(rng, 53, 3, 4, 12), torch.tensor([1.0, 0.5, 0.171875])
    byt5 = normal(rng, 3, 9, 24)
    tensors = {"tokens": tokens, "r": r, "byt5": byt5}
    _predict(module, tensors, "byt5", tokens, r, byt5=byt5)
    blocks = {
        "down_blocks.0.0": ["x"],
        "down_blocks.0.0.depthwise": ["x"],
        "down_blocks.0.0.channelwise.2": ["x"],
        "down_blocks.0.1": ["x", "timestep_embedding"],
        "down_blocks.0.2": ["x", "condition"],
        "down_blocks.1.0": ["x"],
        "up_blocks.0.3": ["x"],
        "up_blocks.1.0": ["x", "skip"],
        "up_blocks.1.0.depthwise": ["joined"],
        "up_blocks.1.3": ["x"],
    }
    _record_stages(module, tensors, tokens, r, blocks, byt5=byt5)
    # One image alone, the smallest grid, one condition token: the coarse level has a single position.
    small = {
        "small/tokens": integers(rng, 53, 1, 4, 4),
        "small/r": torch.tensor([0.875]),
        "small/byt5": normal(rng, 1, 1, 24),
    }
    tensors |= small
    _predict(module, tensors, "small", small["small/tokens"], small["small/r"], byt5=small["small/byt5"])
    # More condition tokens than image tokens.
    tensors["long/byt5"] = normal(rng, 1, 70, 24)
    _predict(module, tensors, "long", tokens[:1], r[:1], byt5=tensors["long/byt5"])
    write_case("unet-two-levels", "unet", module, tensors)


def three_level_case() -> None:
    module = fill(UNet(THREE_LEVELS), 301)
    rng = np.random.default_rng(302)
    tokens, r = integers(rng, 64, 3, 8, 16), torch.tensor([0.9375, 0.625, 0.03125])
    byt5, clip = normal(rng, 3, 6, 28), normal(rng, 3, 20)
    images = [normal(rng, 3, 18) for _ in range(3)]
    attn_weights = torch.tensor([1.2] * 10 + [0.4] * 4)
    tensors = {"tokens": tokens, "r": r, "byt5": byt5, "clip": clip, "attn_weights": attn_weights}
    tensors |= {f"clip_image_{i}": image for i, image in enumerate(images)}
    combinations = {
        "byt5": {},
        "byt5+clip": dict(clip=clip),
        "byt5+image": dict(clip_image=images[:1]),
        "byt5+clip+image": dict(clip=clip, clip_image=images[:1]),
        "byt5+clip+images": dict(clip=clip, clip_image=images),
        "reweighted": dict(clip=clip, clip_image=images[:1], attn_weights=attn_weights),
    }
    for name, extra in combinations.items():
        _predict(module, tensors, name, tokens, r, byt5=byt5, **extra)
    blocks = {
        "down_blocks.2.3": ["x", "condition"],
        "up_blocks.1.0": ["x", "skip"],
        "up_blocks.2.0": ["x", "skip"],
        "up_blocks.2.1": ["x", "timestep_embedding"],
    }
    _record_stages(module, tensors, tokens, r, blocks, byt5=byt5, clip=clip, clip_image=images[:1])
    tall = {
        "tall/tokens": integers(rng, 64, 1, 24, 8),
        "tall/r": torch.tensor([0.375]),
        "tall/byt5": normal(rng, 1, 13, 28),
    }
    tensors |= tall
    _predict(module, tensors, "tall", tall["tall/tokens"], tall["tall/r"], byt5=tall["tall/byt5"])
    write_case("unet-three-levels", "unet", module, tensors)


def pixel_margin(pixels: Tensor) -> Tensor:
    """Distance of 255·p from the nearest rounding boundary (k + ½); 0.5 where clamping hides it."""
    scaled = pixels.double() * 255
    distance = ((scaled - 0.5) - (scaled - 0.5).round()).abs()
    return torch.where((scaled < 0) | (scaled > 255), torch.maximum(distance, torch.tensor(0.5)), distance).float()


def to_bytes(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def vqgan_case() -> None:
    module = fill(VQGAN(VQGAN_CONFIG), 401)
    rng = np.random.default_rng(402)
    tensors: dict[str, Tensor] = {}
    codebook = module.vquantizer.codebook.weight.double()
    for name, (batch, height, width) in {"three": (3, 16, 24), "one": (1, 32, 8), "least": (1, 4, 4)}.items():
        image = integers(rng, 256, batch, height, width, 3).to(torch.uint8)
        recorder = Recorder(module, {"down_blocks.0": ["x"], "down_blocks.1": ["x"]} if name == "three" else {})
        latents = module.encode_latent(image.float() / 255)
        tensors |= recorder.close()
        nearest = torch.cdist(latents.double(), codebook).square().topk(2, largest=False).values
        tensors |= {
            f"encode/{name}/image": image,
            f"encode/{name}/latents": latents,
            f"encode/{name}/indices": module.vquantizer(latents),
            f"encode/{name}/margin": (nearest[..., 1] - nearest[..., 0]).float(),
        }
    # The last grid has positions without neighbours: replicate padding then repeats them on both sides.
    for name, (batch, height, width) in {
        "three": (3, 4, 6),
        "one": (1, 2, 9),
        "line": (1, 1, 3),
        "least": (1, 1, 1),
    }.items():
        indices = integers(rng, 53, batch, height, width)
        blocks = {"up_blocks.0": ["x"], "up_blocks.1": ["x"], "up_blocks.3": ["x"], "up_blocks.4": ["x"]}
        recorder = Recorder(module, blocks if name == "three" else {})
        pixels = module.decode_indices(indices)
        tensors |= recorder.close()
        tensors |= {
            f"decode/{name}/indices": indices,
            f"decode/{name}/pixels": pixels,
            f"decode/{name}/rgb": to_bytes(pixels),
            f"decode/{name}/margin": pixel_margin(pixels),
        }
    write_case("vqgan", "vqgan", module, tensors)


def network_cases() -> None:
    with torch.no_grad():
        text_encoder_case()
        two_level_case()
        three_level_case()
        vqgan_case()
