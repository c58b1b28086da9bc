"""Checks what the golden files rest on. Needs nothing but them and, where installed, transformers and diffusers.

python scripts/reference/golden_check.py
"""

from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from byt5 import ByT5Encoder, tokenize
from golden_check_conditions import check_conditions, sensitive_cases
from golden_io import ROOT
from golden_random import check_known_answers
from model_folder import load_component, load_model, read_json
from philox import initial_noise, renoise_uniform
from sampler import Conditions, SamplerOptions, sample
from unet import AttnBlock, DownConv, GlobalResponseNorm, ResBlock, UNet, UpConv, timestep_embedding
from vqgan import VQGAN, depth_to_space, layer_norm, space_to_depth


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


def _report(what: str, value: float, limit: float) -> None:
    print(f"{what}: {value:.1e}")
    if not value <= limit:
        raise AssertionError(f"{what}: {value} > {limit}")


# --- every weight counts ----------------------------------------------------------------------------------------------


def _sensitivity(module: nn.Module, run: Callable[[], Tensor]) -> float:
    """Least effect on the outputs of disturbing one tensor by 20 % noise, over all tensors, in units of their rms."""
    expected = run()
    least = float("inf")
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        kept = value.clone()
        value += 0.2 * kept.square().mean().sqrt() * torch.randn(value.shape, generator=generator)
        effect = float((run() - expected).abs().max() / expected.square().mean().sqrt())
        value.copy_(kept)
        if effect < 1e-3:
            raise AssertionError(f"{name} hardly matters: {effect:.1e}")
        least = min(least, effect)
    return least


def check_sensitivity() -> None:
    text = load_component(ROOT / "text-encoder", "text_encoder")
    io = load_file(ROOT / "text-encoder/text_encoder/io.safetensors")
    ids = io["length_200/ids"][None].long()
    print(f"text encoder, least effect of a tensor: {_sensitivity(text, lambda: text(ids)):.1e}")
    for case, extra in (("unet-two-levels", ()), ("unet-three-levels", ("clip", "clip_image_0"))):
        unet = load_component(ROOT / case, "unet")
        io = load_file(ROOT / case / "unet/io.safetensors")
        given = {name.removesuffix("_0"): io[name] for name in extra}
        run = lambda: unet(io["tokens"].long(), io["r"], io["byt5"], **given)  # noqa: E731
        print(f"{case}, least effect of a tensor: {_sensitivity(unet, run):.1e}")
    vqgan = load_component(ROOT / "vqgan", "vqgan")
    io = load_file(ROOT / "vqgan/vqgan/io.safetensors")
    image = io["encode/three/image"].float() / 255

    def both() -> Tensor:
        pixels = vqgan.decode_indices(io["decode/three/indices"].long())
        return torch.cat([vqgan.encode_latent(image).flatten(), pixels.flatten()])

    print(f"vqgan, least effect of a tensor: {_sensitivity(vqgan, both):.1e}")
    for name, module, run_on in sensitive_cases():
        print(f"{name}, least effect of a tensor: {_sensitivity(module, lambda: run_on(module)):.1e}")


# --- the reference's blocks against PyTorch's own modules, NCHW, in double precision ----------------------------------


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _res_block(block: ResBlock, x: Tensor, skip: Tensor | None) -> Tensor:
    """From the text of the specification: every output channel of the grouped convolution by itself."""
    joined = x if skip is None else torch.cat([x, skip], -1)
    per_group = block.depthwise.weight.shape[1]
    planes = [
        F.conv2d(
            _nchw(joined[..., per_group * g : per_group * (g + 1)]),
            block.depthwise.weight[g : g + 1],
            block.depthwise.bias[g : g + 1],
            padding=1,
        )
        for g in range(x.shape[-1])
    ]
    d = torch.cat(planes, 1).permute(0, 2, 3, 1)
    n = (d - d.mean(-1, keepdim=True)) / (d.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    h = n @ block.channelwise[0].weight.T + block.channelwise[0].bias
    g = 0.5 * h * (1 + torch.erf(h / 2**0.5))
    grn: GlobalResponseNorm = block.channelwise[2]
    norms = torch.linalg.vector_norm(g, dim=(1, 2), keepdim=True)
    g = grn.gamma * (g * norms / (norms.mean(-1, keepdim=True) + 1e-6)) + grn.beta + g
    return x + g @ block.channelwise[4].weight.T + block.channelwise[4].bias


def _attention(block: AttnBlock, x: Tensor, condition: Tensor) -> Tensor:
    own = block.attention.attn
    c = x.shape[-1]
    module = nn.MultiheadAttention(c, own.heads, batch_first=True).double()
    module.load_state_dict(own.state_dict())
    image = layer_norm(x).flatten(1, 2)
    keys = torch.cat([image, block.kv_mapper(condition)], 1)
    return x + module(image, keys, keys, need_weights=False)[0].view_as(x)


def check_blocks() -> None:
    io = load_file(ROOT / "unet-two-levels/unet/io.safetensors")
    unet: UNet = load_component(ROOT / "unet-two-levels", "unet").double()
    double = {name: value.double() for name, value in io.items() if value.is_floating_point()}
    worst = 0.0
    parts = dict(unet.named_modules())
    for path in ("down_blocks.0.0", "up_blocks.1.0"):
        x, skip = double[f"block/{path}/x"], double.get(f"block/{path}/skip")
        worst = max(worst, _difference(_res_block(parts[path], x, skip), io[f"block/{path}/output"]))
    path = "down_blocks.0.2"
    found = _attention(parts[path], double[f"block/{path}/x"], double[f"block/{path}/condition"])
    worst = max(worst, _difference(found, io[f"block/{path}/output"]))
    for path, kind in (("down_blocks.1.0", DownConv), ("up_blocks.0.3", UpConv)):
        own = parts[path][1]
        x = _nchw(layer_norm(double[f"block/{path}/x"]))
        found = nn.Conv2d.forward(own, x) if kind is DownConv else nn.ConvTranspose2d.forward(own, x)
        worst = max(worst, _difference(found.permute(0, 2, 3, 1), io[f"block/{path}/output"]))
    path = "down_blocks.0.1"
    a, b = parts[path].mapper(double[f"block/{path}/timestep_embedding"]).chunk(2, -1)
    found = double[f"block/{path}/x"] * (1 + a[:, None, None]) + b[:, None, None]
    worst = max(worst, _difference(found, io[f"block/{path}/output"]))
    _report("blocks against torch.nn in double precision", worst, 1e-5)

    x = torch.randn(2, 4, 6, 8)
    worst = _difference(_nchw(space_to_depth(x, 2)), F.pixel_unshuffle(_nchw(x), 2))
    worst = max(worst, _difference(_nchw(depth_to_space(x, 2)), F.pixel_shuffle(_nchw(x), 2)))
    _report("order of pixel shuffles", worst, 0.0)


def check_double() -> None:
    """How much fp32 costs: the logits of a network that computes in double precision from the same fp32 numbers."""
    for case in ("unet-two-levels", "unet-three-levels"):
        unet = load_component(ROOT / case, "unet").double()
        io = load_file(ROOT / case / "unet/io.safetensors")
        for module in unet.modules():
            if type(module).__name__ == "TimestepBlock":
                module.register_forward_pre_hook(lambda _, given: tuple(value.double() for value in given))
        logits = unet(io["tokens"].long(), io["r"], io["byt5"].double())
        _report(f"{case}: fp32 against double precision", _difference(logits, io["byt5/logits"]), 1e-4)
    unet_io = load_file(ROOT / "unet-three-levels/unet/io.safetensors")
    r, c_r = unet_io["r"], 64
    half = c_r // 2
    arguments = torch.arange(half).float() * -(
        torch.log(torch.tensor(10000.0, dtype=torch.float64)).item() / (half - 1)
    )
    exact = (r * 10000)[:, None] * arguments.double().exp().float()[None]
    best = torch.cat([exact.double().sin(), exact.double().cos()], 1)
    _report(
        "timestep embedding against correctly rounded exp, sin, cos",
        _difference(best, timestep_embedding(r, c_r)),
        1.2e-3,
    )


# --- the sampler, against scripts/reference/{philox,sampler}.py, which was written separately -------------------------


def check_sampler() -> None:
    text, unet, _ = load_model(ROOT / "loop")
    io = load_file(ROOT / "loop/io.safetensors")
    for name, run in read_json(ROOT / "loop/runs.json").items():
        options = SamplerOptions(
            steps=run["steps"], renoise_steps=run["renoiseSteps"], conditional_steps=run["conditionalSteps"],
            guidance=tuple(run["guidanceScale"]), temperature=tuple(run["temperature"]), mode=run["sampler"],
            typical_mass=run["typicalMass"] or None,
        )  # fmt: skip
        batch, grid = len(run["seeds"]), (run["height"], run["width"])
        prompt, negative = (
            Conditions(text(torch.tensor(tokenize(run[key]))[None]).expand(batch, -1, -1))
            for key in ("prompt", "negativePrompt")
        )
        init = io["init_tokens"].long().expand(batch, *grid) if run["initTokens"] else None
        last, drawn = sample(unet, prompt, negative, grid, run["seeds"], options, init_tokens=init)
        different = int((torch.stack(drawn) != io[f"{name}/drawn"]).sum()) + int(
            (last != io[f"{name}/tokens"][-1]).sum()
        )
        _report(f"loop {name}: tokens that differ from the reference sampler's", different, 0)
    numbers = load_file(ROOT / "sampler/io.safetensors")
    for row, seed in enumerate(numbers["seeds"].tolist()):
        assert (initial_noise(seed, 96, 53) == numbers["initial/tokens_53"][row].flatten().numpy()).all()
        assert (renoise_uniform(seed, 96, 1) == numbers["renoise/uniforms_step_1"][row].numpy()).all()


# --- published implementations ----------------------------------------------------------------------------------------


def check_transformers() -> None:
    try:
        from transformers import T5Config, T5EncoderModel
    except ImportError:
        print("transformers is not installed: the text encoder was not compared")
        return
    own: ByT5Encoder = load_component(ROOT / "text-encoder", "text_encoder")  # type: ignore[assignment]
    config = T5Config(**own.config, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    theirs = T5EncoderModel(config).eval()
    missing, unexpected = theirs.load_state_dict(own.state_dict(), strict=False)
    assert not unexpected and set(missing) <= {"encoder.embed_tokens.weight"}, (missing, unexpected)
    theirs.encoder.embed_tokens = theirs.shared
    io = load_file(ROOT / "text-encoder/text_encoder/io.safetensors")
    for length in (1, 5, 40, 200):
        found = theirs(io[f"length_{length}/ids"][None].long()).last_hidden_state[0]
        _report(
            f"transformers' T5EncoderModel, {length} tokens", _difference(found, io[f"length_{length}/states"]), 1e-4
        )


def check_diffusers() -> None:
    try:
        from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
    except ImportError:
        try:
            from diffusers.pipelines.wuerstchen.modeling_paella_vq_model import PaellaVQModel
        except ImportError:
            print("diffusers is not installed: the VQGAN was not compared")
            return
    own: VQGAN = load_component(ROOT / "vqgan", "vqgan")  # type: ignore[assignment]
    c = own.config
    theirs = PaellaVQModel(
        levels=c["levels"], bottleneck_blocks=c["bottleneck_blocks"], embed_dim=c["c_hidden"],
        latent_channels=c["c_latent"], num_vq_embeddings=c["codebook_size"], scale_factor=c["scale_factor"],
    ).eval()  # fmt: skip
    renamed = {name.replace("vquantizer.codebook", "vquantizer.embedding"): v for name, v in own.state_dict().items()}
    theirs.load_state_dict(renamed)
    io = load_file(ROOT / "vqgan/vqgan/io.safetensors")
    for name in ("three", "one", "least"):
        image = _nchw(io[f"encode/{name}/image"].float() / 255)
        latents = theirs.encode(image).latents
        indices = theirs.vquantizer(latents)[2][2].view(io[f"encode/{name}/indices"].shape)
        _report(
            f"diffusers' PaellaVQModel, encode {name}", _difference(_nchw(io[f"encode/{name}/latents"]), latents), 1e-5
        )
        _report(f"diffusers' PaellaVQModel, indices {name}", _difference(indices, io[f"encode/{name}/indices"]), 0)
    for name in ("three", "one", "line", "least"):
        codes = own.vquantizer.codebook(io[f"decode/{name}/indices"].long())
        pixels = theirs.out_block(theirs.up_blocks(_nchw(codes)))
        _report(
            f"diffusers' PaellaVQModel, decode {name}", _difference(_nchw(io[f"decode/{name}/pixels"]), pixels), 1e-5
        )


if __name__ == "__main__":
    check_known_answers()
    print("Philox gives Random123's three known answers")
    with torch.no_grad():
        check_blocks()
        check_double()
        check_sampler()
        check_sensitivity()
        check_transformers()
        check_diffusers()
        check_conditions(_report)
