"""Writes the finished model folder: python export.py WORK FOLDER [--dtype F32|F16]

Weights are the averaged ones. The generation settings come from generation.json; `npm run tune` compares some.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from common import HERE  # also makes scripts/reference importable
from model_folder import load_component, save_model
from unet_train import QUANTILES
from words import write_domain


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=["F32", "F16"], default="F32")
    options = parser.parse_args()
    models = [load_component(options.work, name) for name in ("text_encoder", "unet", "vqgan")]
    generation = json.loads((HERE / "generation.json").read_text())
    dtype = torch.float32 if options.dtype == "F32" else torch.float16
    levels = [round(x, 4) for x in torch.special.ndtri(QUANTILES).tolist()]
    save_model(options.folder, "tiny", "MIT", generation, *models, dtype=dtype, image_levels=levels)  # type: ignore[arg-type]
    write_domain(options.folder)
    size = sum(f.stat().st_size for f in options.folder.rglob("*") if f.is_file())
    print(f"{options.folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
