"""Checks what the goldens of golden_conditions.py rest on; golden_check.py runs them with the others."""

from __future__ import annotations

import copy
from typing import Callable

import mpmath
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import philox
import prior
from attention_weights import LiteralAttention, with_literal_weights
from clip import ClipImage, ClipText
from golden_io import ROOT
from model_folder import load_component
from prior import PriorModel
from unet import UNet, layer_norm, timestep_embedding

Report = Callable[[str, float, float], None]


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


def check_normal_numbers(report: Report) -> None:
    """The formula with 40 digits; then the moments of a million numbers, within 5 standard deviations."""
    io = load_file(ROOT / "normal/io.safetensors")
    wrong = 0
    with mpmath.workdps(40):
        tau = mpmath.mpf(float(2 * np.pi))
        for words, values in zip(io["pairs/words"].view(-1, 2).tolist(), io["pairs/values"].view(-1, 2).numpy()):
            u, v = ((mpmath.mpf(2 * w + 1) / 2**33) for w in words)
            angle = mpmath.mpf(float(tau * v))  # a product of doubles, rounded once
            radius = mpmath.sqrt(-2 * mpmath.log(u))
            exact = (radius * mpmath.cos(angle), radius * mpmath.sin(angle))
            wrong += sum(np.float32(float(e)) != f for e, f in zip(exact, values))
    report("normal numbers against 40 digits: of 512 pairs differ", wrong, 0)
    for i, seed in enumerate(io["seeds"].tolist()):
        for j, step in enumerate(io["steps"].tolist()):
            found = philox.normal(seed, io["elements"].shape[-1], step)
            wrong += int((found != io["elements"][i, j].numpy()).sum())
            first = philox.normal_of_words(io["first_block/words"][i, j].numpy().astype(np.uint64))
            wrong += int((found[:4] != first).sum())
    report("normal numbers of two implementations: differ", wrong, 0)
    many = np.concatenate([philox.normal(seed, 2**16, 1) for seed in range(16)]).astype(np.float64)
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        deviations = abs((many**power).mean() - mean) / (variance / many.size) ** 0.5
        report(f"moment {power} of normal numbers, in standard deviations from its expectation", deviations, 5.0)
    report("correlation of neighbours, likewise", abs((many[::2] * many[1::2]).mean()) * (many.size / 2) ** 0.5, 5.0)


# --- CLIP -------------------------------------------------------------------------------------------------------------


def _double(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).double()


def check_clip(report: Report) -> None:
    text: ClipText = load_component(ROOT / "clip-text", "clip_text")  # type: ignore[assignment]
    io = load_file(ROOT / "clip-text/clip_text/io.safetensors")
    precise = _double(text)
    worst = 0.0
    for length in (2, 9, 40, 77):
        ids = io[f"length_{length}/ids"][None].long()
        padded = F.pad(ids, (0, 77 - length))
        worst = max(worst, _difference(text(padded)[0], io[f"length_{length}/embedding"]))
        report(f"CLIP text, {length} ids: fp32 against double", _difference(precise(ids), text(ids)), 1e-5)
    report("CLIP text: padding after the end changes", worst, 5e-6)
    first = io["two_ends/ids"][None, :7].long()
    report("CLIP text: ids after the first end change", _difference(text(first)[0], io["two_ends/embedding"]), 5e-6)

    image: ClipImage = load_component(ROOT / "clip-image", "clip_image")  # type: ignore[assignment]
    io = load_file(ROOT / "clip-image/clip_image/io.safetensors")
    precise = _double(image)
    found = precise.visual(image.normalise(io["batch/pixels"]).double())
    report("CLIP image: fp32 against double", _difference(found, io["batch/embedding"]), 1e-5)


def _renamed(state: dict[str, Tensor], ours: str, theirs: str, names: dict[str, str]) -> dict[str, Tensor]:
    """open_clip's names to transformers': packed projections are split, [in, out] matrices transposed."""
    result = {}
    leaves = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
              "attn.out_proj": "self_attn.out_proj"}  # fmt: skip
    for name, value in state.items():
        if name.startswith(f"{ours}.resblocks."):
            number, leaf = name.removeprefix(f"{ours}.resblocks.").split(".", 1)
            layer = f"{theirs}.encoder.layers.{number}"
            if leaf.startswith("attn.in_proj_"):
                for kind, part in zip("qkv", value.chunk(3)):
                    result[f"{layer}.self_attn.{kind}_proj.{leaf.removeprefix('attn.in_proj_')}"] = part
            else:
                path, kind = leaf.rsplit(".", 1)
                result[f"{layer}.{leaves[path]}.{kind}"] = value
        elif names[name].endswith("projection.weight"):
            result[names[name]] = value.T
        else:
            result[names[name]] = value
    return result


def check_clip_transformers(report: Report) -> None:
    try:
        from transformers import (
            CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection,
        )  # fmt: skip
    except ImportError:
        print("transformers is not installed: CLIP was not compared")
        return
    for case, component in (("clip-text", "clip_text"), ("clip-image", "clip_image")):
        own = load_component(ROOT / case, component)
        io = load_file(ROOT / case / component / "io.safetensors")
        c = own.config
        common = dict(
            hidden_size=c["width"], intermediate_size=c["mlp_width"], num_hidden_layers=c["layers"],
            num_attention_heads=c["heads"], projection_dim=c["embed_dim"], hidden_act="gelu", layer_norm_eps=1e-5,
        )  # fmt: skip
        if component == "clip_text":
            config = CLIPTextConfig(
                **common, vocab_size=c["vocab_size"], max_position_embeddings=c["context_length"],
                bos_token_id=c["vocab_size"] - 2, eos_token_id=c["vocab_size"] - 1, pad_token_id=0,
            )  # fmt: skip
            theirs: nn.Module = CLIPTextModelWithProjection(config).eval()
            names = {
                "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
                "positional_embedding": "text_model.embeddings.position_embedding.weight",
                "ln_final.weight": "text_model.final_layer_norm.weight",
                "ln_final.bias": "text_model.final_layer_norm.bias",
                "text_projection": "text_projection.weight",
            }
            theirs.load_state_dict(_renamed(own.state_dict(), "transformer", "text_model", names))
            for name in ("length_2", "length_9", "length_40", "length_77", "two_ends", "batch"):
                ids = io[f"{name}/ids"].long()
                found = theirs(ids.view(-1, ids.shape[-1])).text_embeds.view_as(io[f"{name}/embedding"])
                difference = _difference(found, io[f"{name}/embedding"])
                report(f"transformers' CLIPTextModelWithProjection, {name}", difference, 1e-5)
        else:
            config = CLIPVisionConfig(**common, image_size=c["image_size"], patch_size=c["patch_size"])
            theirs = CLIPVisionModelWithProjection(config).eval()
            names = {
                "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
                "visual.class_embedding": "vision_model.embeddings.class_embedding",
                "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
                "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
                "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
                "visual.ln_post.weight": "vision_model.post_layernorm.weight",
                "visual.ln_post.bias": "vision_model.post_layernorm.bias",
                "visual.proj": "visual_projection.weight",
            }
            theirs.load_state_dict(_renamed(own.state_dict(), "visual.transformer", "vision_model", names))
            mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
            for name in ("batch", "one"):
                pixels = io[f"{name}/pixels"].permute(0, 3, 1, 2).double() / 255
                x = (pixels - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]
                difference = _difference(theirs(x.float()).image_embeds, io[f"{name}/embedding"])
                report(f"transformers' CLIPVisionModelWithProjection, {name}", difference, 1e-5)


# --- the prior --------------------------------------------------------------------------------------------------------


def _prior_by_parts(state: dict[str, Tensor], config: dict, x: Tensor, c: Tensor, r: Tensor) -> Tensor:
    """From the text of the specification, with the first matrix split into the parts for h, c and r."""

    def normalised(v: Tensor, name: str) -> Tensor:
        v = (v - v.mean(-1, keepdim=True)) / (v.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return v * state[f"{name}.weight"] + state[f"{name}.bias"]

    width, last = config["c_hidden"], config["num_layers"] + 1
    h = x @ state["blocks.0.weight"].T + state["blocks.0.bias"]
    for i in range(1, last):
        of_h, of_c, of_r = state[f"blocks.{i}.0.weight"].split([width, c.shape[-1], r.shape[-1]], 1)
        u = normalised(h @ of_h.T + c @ of_c.T + r @ of_r.T, f"blocks.{i}.1")
        u = u * 0.5 * (1 + torch.erf(u / 2**0.5))
        h = h + normalised(u @ state[f"blocks.{i}.3.weight"].T, f"blocks.{i}.4")
    return h @ state[f"blocks.{last}.weight"].T + state[f"blocks.{last}.bias"]


def check_prior(report: Report) -> None:
    model: PriorModel = load_component(ROOT / "prior", "prior")  # type: ignore[assignment]
    precise = _double(model)
    io = load_file(ROOT / "prior/prior/io.safetensors")
    r = timestep_embedding(io["r"], model.config["c_r"]).double()
    found = _prior_by_parts(precise.state_dict(), model.config, io["x"].double(), io["c"].double(), r)
    report("prior against its formulas in double precision", _difference(found, io["eps"]), 1e-5)
    c, noise = io["sample/c"].double(), io["sample/noise"].double()
    for steps in (5, 60):
        for mode in ("ddpm", "ddim"):
            states = io[f"sample/{mode}_{steps}/x"]
            exact = torch.stack(prior.sample(precise, c, noise, steps, mode))  # type: ignore[arg-type]
            error = (exact - states).norm() / exact.norm()
            print(f"prior, {mode}, {steps} steps: rms of the last x {float(states[-1].square().mean().sqrt()):.2f}")
            report(f"prior, {mode}, {steps} steps: fp32 against double, relative", float(error), 1e-4)
    wrong = sum(
        int((torch.from_numpy(philox.normal(seed, noise.shape[-1], step)) != io["sample/noise"][step, row]).sum())
        for row, seed in enumerate(io["sample/seeds"].tolist())
        for step in range(len(noise))
    )
    report("prior: noise that is not of docs/randomness.md", wrong, 0)

    # With the true noise as prediction, DDIM returns the signal that it belongs to, as noisy as the last time is.
    class Oracle(nn.Module):
        def forward(self, x: Tensor, c: Tensor, r: Tensor) -> Tensor:
            t = min(prior.times(steps), key=lambda t: abs(t - float(r[0])))
            return (x - prior.signal(t) ** 0.5 * c) / (1 - prior.signal(t)) ** 0.5

    for steps in (5, 60):
        last = prior.sample(Oracle(), c, noise, steps, "ddim", guidance=1.0)[-1]  # type: ignore[arg-type]
        start = prior.signal(prior.times(steps)[0])
        eps = (noise[0] - start**0.5 * c) / (1 - start) ** 0.5
        expected = 0.9999**0.5 * c + 0.0001**0.5 * eps
        report(f"DDIM, {steps} steps, with a perfect prediction", _difference(last, expected), 1e-9)


def check_prior_diffusers(report: Report) -> None:
    """Wuerstchen's scheduler is the same DDPM: schedule, mean and deviation of single steps."""
    try:
        from diffusers import DDPMWuerstchenScheduler
    except ImportError:
        print("diffusers is not installed: DDPM was not compared")
        return
    scheduler = DDPMWuerstchenScheduler(scaler=1.0, s=prior.COSINE_OFFSET)
    generator = torch.Generator().manual_seed(1)
    x, eps = torch.randn(2, 32, generator=generator), torch.randn(2, 32, generator=generator)
    for steps in (5, 60):
        # Theirs has steps + 2 times here, the first of which (t = 1) the prior leaves out.
        scheduler.set_timesteps(steps + 1)
        moments, worst = prior.times(steps), 0.0
        for i in range(steps):
            t = scheduler.timesteps[i + 1].expand(2)
            found = scheduler.step(eps, t, x, generator=torch.Generator().manual_seed(i)).prev_sample
            noise = torch.randn(2, 32, generator=torch.Generator().manual_seed(i))
            of_x, of_eps, of_noise = prior.coefficients("ddpm", moments[i], moments[i + 1])
            ours = of_x * x + of_eps * eps + of_noise * noise
            worst = max(worst, _difference(ours, found) / float(found.abs().max()))
        report(f"diffusers' DDPMWuerstchenScheduler, {steps} steps, relative", worst, 2e-4)


# --- conditions of the U-Net ------------------------------------------------------------------------------------------


def _with_torch(own: LiteralAttention, image: Tensor, condition: Tensor, weights: Tensor) -> Tensor:
    """Probabilities from torch.nn.MultiheadAttention, weighted; values and output product by hand."""
    c = image.shape[-1]
    module = nn.MultiheadAttention(c, own.heads, batch_first=True).double()
    module.load_state_dict(own.state_dict())
    keys = torch.cat([image, condition], 1)
    probabilities = module(image, keys, keys, need_weights=True, average_attn_weights=False)[1] * weights
    values = keys @ module.in_proj_weight[2 * c :].T + module.in_proj_bias[2 * c :]
    heads = [p @ v for p, v in zip(probabilities.unbind(1), values.chunk(own.heads, -1))]
    return torch.cat(heads, -1) @ module.out_proj.weight.T + module.out_proj.bias


def check_unet_conditions(report: Report) -> None:
    unet: UNet = load_component(ROOT / "unet-three-levels", "unet").requires_grad_(False)  # type: ignore[assignment]
    io = load_file(ROOT / "unet-conditions/io.safetensors")
    tokens, r = io["tokens"].long(), io["r"]
    for name in ("weights_as_in_4.3", "weights_short", "weights_every_key"):
        condition, weights = io[f"{name}/condition"], io[f"{name}/attn_weights"]
        folded = layer_norm(unet.features(tokens, r, condition, attn_weights=weights))
        report(f"{name}: values scaled instead of probabilities", _difference(folded, io[f"{name}/features"]), 1e-4)
        without = layer_norm(unet.features(tokens, r, condition))
        effect = _difference(without, io[f"{name}/features"])
        print(f"{name}: the weights change a feature by {effect:.1e}")
        if effect < 1e-2:
            raise AssertionError(f"{name}: the weights hardly matter")
    own: LiteralAttention = with_literal_weights(unet).double().down_blocks[1][3].attention.attn  # type: ignore
    generator = torch.Generator().manual_seed(2)
    c = own.in_proj_weight.shape[1]
    image, condition = (torch.randn(2, n, c, generator=generator).double() for n in (8, 5))
    weights = torch.rand(13, generator=generator).double() * 2
    difference = _difference(own(image, condition, None, weights), _with_torch(own, image, condition, weights))
    report("weighted attention against torch.nn", difference, 1e-12)


def check_conditions(report: Report) -> None:
    check_normal_numbers(report)
    check_clip(report)
    check_prior(report)
    check_unet_conditions(report)
    check_clip_transformers(report)
    check_prior_diffusers(report)


def sensitive_cases() -> list[tuple[str, nn.Module, Callable[[nn.Module], Tensor]]]:
    """What golden_check disturbs tensor by tensor."""
    text = load_file(ROOT / "clip-text/clip_text/io.safetensors")
    image = load_file(ROOT / "clip-image/clip_image/io.safetensors")
    of_prior = load_file(ROOT / "prior/prior/io.safetensors")
    return [
        ("CLIP text", load_component(ROOT / "clip-text", "clip_text"), lambda m: m(text["length_77/ids"][None].long())),
        ("CLIP image", load_component(ROOT / "clip-image", "clip_image"), lambda m: m(image["batch/pixels"])),
        ("prior", load_component(ROOT / "prior", "prior"), lambda m: m(of_prior["x"], of_prior["c"], of_prior["r"])),
    ]
