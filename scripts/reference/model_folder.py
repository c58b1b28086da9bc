"""Reads and writes model folders (docs/model-format.md)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from byt5 import ByT5Encoder
from clip import ClipImage, ClipText
from prior import PriorModel
from unet import UNet
from vqgan import VQGAN

REQUIRED: dict[str, type[nn.Module]] = {"text_encoder": ByT5Encoder, "unet": UNet, "vqgan": VQGAN}
KINDS = REQUIRED | {"clip_text": ClipText, "clip_image": ClipImage, "prior": PriorModel}


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def load_component(folder: Path, name: str) -> nn.Module:
    """One component in fp32 and eval mode; every tensor must be there, with the right shape."""
    module = KINDS[name](read_json(folder / name / "config.json"))
    state = load_file(folder / name / "model.safetensors")
    state.pop("encoder.embed_tokens.weight", None)  # an alias of shared.weight in some T5 files
    module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=True)
    return module.eval()


def load_model(folder: str | Path) -> tuple[ByT5Encoder, UNet, VQGAN]:
    """(text encoder, U-Net, VQGAN)."""
    folder = Path(folder)
    index = read_json(folder / "model_index.json")
    if index.get("format") != "paella-native" or index.get("format_version") != 1 or index.get("family") != "v3":
        raise ValueError(f"{folder} is not a v3 model folder of format version 1")
    return tuple(load_component(folder, name) for name in REQUIRED)  # type: ignore[return-value]


def save_component(folder: Path, name: str, module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Writes config.json and model.safetensors; integer tensors keep their type."""
    write_json(folder / name / "config.json", module.config)  # type: ignore[arg-type]
    state: dict[str, Tensor] = {
        k: (v.detach().to(dtype) if v.is_floating_point() else v.detach()).contiguous().cpu()
        for k, v in module.state_dict().items()
    }
    path = folder / name / "model.safetensors"
    save_file(state, path)
    path.chmod(0o644)  # some versions of safetensors write files that only the owner may read


def save_model(
    folder: str | Path,
    name: str,
    licence: str,
    generation: dict,
    text_encoder: ByT5Encoder,
    unet: UNet,
    vqgan: VQGAN,
    dtype: torch.dtype = torch.float32,
    image_levels: list[float] | None = None,
) -> None:
    folder = Path(folder)
    for component, module in (("text_encoder", text_encoder), ("unet", unet), ("vqgan", vqgan)):
        save_component(folder, component, module, dtype)
    write_json(folder / "generation_config.json", generation)
    write_json(
        folder / "model_index.json",
        {
            "format": "paella-native",
            "format_version": 1,
            "family": "v3",
            "name": name,
            "licence": licence,
            "components": ["text_encoder", "unet", "vqgan"],
            **({"image_embedding": {"levels": image_levels}} if image_levels else {}),
        },
    )
