"""Golden cases of what a picture is conditioned on: normal numbers, CLIP's encoders, the prior, conditions of the U-Net."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import prior
from attention_weights import with_literal_weights
from clip import ClipImage, ClipText
from golden_io import ROOT, Recorder, write_case, write_io
from golden_networks import integers, normal
from golden_random import PRIOR, normal_of_pair, philox, round_normals
from golden_random import normal as normal_numbers
from golden_weights import fill
from model_folder import load_component
from prior import PriorModel
from unet import UNet, layer_norm, timestep_embedding

CLIP_TEXT = dict(width=64, layers=3, heads=4, mlp_width=96, context_length=77, vocab_size=120, embed_dim=40)
# 16 patches of 7x7: as in ViT-H-14, neither a patch's 147 values nor the 17 tokens are a multiple of four.
CLIP_IMAGE = dict(width=72, layers=3, heads=4, mlp_width=76, patch_size=7, image_size=28, embed_dim=40)
PRIOR_CONFIG = dict(c_in=32, c_hidden=48, c_inner=96, c_cond=32, c_r=16, num_layers=4)
START, END = 118, 119

PRIOR_SEEDS = [7, 2**33 + 5]
PRIOR_STEPS = (5, 60)


def normal_numbers_case() -> None:
    """Words with the extremes of both uniforms, and elements of the prior's noise."""
    rng = np.random.default_rng(601)
    edges = [0, 1, 255, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 2, 2**32 - 1]
    pairs = [(w, v) for w in edges for v in edges] + rng.integers(0, 2**32, (412, 2)).tolist()
    words = np.array(pairs, np.uint64).reshape(-1, 4)
    values = np.array([normal_of_pair(int(w), int(v)) for w, v in pairs]).reshape(-1, 4)
    seeds, steps, count = [0, 7, 2**33 + 5, 2**53 - 1], [0, 1, 60], 37  # the last block is incomplete
    elements = [[normal_numbers(seed, step, count) for step in steps] for seed in seeds]
    counters = np.array([[0, 0, step, PRIOR] for step in steps])
    blocks = [philox(counters, np.array([seed & 0xFFFFFFFF, seed >> 32])) for seed in seeds]
    write_io(ROOT / "normal", {
        "pairs/words": torch.from_numpy(words.astype(np.int64)),
        "pairs/values": torch.from_numpy(round_normals(values)),
        "seeds": torch.tensor(seeds),
        "steps": torch.tensor(steps),
        "elements": torch.from_numpy(np.array(elements)),
        "first_block/words": torch.from_numpy(np.array(blocks).astype(np.int64)),
    })  # fmt: skip


def clip_text_case() -> None:
    module: ClipText = fill(ClipText(CLIP_TEXT), 611)  # type: ignore[assignment]
    rng = np.random.default_rng(612)

    def text(length: int) -> Tensor:
        """Start of text, words, end of text."""
        return torch.cat([torch.tensor([START]), integers(rng, START, length - 2), torch.tensor([END])])

    tensors: dict[str, Tensor] = {}
    for length in (2, 9, 40, 77):
        ids = text(length)
        recorder = Recorder(module, {f"transformer.resblocks.{i}": [] for i in range(3)} if length == 9 else {})
        tensors |= {
            f"length_{length}/ids": ids,
            f"length_{length}/states": module.states(ids[None])[0],
            f"length_{length}/embedding": module(ids[None])[0],
        }
        tensors |= {f"length_9/{name.removeprefix('block/')}": v[0] for name, v in recorder.close().items()}
    # As the tokenizer of open_clip gives them: padded with 0 to the whole context.
    padded = torch.zeros(3, 77, dtype=torch.int64)
    for row, length in enumerate((5, 23, 77)):
        padded[row, :length] = text(length)
    # An end of text within the text: the first one counts.
    two_ends = text(12)
    two_ends[6] = END
    tensors |= {"batch/ids": padded, "batch/embedding": module(padded)}
    tensors |= {"two_ends/ids": two_ends, "two_ends/embedding": module(two_ends[None])[0]}
    write_case("clip-text", "clip_text", module, tensors)


def clip_image_case() -> None:
    module: ClipImage = fill(ClipImage(CLIP_IMAGE), 621)  # type: ignore[assignment]
    rng = np.random.default_rng(622)
    size = CLIP_IMAGE["image_size"]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    shade = torch.stack([9 * y, 9 * x, 255 - 9 * y], -1)  # every edge another colour: turned or mirrored would show
    extremes = 255 * torch.stack([(y + x) % 2, (y // 7) % 2, (x // 7) % 2], -1)
    pixels = torch.stack([integers(rng, 256, size, size, 3), shade, extremes]).to(torch.uint8)
    recorder = Recorder(module, {f"visual.transformer.resblocks.{i}": [] for i in range(2)})
    tensors = {"batch/pixels": pixels, "batch/embedding": module(pixels)}
    tensors |= {f"batch/{name.removeprefix('block/')}": value for name, value in recorder.close().items()}
    normalised = module.normalise(pixels)
    tensors |= {
        "batch/normalised": normalised,
        "batch/embedded": module.visual.embed(normalised),
        "batch/states": module.visual.states(normalised),
    }
    one = integers(rng, 256, 1, size, size, 3).to(torch.uint8)
    tensors |= {"one/pixels": one, "one/embedding": module(one)}
    write_case("clip-image", "clip_image", module, tensors)


def prior_case() -> None:
    module: PriorModel = fill(PriorModel(PRIOR_CONFIG), 631)  # type: ignore[assignment]
    # Something near x as prediction, as a trained prior has it for much noise: x then stays near one for all steps, and
    # what the last steps add is not lost in large numbers.
    first, last = module.blocks[0].weight, module.blocks[-1].weight
    orthogonal = torch.linalg.qr(first.double()).Q.float()
    first.copy_(4 * orthogonal)
    last.copy_(0.1 * last + orthogonal.T / 4)
    rng = np.random.default_rng(632)
    width = PRIOR_CONFIG["c_in"]
    x, c, r = normal(rng, 3, width), normal(rng, 3, width), torch.tensor([1.0, 0.625, 0.03125])
    recorder = Recorder(module, {f"blocks.{i}": [] for i in range(len(module.blocks) - 1)})
    tensors = {"x": x, "c": c, "r": r, "eps": module(x, c, r)}
    tensors |= {name.removeprefix("block/"): value for name, value in recorder.close().items()}
    tensors["timestep_embedding"] = timestep_embedding(r, PRIOR_CONFIG["c_r"])
    tensors["eps_unconditional"] = module(x, torch.zeros_like(c), r)

    text = normal(rng, len(PRIOR_SEEDS), width)
    noise = np.array([[normal_numbers(s, step, width) for s in PRIOR_SEEDS] for step in range(max(PRIOR_STEPS))])
    tensors |= {"sample/seeds": torch.tensor(PRIOR_SEEDS), "sample/c": text, "sample/noise": torch.from_numpy(noise)}
    for steps in PRIOR_STEPS:
        moments = prior.times(steps)
        tensors[f"sample/times_{steps}"] = torch.tensor(moments)
        tensors[f"sample/signal_{steps}"] = torch.tensor([prior.signal(t) for t in moments])
        for mode in ("ddpm", "ddim"):
            rows = [prior.coefficients(mode, t, following) for t, following in zip(moments, moments[1:])]
            tensors[f"sample/{mode}_{steps}/coefficients"] = torch.tensor(rows)
            tensors[f"sample/{mode}_{steps}/x"] = torch.stack(
                prior.sample(module, text, tensors["sample/noise"][:steps], steps, mode)
            )
    unguided = prior.sample(module, text, tensors["sample/noise"][:5], 5, "ddpm", guidance=1.0)
    tensors["sample/unguided/x"] = torch.stack(unguided)
    write_case("prior", "prior", module, tensors)


def unet_conditions_case() -> None:
    """With the weights of unet-three-levels, read from its folder."""
    module: UNet = load_component(ROOT / "unet-three-levels", "unet").requires_grad_(False)  # type: ignore[assignment]
    config = module.config
    rng = np.random.default_rng(642)
    tokens, r = integers(rng, config["num_labels"], 1, 8, 8), torch.tensor([0.5625])
    byt5, clip = normal(rng, 1, 9, config["byt5_embd"]), normal(rng, 1, config["clip_embd"])
    images = [normal(rng, 1, config["clip_image_embd"]) for _ in range(2)]
    empty, short = normal(rng, 1, 1, config["byt5_embd"]), byt5[:, :3]
    tensors = {"tokens": tokens, "r": r, "byt5": byt5, "byt5_empty": empty, "clip": clip}
    tensors |= {f"clip_image_{i}": image for i, image in enumerate(images)}
    # As many numbers as there are condition keys: one is masked, some count more than once, none twice the same.
    every_key = torch.from_numpy(rng.permutation(np.arange(9 + 3 * config["clip_seq_len"]) / 8)).float()
    with_images: dict = dict(byt5=byt5, clip=clip, clip_image=images)
    cases: dict[str, tuple[dict, Tensor | None]] = {
        "clip": (dict(byt5=byt5, clip=clip), None),
        "clip+image": (dict(byt5=byt5, clip=clip, clip_image=images[:1]), None),
        "clip+2_images": (with_images, None),
        # The unconditional pass: the ByT5 state of "" and the CLIP text embedding of "".
        "unconditional": (dict(byt5=empty, clip=clip), None),
        # Section 4.3: one weight per ByT5 token, aligned to the end of all keys; the last four weaken the image.
        "weights_as_in_4.3": (dict(byt5=byt5, clip=clip, clip_image=images[:1]), torch.tensor([1.2] * 5 + [0.4] * 4)),
        # The same of a text of three tokens: fewer weights than the image has keys.
        "weights_short": (dict(byt5=short, clip=clip, clip_image=images[:1]), torch.tensor([0.4] * 3)),
        "weights_every_key": (with_images, every_key),
    }
    literal = with_literal_weights(module)
    for name, (conditions, weights) in cases.items():
        sequence = module.condition(**conditions)
        features = layer_norm(literal.features(tokens, r, sequence, attn_weights=weights))
        tensors[f"{name}/condition"] = sequence
        tensors[f"{name}/features"] = features
        tensors[f"{name}/logits"] = module.out_mapper[1](features)
        if weights is not None:
            tensors[f"{name}/attn_weights"] = weights
    write_io(ROOT / "unet-conditions", tensors)


def condition_cases() -> None:
    with torch.no_grad():
        normal_numbers_case()
        clip_text_case()
        clip_image_case()
        prior_case()
        unet_conditions_case()
