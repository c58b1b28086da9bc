"""Writes test/golden/torch/: small checkpoints as PyTorch itself writes them, and pickles that must be refused.

python scripts/reference/make_torch_goldens.py     # needs torch, numpy, safetensors (written with torch 2.15, numpy 2.4)
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "test" / "golden"
TARGET = GOLDEN / "torch"


def save(value: object, path: Path, legacy: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)


def save_big_endian(value: object, path: Path, legacy: bool) -> None:
    """As a big-endian machine would mark it; the values do not matter, because the file is refused."""
    order = sys.byteorder
    sys.byteorder = "big"  # type: ignore[misc]
    try:
        save(value, path, legacy)
    finally:
        sys.byteorder = order  # type: ignore[misc]


def official_layouts() -> None:
    """The weights of test/golden/loop in the layouts of the published files."""
    folder = TARGET / "official"
    load = lambda name: load_file(GOLDEN / "loop" / name / "model.safetensors")  # noqa: E731

    unet = OrderedDict(load("unet"))
    save(unet, folder / "paella_v3.pt")  # flat
    shutil.copy(GOLDEN / "loop" / "unet" / "config.json", folder / "paella_v3.json")

    # Wrapped, with what training adds.
    vqgan = OrderedDict(load("vqgan"))
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter], lr=1e-4)
    parameter.sum().backward()
    optimizer.step()
    save(
        {
            "iter": 7,
            "wandb_run_id": "x1",
            "state_dict": vqgan,
            "optimizer_state_dict": optimizer.state_dict(),
            "metrics": {"loss": np.float64(0.5), "steps": [np.int64(3)], "flags": {1, 2}},
            "scheduler_last_step": 3,
            "grad_scaler_state_dict": {"scale": 65536.0, "_growth_tracker": 0},
        },
        folder / "vqgan_f4.pt",
    )

    # The whole T5 before PyTorch 1.6: a decoder that is not used, and the embedding under two names.
    encoder = load("text_encoder")
    t5 = OrderedDict(encoder)
    t5["encoder.embed_tokens.weight"] = t5["shared.weight"]
    t5["decoder.embed_tokens.weight"] = t5["shared.weight"]
    t5["decoder.block.0.layer.0.SelfAttention.q.weight"] = torch.ones(4, 4)
    t5["lm_head.weight"] = torch.ones(8, 4)
    save(t5, folder / "byt5" / "pytorch_model.bin", legacy=True)
    shutil.copy(GOLDEN / "loop" / "text_encoder" / "config.json", folder / "byt5" / "config.json")


def formats() -> None:
    """Views, shared storages and element types, in both formats, beside the same tensors laid out plainly."""
    rng = torch.Generator().manual_seed(3)
    grid = torch.randn(6, 8, generator=rng)
    cube = torch.randn(2, 3, 4, 5, generator=rng)
    tensors: dict[str, Tensor] = OrderedDict(
        whole=grid,
        rows=grid[2:5],
        transposed=grid.t(),
        every_second=grid[:, ::2],
        corner=grid[1:4, 3:6],
        permuted=cube.permute(3, 1, 0, 2),
        channels_last=cube.contiguous(memory_format=torch.channels_last),
        repeated=torch.randn(4, generator=rng).expand(3, 4),
        scalar=torch.tensor(1.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.randn(5, generator=rng)),
        half=torch.randn(7, generator=rng).half(),
        bfloat=torch.randn(7, generator=rng).bfloat16(),
        double=torch.randn(7, generator=rng).double(),
        half_view=torch.randn(4, 4, generator=rng).half().t(),
        i64=torch.tensor([-1, 2**40]),
        i32=torch.tensor([-5, 6], dtype=torch.int32),
        i16=torch.tensor([-5, 6], dtype=torch.int16),
        i8=torch.tensor([-5, 6], dtype=torch.int8),
        u8=torch.tensor([5, 250], dtype=torch.uint8),
        boolean=torch.tensor([True, False, True]),
    )
    folder = TARGET / "formats"
    save(tensors, folder / "zip.pt")
    save(tensors, folder / "legacy.pt", legacy=True)
    save({"module." + k: v for k, v in tensors.items()}, folder / "prefixed.pt")
    save({"ema_state_dict": tensors, "state_dict": {k: v * 0 for k, v in tensors.items()}}, folder / "ema.pt")
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder / "plain.safetensors")
    save_big_endian(tensors, folder / "big-endian.pt", legacy=False)
    save_big_endian(tensors, folder / "big-endian-legacy.pt", legacy=True)
    save(torch.nn.Linear(2, 2), folder / "module.pt")  # a pickled module, not a state dict


def rounding() -> None:
    """fp32 values that are awkward to round, and what PyTorch makes of them."""
    rng = np.random.default_rng(5)
    bits = np.concatenate(
        [
            rng.integers(0, 2**32, 3000, dtype=np.uint64).astype(np.uint32),
            # Ties and their neighbours for both types, subnormal halves, the ends of the ranges.
            np.array([0x3F808000, 0x3F808001, 0x3F807FFF, 0x3F818000, 0x00000001, 0x80000000, 0x7F7FFFFF], np.uint32),
            np.array([0x3F801000, 0x3F801001, 0x3F803000, 0x477FEFFF, 0x33000000, 0x33000001, 0x33800000], np.uint32),
            np.array([0x7F800000, 0xFF800000, 0x7F800001, 0x7FFFFFFF, 0x387FC000, 0x38800000, 0x387FE000], np.uint32),
        ]
    )
    values = torch.from_numpy(bits.view(np.float32).copy())
    inside = values[(values.abs() < 65519) | ~torch.isfinite(values)]
    small = torch.from_numpy(rng.uniform(-1e-4, 1e-4, 2000).astype(np.float32))
    halves = torch.cat([inside, small])
    save_file(
        {
            "values": values,
            "as_bf16": values.bfloat16(),
            "inside": halves,
            "as_fp16": halves.half(),
            "as_fp16_as_fp32": halves.half().float(),
        },
        TARGET / "formats" / "rounding.safetensors",
    )


def clip_and_prior() -> None:
    """Tiny encoders of CLIP under open_clip's names and under those of transformers, and a tiny prior."""
    rng = torch.Generator().manual_seed(9)
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    text_width, image_width, embed, layers = 64, 64, 12, 2
    clip: dict[str, Tensor] = OrderedDict(
        positional_embedding=draw(7, text_width),
        text_projection=draw(text_width, embed),
        logit_scale=torch.tensor(4.6),
    )
    clip["token_embedding.weight"] = draw(60, text_width)
    clip["ln_final.weight"], clip["ln_final.bias"] = draw(text_width), draw(text_width)
    clip["visual.conv1.weight"] = draw(image_width, 3, 14, 14)
    clip["visual.class_embedding"] = draw(image_width)
    clip["visual.positional_embedding"] = draw(2 * 2 + 1, image_width)
    clip["visual.proj"] = draw(image_width, embed)
    for name in ("ln_pre", "ln_post"):
        clip[f"visual.{name}.weight"], clip[f"visual.{name}.bias"] = draw(image_width), draw(image_width)
    for prefix, width in (("", text_width), ("visual.", image_width)):
        for i in range(layers):
            block = f"{prefix}transformer.resblocks.{i}."
            clip[block + "attn.in_proj_weight"], clip[block + "attn.in_proj_bias"] = draw(3 * width, width), draw(3 * width)
            for leaf, shape in {
                "ln_1": (width,), "ln_2": (width,), "attn.out_proj": (width, width),
                "mlp.c_fc": (40, width), "mlp.c_proj": (width, 40),
            }.items():  # fmt: skip
                clip[f"{block}{leaf}.weight"], clip[f"{block}{leaf}.bias"] = draw(*shape), draw(shape[0])
    save(clip, TARGET / "clip" / "open_clip_pytorch_model.bin")

    theirs: dict[str, Tensor] = {
        "logit_scale": clip["logit_scale"],
        "text_model.embeddings.position_ids": torch.arange(7)[None],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "text_model.embeddings.token_embedding.weight": clip["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": clip["positional_embedding"],
        "text_model.final_layer_norm.weight": clip["ln_final.weight"],
        "text_model.final_layer_norm.bias": clip["ln_final.bias"],
        "text_projection.weight": clip["text_projection"].t(),
        "visual_projection.weight": clip["visual.proj"].t(),
        "vision_model.embeddings.patch_embedding.weight": clip["visual.conv1.weight"],
        "vision_model.embeddings.class_embedding": clip["visual.class_embedding"],
        "vision_model.embeddings.position_embedding.weight": clip["visual.positional_embedding"],
        "vision_model.pre_layrnorm.weight": clip["visual.ln_pre.weight"],
        "vision_model.pre_layrnorm.bias": clip["visual.ln_pre.bias"],
        "vision_model.post_layernorm.weight": clip["visual.ln_post.weight"],
        "vision_model.post_layernorm.bias": clip["visual.ln_post.bias"],
    }
    for prefix, tower in (("", "text_model"), ("visual.", "vision_model")):
        for i in range(layers):
            source, target = f"{prefix}transformer.resblocks.{i}.", f"{tower}.encoder.layers.{i}."
            for kind in ("weight", "bias"):
                for part, value in zip("qkv", clip[f"{source}attn.in_proj_{kind}"].chunk(3)):
                    theirs[f"{target}self_attn.{part}_proj.{kind}"] = value
                for ours, name in {
                    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
                    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
                }.items():  # fmt: skip
                    theirs[f"{target}{name}.{kind}"] = clip[f"{source}{ours}.{kind}"]
    (TARGET / "clip-transformers").mkdir()
    save_file({k: v.clone().contiguous() for k, v in theirs.items()}, TARGET / "clip-transformers" / "model.safetensors")

    width, hidden, r, count = 12, 10, 8, 2
    prior: dict[str, Tensor] = OrderedDict()
    prior["blocks.0.weight"], prior["blocks.0.bias"] = draw(hidden, width), draw(hidden)
    for i in range(1, count + 1):
        prior[f"blocks.{i}.0.weight"] = draw(4 * hidden, hidden + width + r)
        prior[f"blocks.{i}.1.weight"], prior[f"blocks.{i}.1.bias"] = draw(4 * hidden), draw(4 * hidden)
        prior[f"blocks.{i}.3.weight"] = draw(hidden, 4 * hidden)
        prior[f"blocks.{i}.4.weight"], prior[f"blocks.{i}.4.bias"] = draw(hidden), draw(hidden)
    prior[f"blocks.{count + 1}.weight"], prior[f"blocks.{count + 1}.bias"] = draw(width, hidden), draw(width)
    save({"state_dict": prior, "ema_state_dict": prior, "metrics": {}}, TARGET / "prior_v1.pt")


class Calls:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: object, *arguments: object):
        self.call = (function, arguments)

    def __reduce__(self):  # noqa: ANN204
        return self.call


class Stateful:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("executed")


def name_in_python_2(name: str) -> str:
    """Up to protocol 2, pickle writes the names that Python 2 had."""
    return name.replace("builtins.", "__builtin__.").replace("subprocess.Popen", "commands.Popen")


def exploits() -> None:
    """What attackers put into pickles. `refused` is the name that the message must hold."""
    marker = "/tmp/paella-exploit-marker"
    command = f"touch {marker}"
    import importlib
    import subprocess

    stateful = Stateful()
    stateful.x = 1  # type: ignore[attr-defined]
    import builtins

    cases: list[tuple[str, object, str]] = [
        ("os.system", Calls(os.system, command), "posix.system"),
        ("builtins.eval", Calls(eval, f"__import__('os').system('{command}')"), "builtins.eval"),
        ("builtins.exec", Calls(exec, f"open('{marker}', 'w')"), "builtins.exec"),
        ("builtins.open", Calls(open, marker, "w"), "io.open"),
        ("getattr", Calls(getattr, "x", "upper"), "builtins.getattr"),
        ("subprocess.Popen", Calls(subprocess.Popen, command), "subprocess.Popen"),
        ("importlib", Calls(importlib.import_module, "os"), "importlib.import_module"),
        ("nested", {"state_dict": OrderedDict(a=[(1, Calls(os.system, command))])}, "posix.system"),
        ("argument of an allowed call", Calls(OrderedDict, Calls(os.system, command)), "posix.system"),
        ("__setstate__", stateful, "__main__.Stateful"),
        ("torch.load", Calls(torch.load, marker), "torch.serialization.load"),
        ("torch.hub", Calls(torch.hub.load, "owner/name", "x"), "torch.hub.load"),
        ("a module", torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        ("a class", builtins.type, "builtins.type"),
    ]
    document = [
        {
            "name": f"{name}, protocol {protocol}",
            "refused": name_in_python_2(refused) if protocol < 3 else refused,
            "pickle": base64.b64encode(pickle.dumps(value, protocol=protocol)).decode(),
        }
        for name, value, refused in cases
        for protocol in (2, 4)
    ]
    (TARGET / "exploits.json").write_text(json.dumps({"marker": marker, "cases": document}, indent=1) + "\n")


if __name__ == "__main__":
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    official_layouts()
    formats()
    rounding()
    clip_and_prior()
    exploits()
    for path in TARGET.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
