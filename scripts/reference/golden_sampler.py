"""Golden cases of the sampler: numbers, single draws, and one whole loop on a small model folder.

Scores are computed in double precision. A margin says how far the winner is ahead of the second best: a test may excuse
a differing token where the margin is below 1e-4, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from byt5 import ByT5Encoder, tokenize
from golden_io import ROOT, write_io
from golden_networks import TEXT_CONFIG, pixel_margin, to_bytes
from golden_random import KNOWN_ANSWERS, gumbel, gumbel_of_words, initial_tokens, philox, renoise_uniform
from golden_weights import fill
from model_folder import save_model, write_json
from unet import UNet
from vqgan import VQGAN

SEEDS = [0, 7, 2**33 + 5, 2**53 - 1]


def _top_two(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest index of the largest score, and its lead."""
    best = scores.argmax(-1)
    ordered = np.sort(scores, -1)
    return best, ordered[..., -1] - ordered[..., -2]


def typical(logits: np.ndarray, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Typical filtering at temperature 1: logits [N, V] -> kept [N, V] bool, margin [N].

    Codes are ranked by |−log p − H|, and the smallest prefix that reaches `mass` stays, with all ties of its last
    member. The margin is how much a cumulated probability or a score may change before another set stays.
    """
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    p = np.exp(log_p)
    entropy = -(p * log_p).sum(-1, keepdims=True)
    score = np.abs(-log_p - entropy)
    order = np.argsort(score, -1, kind="stable")
    cumulated = np.take_along_axis(p, order, -1).cumsum(-1)
    last = (cumulated < mass).sum(-1, keepdims=True).clip(max=logits.shape[-1] - 1)
    ranked = np.take_along_axis(score, order, -1)
    kept = score <= np.take_along_axis(ranked, last, -1)
    following = np.pad(ranked, ((0, 0), (0, 1)), constant_values=np.inf)
    gap = np.take_along_axis(following, last + 1, -1) - np.take_along_axis(ranked, last, -1)
    reach = np.abs(cumulated - mass).min(-1)
    return kept, np.minimum(gap[..., 0], reach)


def draw(
    logits: np.ndarray, seed: int, step: int, temperature: float, mode: str, mass: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """One draw for every row of logits [N, V] float64 -> tokens [N], margin [N]."""
    positions, codes = logits.shape
    margin = np.full(positions, np.inf)
    if mass > 0:
        kept, margin = typical(logits, mass)
        logits = np.where(kept, logits, -np.inf)
    scores = logits if mode == "argmax" else logits / temperature + gumbel(seed, step, positions, codes)
    tokens, lead = _top_two(scores)
    return tokens, np.minimum(margin, lead)


def _f32(values: np.ndarray) -> Tensor:
    # An infinite margin (only one code left) is written as a large one: files hold finite numbers.
    return torch.from_numpy(np.minimum(values, 1e9).astype(np.float32))


def numbers_case() -> None:
    """Words, Gumbel values, initial noise, re-noising masks, and draws from given logits."""
    rng = np.random.default_rng(501)
    counters = np.concatenate([[c for c, _, _ in KNOWN_ANSWERS], rng.integers(0, 2**32, (13, 4))])
    keys = np.concatenate([[k for _, k, _ in KNOWN_ANSWERS], rng.integers(0, 2**32, (13, 2))])
    words = np.concatenate(
        [
            [0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 2**9, 2**32 - 2**8, 2**32 - 2, 2**32 - 1],
            rng.integers(0, 2**32, 501),
        ]
    ).astype(np.uint64)
    tensors = {
        "philox/counter": torch.from_numpy(counters.astype(np.int64)),
        "philox/key": torch.from_numpy(keys.astype(np.int64)),
        "philox/words": torch.from_numpy(philox(counters, keys).astype(np.int64)),
        "gumbel/words": torch.from_numpy(words.astype(np.int64)),
        "gumbel/values": _f32(gumbel_of_words(words)),
        "seeds": torch.tensor(SEEDS),
        "initial/tokens_8192": torch.stack([torch.from_numpy(initial_tokens(s, 96, 8192)) for s in SEEDS]).view(
            -1, 8, 12
        ),
        "initial/tokens_53": torch.stack([torch.from_numpy(initial_tokens(s, 96, 53)) for s in SEEDS]).view(-1, 8, 12),
    }
    for step, level in ((0, 0.875), (1, 0.5), (31, 0.09375)):
        masks = [torch.from_numpy(renoise_uniform(s, step, 96) < level).to(torch.uint8) for s in SEEDS]
        tensors[f"renoise/step_{step}/level"] = torch.tensor([level])
        tensors[f"renoise/step_{step}/mask"] = torch.stack(masks).view(-1, 8, 12)
    tensors["renoise/uniforms_step_1"] = torch.stack([_f32(renoise_uniform(s, 1, 96)) for s in SEEDS])

    # Sharp and flat rows side by side; 53 codes leave an incomplete block of four words.
    logits = (rng.standard_normal((4, 24, 53)) * rng.uniform(0.2, 6, (4, 24, 1))).astype(np.float32)
    # Two equal largest logits: argmax takes the lower code.
    logits[0, 0, [11, 40]] = logits[0, 0].max() + 1
    tensors["draw/logits"] = torch.from_numpy(logits).view(4, 4, 6, 53)
    cases: dict[str, tuple[str, float, float]] = {
        "argmax": ("argmax", 1.0, 0.0),
        "temperature_1.0": ("multinomial", 1.0, 0.0),
        "temperature_0.25": ("multinomial", 0.25, 0.0),
        "temperature_1.5": ("multinomial", 1.5, 0.0),
        "typical_0.2": ("multinomial", 1.0, 0.2),
        "typical_0.9_temperature_0.5": ("multinomial", 0.5, 0.9),
    }
    step = 3
    tensors["draw/step"] = torch.tensor([step])
    for name, (mode, temperature, mass) in cases.items():
        drawn = [draw(logits[b].astype(np.float64), s, step, temperature, mode, mass) for b, s in enumerate(SEEDS)]
        tensors[f"draw/{name}/tokens"] = torch.from_numpy(np.stack([t for t, _ in drawn])).view(4, 4, 6)
        tensors[f"draw/{name}/margin"] = _f32(np.stack([m for _, m in drawn])).view(4, 4, 6)
        if mass > 0:
            kept = np.stack([typical(logits[b].astype(np.float64), mass)[0] for b in range(4)])
            tensors[f"draw/{name}/kept"] = torch.from_numpy(kept.astype(np.uint8)).view(4, 4, 6, 53)
    # The re-noised token comes from the image's own initial noise.
    tokens = torch.from_numpy(rng.integers(0, 53, (4, 96)))
    noise = tensors["initial/tokens_53"].view(4, 96)
    masks = tensors["renoise/step_1/mask"].view(4, 96).bool()
    tensors["renoise/step_1/before"] = tokens.view(4, 8, 12)
    tensors["renoise/step_1/after"] = torch.where(masks, noise, tokens).view(4, 8, 12)
    write_io(ROOT / "sampler", tensors)


LOOP_TEXT = TEXT_CONFIG | dict(num_layers=2)
LOOP_UNET = dict(
    c_in=12, c_out=12, num_labels=24, c_r=16, patch_size=2, c_cond=16, c_hidden=[16, 24], nhead=[-1, 3], blocks=[1, 2],
    level_config=["CT", "CTA"], byt5_embd=24, clip_embd=0, clip_image_embd=0, clip_seq_len=4, kernel_size=3,
)  # fmt: skip
LOOP_VQGAN = dict(levels=2, bottleneck_blocks=1, c_hidden=16, c_latent=4, codebook_size=24, scale_factor=0.3764)


@dataclass
class Run:
    """Arguments of one generation; times are exact in fp32, because the embedding of r multiplies them by 10^4."""

    mode: str = "multinomial"
    mass: float = 0.0
    init: bool = False
    prompt: str = "a red circle"
    negative: str = "blur"
    seeds: list[int] = field(default_factory=lambda: [3, 18, 2**33 + 4])
    height: int = 8
    width: int = 12
    steps: int = 8
    renoise_steps: int = 6
    conditional_steps: int = 5
    guidance: tuple[float, float] = (3.0, 1.5)
    temperature: tuple[float, float] = (1.25, 0.375)


def _ramp(ends: tuple[float, float], steps: int) -> np.ndarray:
    return np.linspace(ends[0], ends[1], steps)


def loop(run: Run, text: ByT5Encoder, unet: UNet, init: Tensor | None) -> dict[str, Tensor]:
    """Section 4.1 in its plain order: both passes, guided logits, softmax draw, re-noising."""
    positions, codes = run.height * run.width, unet.config["num_labels"]
    batch = len(run.seeds)
    conditions = []
    for prompt in (run.prompt, run.negative):
        states = text(torch.tensor(tokenize(prompt))[None])
        conditions.append(unet.condition(states).expand(batch, -1, -1))
    noise = torch.stack([torch.from_numpy(initial_tokens(s, positions, codes)) for s in run.seeds])
    x = noise.clone() if init is None else init.flatten().expand(batch, -1).clone()
    times = np.linspace(1.0, 0.0, run.steps + 1)
    guidance, temperature = _ramp(run.guidance, run.steps), _ramp(run.temperature, run.steps)
    record: dict[str, list[Tensor]] = {"drawn": [], "tokens": [], "margin": [], "logits": []}
    for i in range(run.steps):
        r = torch.full((batch,), float(times[i]))
        grid = x.view(batch, run.height, run.width)
        logits = unet.out_mapper(unet.features(grid, r, conditions[0])).double()
        if i < run.conditional_steps:
            unconditional = unet.out_mapper(unet.features(grid, r, conditions[1])).double()
            logits = guidance[i] * logits + (1 - guidance[i]) * unconditional
        rows = logits.view(batch, positions, codes).numpy()
        drawn = [draw(rows[b], s, i, temperature[i], run.mode, run.mass) for b, s in enumerate(run.seeds)]
        x = torch.from_numpy(np.stack([tokens for tokens, _ in drawn]))
        record["logits"].append(logits.float())
        record["drawn"].append(x)
        record["margin"].append(_f32(np.stack([margin for _, margin in drawn])))
        if i < run.renoise_steps:
            masks = [torch.from_numpy(renoise_uniform(s, i, positions) < times[i + 1]) for s in run.seeds]
            x = torch.where(torch.stack(masks), noise, x)
        record["tokens"].append(x)
    shape = (run.steps, batch, run.height, run.width)
    tensors = {
        name: torch.stack(values).view(*shape, *([codes] if name == "logits" else []))
        for name, values in record.items()
    }
    return tensors | {
        "initial_noise": noise.view(shape[1:]),
        "times": torch.from_numpy(times).float(),
        "guidance": torch.from_numpy(guidance).float(),
        "temperature": torch.from_numpy(temperature).float(),
    }


def _options(run: Run) -> dict:
    """In the words of the public interface; width and height in tokens."""
    return {
        "prompt": run.prompt, "negativePrompt": run.negative, "seeds": run.seeds, "width": run.width,
        "height": run.height, "steps": run.steps, "renoiseSteps": run.renoise_steps,
        "conditionalSteps": run.conditional_steps, "guidanceScale": list(run.guidance),
        "temperature": list(run.temperature), "sampler": run.mode, "typicalMass": run.mass, "initTokens": run.init,
    }  # fmt: skip


def loop_case() -> None:
    """A whole model folder with random weights, and three generations with it."""
    text, unet, vqgan = fill(ByT5Encoder(LOOP_TEXT), 601), fill(UNet(LOOP_UNET), 602), fill(VQGAN(LOOP_VQGAN), 603)
    plain = Run()
    save_model(
        ROOT / "loop", "golden-loop", "MIT",
        {
            "width": 4 * plain.width, "height": 4 * plain.height, "steps": plain.steps,
            "renoise_steps": plain.renoise_steps, "guidance_scale": list(plain.guidance),
            "temperature": list(plain.temperature), "conditional_steps": plain.conditional_steps,
            "negative_prompt": plain.negative, "typical_mass": None,
        },
        text, unet, vqgan,
    )  # fmt: skip
    init = torch.from_numpy(
        np.random.default_rng(604).integers(0, LOOP_UNET["num_labels"], (plain.height, plain.width))
    )
    # Seeds were chosen for wide margins, so that no draw of a loop is a near tie.
    runs = {
        "plain": plain,
        "init": Run(init=True, seeds=[30, 18, 2**33 + 24]),
        "argmax": Run(mode="argmax", seeds=[28]),
        "typical": Run(mass=0.5, seeds=[183]),
    }
    tensors: dict[str, Tensor] = {"init_tokens": init}
    for name, run in runs.items():
        made = loop(run, text, unet, init if run.init else None)
        if name != "plain":
            del made["logits"]
        pixels = vqgan.decode_indices(made["tokens"][-1])
        made |= {
            "seeds": torch.tensor(run.seeds),
            "pixels": pixels,
            "rgb": to_bytes(pixels),
            "rgb_margin": pixel_margin(pixels),
        }
        tensors |= {f"{name}/{key}": value for key, value in made.items()}
        if made["margin"].min() < 3e-4:
            raise AssertionError(f"loop {name}: a near tie; choose other seeds")
    for name, prompt in (("prompt", plain.prompt), ("negative", plain.negative)):
        ids = torch.tensor(tokenize(prompt))
        tensors |= {f"{name}_ids": ids, f"{name}_states": text(ids[None])[0]}
    write_json(ROOT / "loop" / "runs.json", {name: _options(run) for name, run in runs.items()})
    write_io(ROOT / "loop", tensors)


def sampler_cases() -> None:
    with torch.no_grad():
        numbers_case()
        loop_case()
