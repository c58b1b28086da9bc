"""Writes heldout.json: captions whose combinations training never sees, with what a right picture must show.

python heldout.py [seed]
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from captions import caption_of
from domain import LAYOUTS, Scene, random_scene, scene_is_held_out


def entry(rng: random.Random, scene: Scene) -> dict:
    """Caption and expectation; objects in the order of mention, `size` only where the caption names one."""
    caption = caption_of(rng, scene, plain=True)
    things = [scene.things[i] for i in caption.order]
    return {
        "caption": caption.text,
        "background": scene.background,
        "objects": [
            {"shape": t.shape, "colour": t.colour} | ({} if t.size == "medium" else {"size": t.size}) for t in things
        ],
        "relations": [{"kind": kind, "a": a, "b": b} for kind, a, b in caption.relations],
    }


def held_out_entries(seed: int) -> list[dict]:
    """50 captions of one object, 250 of two, then 100 of three; all different."""
    rng = random.Random(seed)
    entries: list[dict] = []
    seen: set[str] = set()
    for count, layouts in ((50, LAYOUTS[:1]), (250, LAYOUTS[1:3]), (100, LAYOUTS[3:])):
        target = len(entries) + count
        while len(entries) < target:
            scene = random_scene(rng, rng.choice(layouts))
            if not scene_is_held_out(scene):
                continue
            made = entry(rng, scene)
            if made["caption"] not in seen:
                seen.add(made["caption"])
                entries.append(made)
    return entries


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 2024
    rows = ",\n".join("    " + json.dumps(e) for e in held_out_entries(seed))
    note = "kind k, a, b: objects[a] is k (above, below, left of, right of) objects[b]; only stated relations are listed"
    Path(__file__).with_name("heldout.json").write_text(
        f'{{\n  "seed": {seed},\n  "note": {json.dumps(note)},\n  "captions": [\n{rows}\n  ]\n}}\n'
    )
