"""What peers in PyTorch have in common: devices, precisions, waiting for a GPU."""

from __future__ import annotations

import argparse
import subprocess
from typing import Any

import torch

from worker import cpu_name, one_of

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# torch.compile's modes; 'default' is torch.compile() without one.
COMPILE_MODES = ("eager", "default", "reduce-overhead", "max-autotune")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu",
        help="cuda has never been tried with this script: nobody of this project had a GPU at hand (cpu)",
    )  # fmt: skip
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16", help="of weights and activations (bf16)")
    parser.add_argument(
        "--compile", type=one_of(*COMPILE_MODES), default=["eager"],
        help=f"a list of {', '.join(COMPILE_MODES)}: modes of torch.compile, or none (eager)",
    )  # fmt: skip


def prepare(options: argparse.Namespace) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("--device: expected cpu, as PyTorch finds no CUDA device; got cuda")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest" if options.precision == "fp32" else "high")
    torch.backends.cudnn.benchmark = True
    return torch.device(options.device)


def compiled(function: Any, mode: str) -> Any:
    if mode == "eager":
        return function
    return torch.compile(function, mode=None if mode == "default" else mode)


def mode_name(mode: str) -> str:
    return mode if mode in ("eager",) else f"torch.compile {mode}"


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def runtimes() -> dict[str, str]:
    versions = {"torch": torch.__version__.split("+")[0]}
    if torch.version.cuda and torch.cuda.is_available():
        versions["cuda"] = torch.version.cuda
    return versions


def gpus(device: torch.device) -> list[dict[str, Any]]:
    if device.type != "cuda":
        return []
    properties = torch.cuda.get_device_properties(device)
    found = {
        "name": properties.name,
        "memoryGiB": round(properties.total_memory / 2**30, 1),
        "computeCapability": f"{properties.major}.{properties.minor}",
    }
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [{**found, "driver": asked.stdout.splitlines()[0].strip()} if asked.returncode == 0 else found]


def peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
