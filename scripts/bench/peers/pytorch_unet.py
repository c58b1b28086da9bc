"""A guided step of the 1-billion-parameter U-Net in PyTorch beside ours, on this machine: A B A B.

    python scripts/bench/peers/pytorch_unet.py --native build/test/native/paella_bench --output docs/benchmarks/pytorch.json

PyTorch runs the reference network (scripts/reference/unet.py) with random weights: two passes one after another, the
conditional and the unconditional one, which on a CPU is faster than a batch of two. bf16: weights and activations bf16.
Ours runs as `paella_bench step`, a process of its own, between the rounds. Needs torch (scripts/train/requirements.txt).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "reference"))
import unet as reference  # noqa: E402

OFFICIAL = dict(
    c_in=256, c_out=256, num_labels=8192, c_r=64, patch_size=2, c_cond=1024, c_hidden=[640, 1280, 1280],
    nhead=[-1, 16, 16], blocks=[6, 16, 6], level_config=["CT", "CTA", "CTA"], byt5_embd=2560, clip_embd=1024,
    clip_image_embd=1024, clip_seq_len=4, kernel_size=3,
)  # fmt: skip


def build(dtype: torch.dtype) -> reference.UNet:
    torch.manual_seed(0)
    with torch.no_grad():
        model = reference.UNet(OFFICIAL).eval().to(dtype)
        for parameter in model.parameters():  # zeros would be faster than numbers
            if parameter.ndim > 1:
                parameter.uniform_(-1, 1).mul_((3 / parameter[0].numel()) ** 0.5)
            else:
                parameter.uniform_(-0.1, 0.1)
    return model


def guided_step(model: reference.UNet, tokens: torch.Tensor, states: torch.Tensor, negative: torch.Tensor) -> float:
    r = torch.tensor([0.5])
    start = time.perf_counter()
    with torch.inference_mode():
        logits = model(tokens, r, states).float() * 8 - model(tokens, r, negative).float() * 7
        torch.distributions.Categorical(logits=logits / 0.7).sample()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", required=True, help="the program paella_bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precisions", default="bf16,fp32")
    parser.add_argument("--output")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    original = reference.timestep_embedding
    rows = []
    for precision in options.precisions.split(","):
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
        reference.timestep_embedding = lambda r, c_r: original(r, c_r).to(dtype)
        model = build(dtype)
        tokens = torch.randint(8192, (1, 64, 64))
        states = torch.randn(1, 40, 2560).to(dtype)
        negative = torch.randn(1, 1, 2560).to(dtype)
        guided_step(model, tokens, states, negative)
        theirs, ours = [], []
        for _ in range(options.rounds):
            theirs.append(statistics.median(guided_step(model, tokens, states, negative) for _ in range(3)))
            command = [options.native, "step", "--threads", str(options.threads), "--precision", precision, "--rounds", "3"]
            ours.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["step_seconds"])
        rows.append(
            {
                "what": "guided step of the 1-billion U-Net, 64x64 tokens, condition 40, negative 1, random weights",
                "precision": precision, "threads": options.threads, "torch": torch.__version__,
                "machine": cpu_name(), "python": platform.python_version(),
                "pytorch_seconds": statistics.median(theirs), "paella_native_seconds": statistics.median(ours),
                "ratio_per_round": [round(a / b, 3) for a, b in zip(theirs, ours)],
                "ratio": round(statistics.median(a / b for a, b in zip(theirs, ours)), 3),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
        del model
    if options.output:
        Path(options.output).write_text(json.dumps(rows, indent=2) + "\n")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
