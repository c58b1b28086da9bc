"""Stable Diffusion through stable-diffusion.cpp (ggml): whole calls, from the prompt to pixels.

    python scripts/bench/peers/stable_diffusion_cpp_peer.py --random-weights build/sd15-random --size 256 --steps 20 \\
      --measure-steps 3 --output sd-cpp.json

--random-weights FOLDER writes Stable Diffusion 1.5 with random weights (fp16, 2 GB) into that folder if it is not there
yet, which needs the other requirements of scripts/bench/peers/requirements.txt once. --weights takes trained ones: a
file (safetensors, ckpt, gguf) or a folder of diffusers. The library is the one in the pip package
stable-diffusion-cpp-python; on a GPU it has to be built for that: CMAKE_ARGS='-DSD_CUDA=ON' (never tried with this
script).

Images of a batch are made one after another: the program has no batches of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import sys
import time
from pathlib import Path
from typing import Any

from stable_diffusion_cpp import StableDiffusion
from stable_diffusion_cpp import stable_diffusion_cpp as library

from worker import argument_parser, cpu_name, main

PRECISIONS = {"fp16": "f16", "bf16": "bf16", "fp32": "f32", "q8_0": "q8_0"}
GUIDANCE = 7.0
PACKAGE = "stable-diffusion-cpp-python"
# What the library's log says at the end of each part.
PHRASES = {
    "encoded": b"get_learned_condition completed",
    "denoised": b"latent images completed",
    "decoded": b"decode_first_stage completed",
}


class StableDiffusionCppPeer:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.marks: dict[str, float] = {}
        self.step_ends: list[float] = []

    def load(self) -> None:
        options = self.options
        if options.random_weights:
            write_random_weights(Path(options.random_weights))
        self.engine = StableDiffusion(
            model_path=str(options.random_weights or options.weights), n_threads=options.threads,
            wtype=PRECISIONS[options.precision], vae_decode_only=True, diffusion_flash_attn=options.flash_attention,
            diffusion_conv_direct=options.conv_direct, vae_conv_direct=options.conv_direct, verbose=True,
        )  # fmt: skip
        if not self.engine.model:
            raise RuntimeError(
                f"stable-diffusion.cpp could not load {options.random_weights or options.weights}: see above"
            )
        self.listener = library.sd_log_callback(self._hear)  # held, or it would be collected
        library.sd_set_log_callback(self.listener, ctypes.c_void_p(0))

    def _hear(self, level: int, text: bytes, _: Any) -> None:
        """The library says when it has encoded the prompt, when it has all steps, and when it has decoded."""
        if level >= 2:  # warnings and errors
            print(text.decode("utf-8", "replace"), end="", file=sys.stderr)
        for name, phrase in PHRASES.items():
            if phrase in text:
                self.marks[name] = time.perf_counter()

    def _progress(self, step: int, steps: int, _: float) -> None:
        if "denoised" not in self.marks and "encoded" in self.marks:  # decoding in tiles reports, too
            self.step_ends.append(time.perf_counter())

    def cases(self) -> list[dict[str, Any]]:
        options = self.options
        steps = [options.steps] if options.measure_steps else [[count] for count in options.steps]
        self.products = [(size, batch, counts) for size in options.size for batch in options.batch for counts in steps]
        info = library.sd_get_system_info().decode()
        return [
            {
                "subject": "stable-diffusion.cpp", "version": f"{PACKAGE} {version()}",
                "model": "stable-diffusion-v1-5", "weights": "random" if options.random_weights else "trained",
                "device": options.device_name or cpu_name(),
                "backend": "ggml", "precision": options.precision, "threads": options.threads, "width": size,
                "height": size, "batch": batch, "steps": counts, "measureSteps": options.measure_steps,
                "guidance": GUIDANCE, "scheduler": options.sampler, "compile": None,
                "counted": {"textEncoding": True, "decode": True, "encodeFile": False, "load": False},
                "details": {
                    "flashAttention": options.flash_attention, "convDirect": options.conv_direct,
                    "guidanceIsASecondPass": True, "system": " ".join(info.split()),
                },
            }
            for size, batch, counts in self.products
        ]  # fmt: skip

    def run(self, case: int, prompts: list[str], seed: int) -> dict[str, Any]:
        size, _, counts = self.products[case]
        steps = self.options.measure_steps or counts[0]
        times: dict[str, Any] = {"ms": 0.0, "stepMs": [], "stages": {"encode_text": 0.0, "decode": 0.0}}
        for i, prompt in enumerate(prompts):
            self.marks, self.step_ends = {}, []
            begin = time.perf_counter()
            images = self.engine.generate_image(
                prompt=prompt, width=size, height=size, cfg_scale=GUIDANCE, sample_steps=steps, seed=seed + i,
                sample_method=self.options.sampler, progress_callback=self._progress,
            )  # fmt: skip
            end = time.perf_counter()
            if [image.size for image in images] != [(size, size)]:
                raise RuntimeError(f"images: expected one of {size}x{size} px, got {[image.size for image in images]}")
            if len(self.step_ends) != steps + 1 or set(self.marks) != {"encoded", "denoised", "decoded"}:
                raise RuntimeError(
                    f"stable-diffusion.cpp reported {len(self.step_ends) - 1} steps and {sorted(self.marks)}; "
                    f"expected {steps} steps and decoded, denoised, encoded: another version than this script knows"
                )
            times["ms"] += (end - begin) * 1e3
            times["stepMs"] += [(b - a) * 1e3 for a, b in zip(self.step_ends, self.step_ends[1:])]
            times["stages"]["encode_text"] += (self.marks["encoded"] - begin) * 1e3
            times["stages"]["decode"] += (self.marks["decoded"] - self.marks["denoised"]) * 1e3
        return times

    def runtimes(self) -> dict[str, str]:
        return {PACKAGE: version()}

    def gpus(self) -> list[dict[str, Any]]:
        return [{"name": self.options.device_name}] if self.options.device_name else []

    def peak_bytes(self) -> int | None:
        return None


def version() -> str:
    return importlib.metadata.version(PACKAGE)


def write_random_weights(folder: Path) -> None:
    """unet/, vae/ and text_encoder/ of diffusers, under a name that says nothing until all are written."""
    if folder.is_dir():
        return
    import torch
    from safetensors.torch import save_file

    from random_models import build

    print(f"writing random weights into {folder} ...", file=sys.stderr)
    torch.manual_seed(0)
    pipeline = build("sd15", torch.float16)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    for name in ("unet", "vae"):
        getattr(pipeline, name).save_pretrained(unfinished / name)
    # By the names of the published file; transformers 5 has its own.
    tensors = pipeline.text_encoder.state_dict()
    names = {name: name if name.startswith("text_model.") else f"text_model.{name}" for name in tensors}
    (unfinished / "text_encoder").mkdir()
    save_file(
        {names[name]: tensor.contiguous() for name, tensor in tensors.items()},
        unfinished / "text_encoder/model.safetensors",
    )
    unfinished.rename(folder)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--random-weights", metavar="FOLDER", help="made if it is not there")
    weights.add_argument("--weights", metavar="PATH", help="trained weights")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp16", help="of the weights (fp16)")
    parser.add_argument("--sampler", default="dpm++2m", help="as stable-diffusion.cpp names them (dpm++2m)")
    parser.add_argument("--flash-attention", action="store_true", help="in the U-Net")
    parser.add_argument("--conv-direct", action="store_true", help="convolutions without im2col")
    parser.add_argument("--device-name", metavar="NAME", help="the GPU, for a library that was built for one")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    parsed = options_of(sys.argv[1:])
    sys.exit(main(StableDiffusionCppPeer(parsed), parsed))
