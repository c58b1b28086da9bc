"""Writes heldout.json, captions whose combinations training never sees, and tuning.json, captions of combinations that it
may see, each with what a right picture must show: python heldout.py [seed]
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from captions import caption_of
from domain import COUNT_OF_LAYOUT, LAYOUT_NAMES, WEIGHTS, Scene, Thing, random_scene, scene_is_held_out

# (name of the part, how many captions, numbers of objects)
PARTS = [
    ("one or two objects", 500, (1, 2)),
    ("three or four objects", 500, (3, 4)),
    ("unseen wordings", 300, (1, 2, 3, 4)),
]
TUNING = [("one or two objects", 150, (1, 2)), ("three or four objects", 150, (3, 4))]


def relations(scene: Scene) -> list[dict]:
    """What the layout says about the drawn objects, numbered slot after slot: `a` is above, left of or inside `b`, or
    between `b` and `c`, or in the corner `at`."""
    first, groups = 0, []
    for _, count in scene.slots:
        groups.append(list(range(first, first + count)))
        first += count
    layout = scene.layout

    def every(kind: str, upper: list[int], lower: list[int]) -> list[dict]:
        return [{"kind": kind, "a": a, "b": b} for a in upper for b in lower]

    if layout in ("row2", "row3", "column2", "column3"):
        kind = "left" if layout.startswith("row") else "above"
        return [r for a, b in zip(groups, groups[1:]) for r in every(kind, a, b)]
    if layout == "square4":
        return every("above", groups[0] + groups[1], groups[2] + groups[3])
    if layout == "inside":
        return every("inside", groups[1], groups[0])
    if layout == "between":
        return [{"kind": "between", "a": 0, "b": 1, "c": 2}]
    if layout.split()[0] in ("top", "bottom"):
        return [{"kind": "corner", "a": 0, "at": layout}]
    if len(groups) == 2:  # a group above or below one thing
        return every("above", groups[0], groups[1])
    return []


def _wanted(thing: Thing) -> dict:
    size = {"size": thing.size} if thing.size in ("small", "large") else {}
    return {"figure": thing.figure, "colour": thing.colour, "texture": thing.texture} | size


def entry(rng: random.Random, scene: Scene, plain: bool, unseen: bool, part: str) -> dict:
    caption = caption_of(rng, scene, plain=plain, unseen=unseen)
    objects = [_wanted(t) for t, (_, count) in zip(scene.things, scene.slots) for _ in range(count)]
    stated = caption.related or scene.layout in ("between", "inside") or len(scene.things) == 1
    return {
        "caption": caption.text,
        "part": part,
        "background": scene.background,
        "objects": objects,
        "relations": relations(scene) if stated else [],
    }


def entries(rng: random.Random, parts: list[tuple[str, int, tuple[int, ...]]], held_out: bool) -> list[dict]:
    """All different."""
    made: dict[str, dict] = {}
    for part, count, numbers in parts:
        layouts = [name for name in LAYOUT_NAMES if COUNT_OF_LAYOUT[name] in numbers]
        weights = [WEIGHTS[name] for name in layouts]
        target = len(made) + count
        unseen = part == "unseen wordings"
        while len(made) < target:
            scene = random_scene(rng, rng.choices(layouts, weights)[0])
            if scene_is_held_out(scene) != held_out:
                continue
            one = entry(rng, scene, plain=not unseen and rng.random() < 0.5, unseen=unseen, part=part)
            made.setdefault(one["caption"], one)
    return list(made.values())


def write(path: Path, seed: int, made: list[dict]) -> None:
    note = (
        "objects: every single one that must be there; a size only where the caption names one. relations: objects[a] is "
        "above, left of or inside objects[b], or between objects[b] and objects[c], or in the corner `at`; stated ones only."
    )
    rows = ",\n".join("    " + json.dumps(e) for e in made)
    path.write_text(f'{{\n  "seed": {seed},\n  "note": {json.dumps(note)},\n  "captions": [\n{rows}\n  ]\n}}\n')


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 2024
    here = Path(__file__).parent
    write(here / "heldout.json", seed, entries(random.Random(seed), PARTS, True))
    write(here / "tuning.json", seed + 1, entries(random.Random(seed + 1), TUNING, False))
