"""Paella v3 in PyTorch: whole images, from the prompt to pixels, with random weights.

    npm run bench:peers -- --help

tells how it runs beside others; without others:

    python scripts/bench/peers/pytorch_paella_peer.py --size 256 --steps 8 --output paella.json

The networks are those of scripts/reference/ (the official shapes; attention by PyTorch's fused kernel instead of the
reference's written-out one), in the official order of work: two passes a step, one after another, guidance on the
logits, a draw from the softmax, tokens made noise again. --text-layers 36 is ByT5-XL; 2, the default, is the text
encoder of random:paella-v3-256. CLIP and the prior are not run. Needs scripts/bench/peers/requirements.txt. CUDA was
never tried.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "reference"))
import byt5  # noqa: E402
import unet  # noqa: E402
import vqgan  # noqa: E402
from official import BYT5_XL, UNET_V3, VQGAN_F4  # noqa: E402

import torch_device  # noqa: E402
from worker import argument_parser, main, repository_commit  # noqa: E402

GUIDANCE, TEMPERATURE = 8.0, (0.7, 0.3)


class FusedAttention(unet.MultiheadAttention):
    """The reference writes attention out; the original uses PyTorch's module, which calls the fused kernel."""

    def forward(self, image: torch.Tensor, condition: torch.Tensor, key_bias: None, key_weights: None) -> torch.Tensor:
        c = image.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q, k, v = F.linear(image, weight, bias).chunk(3, -1)
        k_condition, v_condition = F.linear(condition, weight[c:], bias[c:]).chunk(2, -1)
        k, v = torch.cat([k, k_condition], 1), torch.cat([v, v_condition], 1)
        q, k, v = (m.unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (q, k, v))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class PytorchPaellaPeer:
    def __init__(self, options: argparse.Namespace):
        self.options = options

    def load(self) -> None:
        self.device = torch_device.prepare(self.options)
        dtype = torch_device.DTYPES[self.options.precision]
        unet.MultiheadAttention = FusedAttention
        plain = unet.timestep_embedding
        unet.timestep_embedding = lambda r, c_r: plain(r, c_r).to(dtype)
        self.unet = self._random(unet.UNet(UNET_V3), dtype)
        self.vqgan = self._random(vqgan.VQGAN(VQGAN_F4), dtype)
        self.text = self._random(byt5.ByT5Encoder({**BYT5_XL, "num_layers": self.options.text_layers}), dtype)
        self.networks = {mode: torch_device.compiled(self._logits, mode) for mode in self.options.compile}
        self.decoders = {mode: torch_device.compiled(self.vqgan.decode_indices, mode) for mode in self.options.compile}

    def _random(self, model: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
        model = model.eval().to(dtype).to(self.device)
        with torch.no_grad():
            for parameter in model.parameters():  # zeros would be faster than numbers
                if parameter.ndim > 1:
                    parameter.uniform_(-1, 1).mul_((3 / parameter[0].numel()) ** 0.5)
                else:
                    parameter.uniform_(-0.1, 0.1)
        return model

    def _logits(self, tokens: torch.Tensor, r: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.unet.out_mapper(self.unet.features(tokens, r, condition))

    def cases(self) -> list[dict[str, Any]]:
        options, commit = self.options, repository_commit()
        steps = [options.steps] if options.measure_steps else [[count] for count in options.steps]
        self.products = [
            (mode, size, batch, counts)
            for mode in options.compile for size in options.size for batch in options.batch for counts in steps
        ]  # fmt: skip
        return [
            {
                "subject": "pytorch-paella", "version": torch_device.runtimes()["torch"],
                "commit": commit,  # the networks are this repository's
                "model": self._model_name(),
                "weights": "random", "device": torch_device.device_name(self.device), "backend": options.device,
                "precision": options.precision, "threads": options.threads if options.device == "cpu" else None,
                "width": size, "height": size, "batch": batch, "steps": counts, "measureSteps": options.measure_steps,
                "guidance": GUIDANCE, "scheduler": None, "compile": torch_device.mode_name(mode),
                "counted": {"textEncoding": True, "decode": True, "encodeFile": False, "load": False},
                "details": {"batchedGuidance": options.batched_guidance, "guidanceIsASecondPass": True},
            }
            for mode, size, batch, counts in self.products
        ]  # fmt: skip

    def _model_name(self) -> str:
        layers = self.options.text_layers
        return "random:paella-v3-256" if layers == 2 else f"paella-v3 with {layers} layers of ByT5"

    def run(self, case: int, prompts: list[str], seed: int) -> dict[str, Any]:
        on_cpu = self.device.type == "cpu"
        torch.manual_seed(seed)
        times = self._generate(case, prompts, inside=on_cpu)
        if on_cpu:
            return times
        return {**self._generate(case, prompts, inside=True), "ms": times["ms"]}  # waiting at every part

    @torch.inference_mode()
    def _generate(self, case: int, prompts: list[str], inside: bool) -> dict[str, Any]:
        mode, size, batch, counts = self.products[case]
        steps, side = self.options.measure_steps or counts[0], size // 4
        marks: list[float] = []

        def mark(always: bool = False) -> None:
            if inside or always:
                torch_device.wait(self.device)
                marks.append(time.perf_counter())

        mark(always=True)
        ids = torch.tensor([byt5.tokenize(prompt) for prompt in prompts], device=self.device)
        condition = self.unet.condition(self.text(ids))
        nothing = torch.tensor([byt5.tokenize("")], device=self.device)
        negative = self.unet.condition(self.text(nothing)).expand(batch, -1, -1)
        mark()
        tokens = noise = torch.randint(UNET_V3["num_labels"], (batch, side, side), device=self.device)
        times = torch.linspace(1, 0, steps + 1, device=self.device)
        temperatures = torch.linspace(*TEMPERATURE, steps)
        for i in range(steps):
            logits = self._guided(self.networks[mode], tokens, times[i].expand(batch), condition, negative)
            chances = (logits / temperatures[i]).softmax(-1)
            tokens = chances.flatten(0, 2).multinomial(1).view(batch, side, side)
            if i < steps - 1:
                again = torch.rand(tokens.shape, device=self.device) < times[i + 1]
                tokens = torch.where(again, noise, tokens)
            mark()
        pixels = self.decoders[mode](tokens).clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
        mark(always=True)
        if list(pixels.shape) != [batch, size, size, 3]:
            raise RuntimeError(f"pixels: expected {[batch, size, size, 3]}, got {list(pixels.shape)}")
        ms = [(b - a) * 1e3 for a, b in zip(marks, marks[1:])]
        return {"ms": sum(ms), "stepMs": ms[1:-1], "stages": {"encode_text": ms[0], "decode": ms[-1]}}

    def _guided(
        self, network: Any, tokens: torch.Tensor, r: torch.Tensor, condition: torch.Tensor, negative: torch.Tensor
    ):
        """fp32 logits. One batch needs conditions of one length: the shorter is repeated, fair for speed only."""
        if self.options.batched_guidance:
            repeated = negative.repeat(1, -(-condition.shape[1] // negative.shape[1]), 1)[:, : condition.shape[1]]
            both = network(tokens.repeat(2, 1, 1), r.repeat(2), torch.cat([condition, repeated])).float()
            with_text, without = both.chunk(2)
        else:
            with_text, without = network(tokens, r, condition).float(), network(tokens, r, negative).float()
        return with_text * GUIDANCE + without * (1 - GUIDANCE)

    def runtimes(self) -> dict[str, str]:
        return torch_device.runtimes()

    def gpus(self) -> list[dict[str, Any]]:
        return torch_device.gpus(self.device)

    def peak_bytes(self) -> int | None:
        return torch_device.peak_bytes(self.device)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.set_defaults(size=[256], steps=[8])
    torch_device.add_arguments(parser)
    parser.add_argument("--text-layers", type=int, default=2, help="of ByT5; 36: ByT5-XL (2)")
    parser.add_argument(
        "--batched-guidance", action="store_true",
        help="both passes of a step as one batch: faster on a GPU, many times slower in bf16 on a CPU",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if wrong := [size for size in options.size if size % 32]:
        parser.error(f"--size: expected multiples of 32, got {wrong[0]}")
    return options


if __name__ == "__main__":
    parsed = options_of(sys.argv[1:])
    sys.exit(main(PytorchPaellaPeer(parsed), parsed))
