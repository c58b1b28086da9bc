"""Stable Diffusion 1.5, its few-step kin, and aMUSEd with random weights, for measurements of speed.

The configurations are those that the models' authors published (config.json of each component). Values are what
PyTorch initialises with; speed does not depend on them as long as they are finite, which the peers check. Instead of
CLIP's table of merges, which would have to be downloaded, the tokenizer knows single bytes; the text encoder gets its
77 tokens anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AmusedPipeline,
    AmusedScheduler,
    AutoencoderKL,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UVit2DModel,
    VQModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

# Noise schedule of Stable Diffusion, all versions here.
NOISE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "prediction_type": "epsilon",
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """hub: repository of the trained weights. guidance: its authors' scale. double: guidance costs a second pass."""

    name: str
    hub: str
    guidance: float
    double: bool
    scheduler: str


MODELS = {
    "sd15": Model("stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5", 7.5, True, "dpm++"),
    "lcm": Model("lcm-dreamshaper-v7", "SimianLuo/LCM_Dreamshaper_v7", 8.0, False, "lcm"),
    "sd-turbo": Model("sd-turbo", "stabilityai/sd-turbo", 0.0, False, "euler-trailing"),
    "sdxl-turbo": Model("sdxl-turbo", "stabilityai/sdxl-turbo", 0.0, False, "euler-trailing"),
    "amused-256": Model("amused-256", "amused/amused-256", 10.0, True, "amused"),
    "amused-512": Model("amused-512", "amused/amused-512", 10.0, True, "amused"),
}


def build(key: str, dtype: torch.dtype) -> DiffusionPipeline:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # made in it, as twice the memory of the largest of them is a lot
    try:
        return {
            "sd15": lambda: stable_diffusion(unet_15(), clip_l(CLIPTextModel)),
            "lcm": lambda: stable_diffusion(unet_15(time_cond_proj_dim=256), clip_l(CLIPTextModel)),
            "sd-turbo": lambda: stable_diffusion(unet_21(), clip_h()),
            "sdxl-turbo": stable_diffusion_xl,
            "amused-256": lambda: amused(sample_size=16, resample=False),
            "amused-512": lambda: amused(sample_size=32, resample=True),
        }[key]()
    finally:
        torch.set_default_dtype(before)


def stable_diffusion(unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae(scaling_factor=0.18215), text_encoder=text_encoder, tokenizer=byte_tokenizer(), unet=unet,
        scheduler=DPMSolverMultistepScheduler(**NOISE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10], attention_head_dim=[5, 10, 20], use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    )  # fmt: skip
    big_g = CLIPTextConfig(
        vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
        max_position_embeddings=77, hidden_act="gelu", projection_dim=1280,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025), text_encoder=clip_l(CLIPTextModel), tokenizer=byte_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(big_g).eval(), tokenizer_2=byte_tokenizer(), unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(**NOISE, timestep_spacing="trailing"), add_watermarker=False,
    )  # fmt: skip


def unet_15(**changes: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8, **changes).eval()


def unet_21() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64, cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True
    ).eval()


def vae(scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=scaling_factor, force_upcast=False,
    ).eval()  # fmt: skip


def clip_l(kind: type, **changes: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, **changes,
    )  # fmt: skip
    return kind(config).eval()


def clip_h() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16,
        max_position_embeddings=77, hidden_act="gelu", projection_dim=512,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def amused(sample_size: int, resample: bool) -> AmusedPipeline:
    vqvae = VQModel(
        block_out_channels=(128, 256, 256, 512, 768), layers_per_block=2, latent_channels=64, num_vq_embeddings=8192,
        down_block_types=("DownEncoderBlock2D",) * 5, up_block_types=("UpDecoderBlock2D",) * 5, sample_size=32,
        mid_block_add_attention=False, lookup_from_codebook=True, force_upcast=True,
    )  # fmt: skip
    transformer = UVit2DModel(
        hidden_size=1024, use_bias=False, hidden_dropout=0.0, cond_embed_dim=768, micro_cond_encode_dim=256,
        micro_cond_embed_dim=1280, encoder_hidden_size=768, vocab_size=8256, codebook_size=8192, in_channels=768,
        block_out_channels=768, num_res_blocks=3, downsample=resample, upsample=resample, block_num_heads=12,
        num_hidden_layers=22, num_attention_heads=16, attention_dropout=0.0, intermediate_size=2816,
        layer_norm_eps=1e-6, ln_elementwise_affine=True, sample_size=sample_size,
    )  # fmt: skip
    return AmusedPipeline(
        vqvae=vqvae.eval(), tokenizer=byte_tokenizer(), text_encoder=clip_l(CLIPTextModelWithProjection),
        transformer=transformer.eval(), scheduler=AmusedScheduler(mask_token_id=8255),
    )  # fmt: skip


def byte_tokenizer() -> CLIPTokenizer:
    """Bytes as GPT-2 writes them, each also as the end of a word, and CLIP's two marks."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77, pad_token="<|endoftext|>"
    )


SCHEDULERS = {
    "dpm++": lambda config: DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++"),
    "euler": EulerDiscreteScheduler.from_config,
    "euler-trailing": lambda config: EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing"),
    "lcm": LCMScheduler.from_config,
}
