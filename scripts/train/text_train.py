"""Trains the bundled model's text encoder on its own, with dense byte-level targets: python text_train.py WORK [--steps N]

Every byte of a thing's phrase must tell, through linear heads, that thing's colour, figure, texture, size and role (its
place in the scene: left, top, alone, ...), and every byte the background and the layout. The heads are thrown away. A
U-Net that reads this encoder only has to fetch by role, instead of learning English through its own loss.

With --start an encoder learns on, and stays close to what a U-Net may already have learned to read from it.
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captions import Caption, training_caption
from common import CONFIG, Log  # also makes scripts/reference importable
from byt5 import PAD, ByT5Encoder, tokenize
from domain import BACKGROUNDS, COLOURS, FIGURES, LAYOUT_NAMES, ROLES, SIZES, TEXTURES, Scene, training_scene
from model_folder import load_component, save_component

BATCH, RATE = 64, 2e-3
RATE_ON = 5e-4  # of an encoder that learns on
ANCHOR = 10.0  # weight of its states' squared distance from what they were
HEADS_ALONE = 200  # steps in which only the new heads learn
HEADS = {
    "colour": len(COLOURS), "figure": len(FIGURES), "texture": len(TEXTURES), "size": len(SIZES), "role": len(ROLES),
    "background": len(BACKGROUNDS), "layout": len(LAYOUT_NAMES),
}  # fmt: skip
IGNORED = -100
HIDDEN = -1e4  # added to attention logits at padding


def pad_batch(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Token ids int64 [B, T] and the bias that hides padding, fp32 [B, T]."""
    rows = [tokenize(t) for t in texts]
    length = max(map(len, rows))
    ids = torch.tensor([r + [PAD] * (length - len(r)) for r in rows])
    bias = torch.tensor([[0.0] * len(r) + [HIDDEN] * (length - len(r)) for r in rows])
    return ids, bias


def byte_targets(scene: Scene, caption: Caption, length: int) -> dict[str, list[int]]:
    """One class per position and head; IGNORED where a head has nothing to say. The end token counts as a byte."""
    own = len(caption.text) + 1
    rows = {name: [IGNORED] * length for name in HEADS}
    rows["background"][:own] = [BACKGROUNDS.index(scene.background)] * own
    rows["layout"][:own] = [LAYOUT_NAMES.index(scene.layout)] * own
    for (start, end), index in zip(caption.spans, caption.order):
        thing = scene.things[index]
        values = {
            "colour": COLOURS.index(thing.colour),
            "figure": FIGURES.index(thing.figure),
            "texture": TEXTURES.index(thing.texture),
            "size": SIZES.index(thing.size),
            "role": ROLES.index(scene.slots[index][0]),
        }
        for name, value in values.items():
            rows[name][start:end] = [value] * (end - start)
    return rows


def fresh_encoder() -> ByT5Encoder:
    encoder = ByT5Encoder(CONFIG["text_encoder"])
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    for block in encoder.encoder.block:  # T5 has no 1/sqrt(d) in its logits; it belongs into the start values
        block.layer[0].SelfAttention.q.weight.data *= CONFIG["text_encoder"]["d_kv"] ** -0.5
    nn.init.normal_(encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=0.5)
    return encoder


def main(work: Path, steps: int, start: Path | None) -> None:
    torch.manual_seed(2)
    rng = random.Random(4 if start else 3)
    work.mkdir(parents=True, exist_ok=True)
    log = Log(work, "text")
    encoder = load_component(start, "text_encoder") if start else fresh_encoder()
    before = load_component(start, "text_encoder") if start else None
    rate = RATE_ON if start else RATE
    heads = nn.Linear(CONFIG["text_encoder"]["d_model"], sum(HEADS.values()))
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.08)
    ready: list[list[tuple[Scene, Caption]]] = []
    for step in range(steps):
        if not ready:  # four batches at once, dealt out by length, so that little is spent on padding
            scenes = [training_scene(rng) for _ in range(4 * BATCH)]
            pairs = sorted(((s, training_caption(rng, s)) for s in scenes), key=lambda pair: len(pair[1].text))
            ready = [pairs[k : k + BATCH] for k in range(0, len(pairs), BATCH)]
            rng.shuffle(ready)
        scenes, captions = zip(*ready.pop())
        ids, bias = pad_batch([c.text for c in captions])
        rows = [byte_targets(s, c, ids.shape[1]) for s, c in zip(scenes, captions)]
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(before is None or step >= HEADS_ALONE):
            states = encoder(ids, bias)
        parts = heads(states.float()).split(list(HEADS.values()), -1)
        loss = torch.zeros(())
        if before is not None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                wanted = before(ids, bias)
            known = (bias == 0) & ~torch.tensor([c.invented for c in captions])[:, None]
            loss = ANCHOR * (states.float() - wanted.float())[known].square().mean()
        correct: dict[str, float] = {}
        for name, logits in zip(HEADS, parts):
            target = torch.tensor([r[name] for r in rows])
            loss = loss + F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED)
            if step % 50 == 49:
                known = target != IGNORED
                correct[name] = round((logits.argmax(-1) == target)[known].float().mean().item(), 4)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            log.write(step=step + 1, loss=round(loss.item(), 4), **correct)
    save_component(work, "text_encoder", encoder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--start", type=Path, help="a model folder whose text encoder learns on")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main(options.work, options.steps, options.start)
