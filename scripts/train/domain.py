"""The domain of the bundled model: scenes of one to three flat shapes, and which of them are held out of training.

A scene names its objects in reading order (left to right, or top to bottom). The vocabulary is in domain.json, which
the evaluator reads as well.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

DOMAIN = json.loads((Path(__file__).parent / "domain.json").read_text())
SHAPES: list[str] = DOMAIN["shapes"]
COLOURS: list[str] = list(DOMAIN["colours"])
BACKGROUNDS: list[str] = list(DOMAIN["backgrounds"])
SIZES: list[str] = list(DOMAIN["sizes"])

# How the objects of a scene are arranged; the number is their count.
LAYOUTS = ["single", "row2", "column2", "row3", "column3"]
# What place an object has in its scene. These are the roles that a caption's bytes learn to announce (text_train.py).
ROLES = ["alone", "left", "right", "top", "bottom", "middle of row", "middle of column"]
ROLES_OF_LAYOUT: dict[str, list[str]] = {
    "single": ["alone"],
    "row2": ["left", "right"],
    "column2": ["top", "bottom"],
    "row3": ["left", "middle of row", "right"],
    "column3": ["top", "middle of column", "bottom"],
}


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    shape: str
    colour: str
    size: str


@dataclass(frozen=True)
class Scene:
    """Objects in reading order on a plain background."""

    background: str
    layout: str
    things: tuple[Thing, ...]


def _tenth(text: str) -> bool:
    """True for about one text in ten, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 10 == 0


def pair_is_held_out(a: Thing, b: Thing) -> bool:
    """Whether the unordered pair of (colour, shape) never occurs together in a training scene."""
    names = sorted([f"{a.colour} {a.shape}", f"{b.colour} {b.shape}"])
    return _tenth("pair " + " + ".join(names))


def scene_is_held_out(scene: Scene) -> bool:
    """Whether training must not see this scene.

    Several objects: it contains a held-out pair. One object: its combination of size, colour, shape and background
    is held out.
    """
    things = scene.things
    if len(things) == 1:
        return _tenth(f"single {things[0].size} {things[0].colour} {things[0].shape} on {scene.background}")
    return any(pair_is_held_out(a, b) for i, a in enumerate(things) for b in things[i + 1 :])


def random_scene(rng: random.Random, layout: str) -> Scene:
    """A scene of the given layout, held out or not. No two objects share both colour and shape."""
    count = len(ROLES_OF_LAYOUT[layout])
    # Three large objects do not fit side by side with gaps.
    sizes = ["medium", "medium", "medium", "small", "small"] if count == 3 else ["medium", "medium", "small", "large"]
    looks: list[tuple[str, str]] = []
    while len(looks) < count:
        look = (rng.choice(SHAPES), rng.choice(COLOURS))
        if look not in looks:
            looks.append(look)
    background = "white" if rng.random() < 0.4 else rng.choice(BACKGROUNDS[1:])
    return Scene(background, layout, tuple(Thing(s, c, rng.choice(sizes)) for s, c in looks))


def training_scene(rng: random.Random, layout_weights: list[float]) -> Scene:
    """A scene that training may see; `layout_weights` follow LAYOUTS."""
    layout = rng.choices(LAYOUTS, layout_weights)[0]
    while scene_is_held_out(scene := random_scene(rng, layout)):
        pass
    return scene
