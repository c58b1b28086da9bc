"""Checks that the reference modules have the official tensors. Allocates nothing (meta device).

python selfcheck.py
"""

from __future__ import annotations

import torch

from byt5 import ByT5Encoder
from clip import ClipImage, ClipText
from official import BYT5_XL, CLIP_H_IMAGE, CLIP_H_TEXT, PRIOR_V1, UNET_V3, VQGAN_F4
from prior import PriorModel
from unet import UNet
from vqgan import VQGAN


def expect(name: str, module: torch.nn.Module, entries: int, parameters: int, some: dict[str, list[int]]) -> None:
    state = module.state_dict()
    counted = sum(p.numel() for p in module.parameters())
    assert len(state) == entries, f"{name}: {len(state)} entries, not {entries}"
    assert counted == parameters, f"{name}: {counted} parameters, not {parameters}"
    for key, shape in some.items():
        assert list(state[key].shape) == shape, f"{name}: {key} is {list(state[key].shape)}, not {shape}"
    print(f"{name}: {entries} entries, {parameters} parameters, as specified")


with torch.device("meta"):
    expect("unet", UNet(UNET_V3), 844, 1_008_350_592, {
        "in_mapper.0.weight": [8192, 256], "embedding.1.weight": [640, 1024, 1, 1],
        "byt5_mapper.weight": [1024, 2560], "clip_mapper.weight": [4096, 1024],
        "down_blocks.0.10.channelwise.2.gamma": [1, 1, 1, 2560], "down_blocks.0.11.mapper.weight": [1280, 64],
        "down_blocks.1.0.1.weight": [1280, 640, 2, 2], "down_blocks.1.48.attention.attn.in_proj_weight": [3840, 1280],
        "down_blocks.2.0.1.weight": [1280, 1280, 2, 2], "up_blocks.0.0.depthwise.weight": [1280, 1, 3, 3],
        "up_blocks.0.18.1.weight": [1280, 1280, 2, 2], "up_blocks.1.0.depthwise.weight": [1280, 2, 3, 3],
        "up_blocks.1.47.kv_mapper.1.weight": [1280, 1024], "up_blocks.1.48.1.weight": [1280, 640, 2, 2],
        "up_blocks.2.0.depthwise.weight": [640, 2, 3, 3], "up_blocks.2.10.channelwise.4.weight": [640, 2560],
        "clf.1.weight": [1024, 640, 1, 1], "out_mapper.1.weight": [8192, 256, 1, 1],
    })  # fmt: skip
    expect("vqgan", VQGAN(VQGAN_F4), 122, 18_406_894, {
        "in_block.1.weight": [192, 12, 1, 1], "down_blocks.1.weight": [384, 192, 4, 4],
        "down_blocks.3.0.weight": [4, 384, 1, 1], "down_blocks.3.1.num_batches_tracked": [],
        "vquantizer.codebook.weight": [8192, 4], "up_blocks.0.0.weight": [384, 4, 1, 1],
        "up_blocks.12.depthwise.1.weight": [384, 1, 3, 3], "up_blocks.13.weight": [384, 192, 4, 4],
        "up_blocks.14.gammas": [6], "out_block.0.weight": [12, 192, 1, 1],
    })  # fmt: skip
    expect("byt5", ByT5Encoder(BYT5_XL), 3 + 36 * 9, 2_614_091_264, {
        "shared.weight": [384, 2560], "encoder.block.35.layer.0.SelfAttention.q.weight": [2048, 2560],
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": [32, 32],
        "encoder.block.35.layer.1.DenseReluDense.wo.weight": [2560, 6720], "encoder.final_layer_norm.weight": [2560],
    })  # fmt: skip
    # open_clip's file holds both towers and logit_scale, which inference does not need.
    expect("clip text", ClipText(CLIP_H_TEXT), 5 + 24 * 12, 354_032_640, {
        "token_embedding.weight": [49408, 1024], "positional_embedding": [77, 1024],
        "transformer.resblocks.23.ln_1.weight": [1024], "transformer.resblocks.23.attn.in_proj_weight": [3072, 1024],
        "transformer.resblocks.23.attn.in_proj_bias": [3072], "transformer.resblocks.23.attn.out_proj.bias": [1024],
        "transformer.resblocks.23.mlp.c_fc.weight": [4096, 1024], "transformer.resblocks.23.mlp.c_proj.bias": [1024],
        "ln_final.bias": [1024], "text_projection": [1024, 1024],
    })  # fmt: skip
    expect("clip image", ClipImage(CLIP_H_IMAGE), 8 + 32 * 12, 632_076_800, {
        "visual.conv1.weight": [1280, 3, 14, 14], "visual.class_embedding": [1280],
        "visual.positional_embedding": [257, 1280], "visual.ln_pre.weight": [1280], "visual.ln_post.bias": [1280],
        "visual.transformer.resblocks.31.attn.in_proj_weight": [3840, 1280],
        "visual.transformer.resblocks.31.ln_2.bias": [1280],
        "visual.transformer.resblocks.31.mlp.c_proj.weight": [1280, 5120], "visual.proj": [1280, 1024],
    })  # fmt: skip
    expect("prior", PriorModel(PRIOR_V1), 292, 899_770_624, {
        "blocks.0.weight": [1280, 1024], "blocks.1.0.weight": [5120, 2368], "blocks.1.1.bias": [5120],
        "blocks.48.3.weight": [1280, 5120], "blocks.48.4.weight": [1280], "blocks.49.weight": [1024, 1280],
        "blocks.49.bias": [1024],
    })  # fmt: skip
