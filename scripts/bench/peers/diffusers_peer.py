"""Stable Diffusion and aMUSEd through diffusers: whole calls of a pipeline, from the prompt to pixels.

    npm run bench:peers -- --help

tells how it runs beside others; without others:

    python scripts/bench/peers/diffusers_peer.py --model sd15 --random-weights --output sd.json

--random-weights builds the published configuration with random weights; without it the weights come from the hub or its
cache (or, with --weights, from a folder). Text encoding, the loop and the decoder to pixels are counted; the safety
checker is off. Needs scripts/bench/peers/requirements.txt. On CUDA (never tried) runs are timed without waiting in
between, and the stages come from a run of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers

import torch_device
from random_models import MODELS, SCHEDULERS, build
from worker import argument_parser, main, one_of


class Stopwatch:
    """Takes the times of a pipeline's parts: calls of its text encoders and decoder, and the ends of its steps."""

    def __init__(self, pipeline: diffusers.DiffusionPipeline, wait: Callable[[], None]):
        self.wait = wait
        self.on = False
        self.stages: dict[str, float] = {}
        self.ends: list[float] = []
        for name in ("text_encoder", "text_encoder_2"):
            if getattr(pipeline, name, None) is not None:
                self._time(getattr(pipeline, name), "forward", "encode_text")
        decoder = getattr(pipeline, "vae", None) or pipeline.vqvae
        self._time(decoder, "decode", "decode")
        self.watch_steps(pipeline.scheduler)

    def watch_steps(self, scheduler: Any) -> None:
        """Schedulers set their timesteps after the prompt is encoded, and step once for each pass of the network."""
        for name in ("set_timesteps", "step"):
            inner = getattr(scheduler, name)

            def outer(*arguments: Any, _inner: Any = inner, **named: Any) -> Any:
                result = _inner(*arguments, **named)
                if self.on:
                    self.ends.append(self._now())
                return result

            setattr(scheduler, name, outer)

    def run(self, body: Callable[[], Any], inside: bool) -> tuple[float, Any]:
        """Milliseconds of `body`; inside: also those of its parts."""
        self.stages, self.ends, self.on = {}, [], inside
        begin = self._now()
        result = body()
        return (self._now() - begin) * 1e3, result

    def step_ms(self) -> list[float]:
        return [(b - a) * 1e3 for a, b in zip(self.ends, self.ends[1:])]

    def _now(self) -> float:
        self.wait()
        return time.perf_counter()

    def _time(self, owner: Any, name: str, stage: str) -> None:
        inner = getattr(owner, name)

        def outer(*arguments: Any, **named: Any) -> Any:
            if not self.on:
                return inner(*arguments, **named)
            begin = self._now()
            result = inner(*arguments, **named)
            self.stages[stage] = self.stages.get(stage, 0.0) + (self._now() - begin) * 1e3
            return result

        setattr(owner, name, outer)


class DiffusersPeer:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.model = MODELS[options.model]
        self.products: list[dict[str, Any]] = []

    def load(self) -> None:
        options = self.options
        warnings.filterwarnings("error", message="invalid value encountered in cast")  # pixels that are no numbers
        self.device = torch_device.prepare(options)
        dtype = torch_device.DTYPES[options.precision]
        if options.random_weights:
            pipeline = build(options.model, dtype)
        else:
            source = options.weights or self.model.hub
            pipeline = diffusers.DiffusionPipeline.from_pretrained(source, torch_dtype=dtype, safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(self.device)
        self.network = "transformer" if hasattr(pipeline, "transformer") else "unet"
        if options.channels_last:
            for part in (self.network, "vae", "vqvae"):
                if getattr(pipeline, part, None) is not None:
                    getattr(pipeline, part).to(memory_format=torch.channels_last)
        self.pipeline = pipeline
        self.eager = getattr(pipeline, self.network)
        self.networks = {mode: torch_device.compiled(self.eager, mode) for mode in options.compile}
        decoder = getattr(pipeline, "vae", None) or pipeline.vqvae
        self.decoder, self.plain_decode = decoder, decoder.decode
        self.decodes = {mode: torch_device.compiled(self.plain_decode, mode) for mode in options.compile}
        self.schedulers = options.scheduler or [self.model.scheduler]
        self.watch = Stopwatch(pipeline, lambda: torch_device.wait(self.device))

    def cases(self) -> list[dict[str, Any]]:
        options = self.options
        steps = [options.steps] if options.measure_steps else [[count] for count in options.steps]
        self.products = [
            {"mode": mode, "scheduler": scheduler, "size": size, "batch": batch, "steps": list_of_steps}
            for mode in options.compile
            for scheduler in self.schedulers
            for size in options.size
            for batch in options.batch
            for list_of_steps in steps
        ]
        return [self._describe(product) for product in self.products]

    def _describe(self, product: dict[str, Any]) -> dict[str, Any]:
        options = self.options
        details = {"channelsLast": options.channels_last, "guidanceIsASecondPass": self._doubles()}
        return {
            "subject": "diffusers", "version": diffusers.__version__, "model": self.model.name,
            "weights": "random" if options.random_weights else "trained",
            "device": torch_device.device_name(self.device), "backend": options.device, "precision": options.precision,
            "threads": options.threads if options.device == "cpu" else None,
            "width": product["size"], "height": product["size"], "batch": product["batch"],
            "steps": product["steps"], "measureSteps": options.measure_steps,
            "guidance": self._guidance() or None, "scheduler": product["scheduler"],
            "compile": torch_device.mode_name(product["mode"]),
            "counted": {"textEncoding": True, "decode": True, "encodeFile": False, "load": False},
            "details": details,
        }  # fmt: skip

    def _guidance(self) -> float:
        return self.model.guidance if self.options.guidance is None else self.options.guidance

    def _doubles(self) -> bool:
        return self.model.double and self._guidance() > 1

    def run(self, case: int, prompts: list[str], seed: int) -> dict[str, Any]:
        product = self.products[case]
        setattr(self.pipeline, self.network, self.networks[product["mode"]])
        self._choose_decode(product["mode"])
        self._choose_scheduler(product["scheduler"])
        arguments = {
            "num_inference_steps": self.options.measure_steps or product["steps"][0],
            "guidance_scale": self._guidance(), "width": product["size"], "height": product["size"],
            "generator": torch.Generator(self.device).manual_seed(seed),
        }  # fmt: skip
        on_cpu = self.device.type == "cpu"
        ms, result = self.watch.run(lambda: self.pipeline(prompts, **arguments), inside=on_cpu)
        check(result.images, len(prompts), product["size"])
        if not on_cpu:  # the same once more, waiting at every part
            self.watch.run(lambda: self.pipeline(prompts, **arguments), inside=True)
        return {"ms": ms, "stepMs": self.watch.step_ms(), "stages": self.watch.stages}

    def _choose_decode(self, mode: str) -> None:
        if len(self.decodes) > 1 or mode != "eager":
            self.decoder.decode = self.decodes[mode]
            self.watch._time(self.decoder, "decode", "decode")

    def _choose_scheduler(self, name: str) -> None:
        if name not in SCHEDULERS:
            return  # the pipeline's own
        self.pipeline.scheduler = SCHEDULERS[name](self.pipeline.scheduler.config)
        self.watch.watch_steps(self.pipeline.scheduler)

    def runtimes(self) -> dict[str, str]:
        versions = {"diffusers": diffusers.__version__, "transformers": transformers.__version__}
        return {**torch_device.runtimes(), **versions}

    def gpus(self) -> list[dict[str, Any]]:
        return torch_device.gpus(self.device)

    def peak_bytes(self) -> int | None:
        return torch_device.peak_bytes(self.device)


def check(images: list[Any], count: int, size: int) -> None:
    """What is not an image of this size was not measured."""
    sizes = [image.size for image in images]
    if sizes != [(size, size)] * count:
        raise RuntimeError(f"images: expected {count} of {size}x{size} px, got {sizes}")


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    torch_device.add_arguments(parser)
    parser.add_argument("--model", choices=list(MODELS), default="sd15")
    parser.add_argument("--random-weights", action="store_true", help="the published configuration, random weights")
    parser.add_argument("--weights", metavar="FOLDER", help="the model as a folder of diffusers, instead of the hub's")
    parser.add_argument("--guidance", type=float, help="scale; 0 or 1: none (what the model's authors use)")
    parser.add_argument(
        "--scheduler", type=one_of(*SCHEDULERS), help=f"a list of {', '.join(SCHEDULERS)} (what the model is meant for)"
    )
    parser.add_argument(
        "--channels-last", action=argparse.BooleanOptionalAction, help="memory order of convolutions (faster on both)"
    )
    options = parser.parse_args(arguments)
    if options.random_weights and options.weights:
        parser.error("--weights: expected without --random-weights")
    if options.model.startswith("amused") and options.scheduler:
        parser.error("--scheduler: expected none with aMUSEd, which has its own")
    if options.channels_last is None:
        options.channels_last = True
    return options


if __name__ == "__main__":
    parsed = options_of(sys.argv[1:])
    sys.exit(main(DiffusersPeer(parsed), parsed))
