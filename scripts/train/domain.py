"""The domain of the bundled model: small illustrated scenes, and which of them are held out of training.

The vocabulary and the figures' geometry are in domain.json, which the evaluator reads as well. A scene has a layout, and
one `Thing` for each of the layout's slots; a slot may be filled several times ("three red stars").
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DOMAIN = json.loads((Path(__file__).parent / "domain.json").read_text())
FIGURES: list[str] = list(DOMAIN["figures"])
COLOURS: list[str] = list(DOMAIN["colours"])
TEXTURES: list[str] = DOMAIN["textures"]
BACKGROUNDS: list[str] = list(DOMAIN["backgrounds"])
SIZES = ["small", "medium", "large", "container", "inner"]

# Slots of every layout, in reading order, as (role, how many times it is filled). The roles are what a caption's bytes
# learn to announce (text_train.py); the place of a role is the same in every layout that has it.
LAYOUTS: dict[str, list[tuple[str, int]]] = {
    "single": [("alone", 1)],
    "top left": [("in the top left corner", 1)],
    "top right": [("in the top right corner", 1)],
    "bottom left": [("in the bottom left corner", 1)],
    "bottom right": [("in the bottom right corner", 1)],
    "row2": [("left", 1), ("right", 1)],
    "column2": [("top", 1), ("bottom", 1)],
    "inside": [("outer", 1), ("inner", 1)],
    "row3": [("left of three", 1), ("middle of row", 1), ("right of three", 1)],
    "column3": [("top of three", 1), ("middle of column", 1), ("bottom of three", 1)],
    "between": [("middle of row", 1), ("both sides", 2)],
    "group2": [("two", 2)],
    "group3": [("three", 3)],
    "group4": [("four", 4)],
    "group2 top": [("two on top", 2), ("bottom", 1)],
    "group3 top": [("three on top", 3), ("bottom", 1)],
    "group2 bottom": [("top", 1), ("two at the bottom", 2)],
    "group3 bottom": [("top", 1), ("three at the bottom", 3)],
    "square4": [("top left", 1), ("top right", 1), ("bottom left", 1), ("bottom right", 1)],
}
LAYOUT_NAMES = list(LAYOUTS)
ROLES = sorted({role for slots in LAYOUTS.values() for role, _ in slots})
COUNT_OF_LAYOUT = {name: sum(n for _, n in slots) for name, slots in LAYOUTS.items()}
# How often captions ask for each layout, and how many times as often training sees it: one thing inside another, whose edges
# lie on an object, and layouts whose things may be large, of many tokens that must agree. Of the latter, training also puts
# aside some of the scenes in which nothing is large.
WEIGHTS: dict[str, float] = {
    "single": 10, "top left": 1.2, "top right": 1.2, "bottom left": 1.2, "bottom right": 1.2,
    "row2": 15, "column2": 15, "inside": 10,
    "row3": 6, "column3": 5, "between": 6, "group2": 4, "group3": 4, "group4": 4,
    "group2 top": 3, "group3 top": 3, "group2 bottom": 3, "group3 bottom": 3, "square4": 6,
}  # fmt: skip
TRAINED_MORE: dict[str, float] = {
    "single": 1.6, "top left": 2, "top right": 2, "bottom left": 2, "bottom right": 2,
    "row2": 1.6, "column2": 1.6, "inside": 8,
}  # fmt: skip
PUT_ASIDE = 0.7


@dataclass(frozen=True)
class Thing:
    """What fills one slot of a scene."""

    figure: str
    colour: str
    texture: str
    size: str

    @property
    def look(self) -> str:
        return f"{self.colour} {self.figure}"


@dataclass(frozen=True)
class Scene:
    background: str
    layout: str
    things: tuple[Thing, ...]

    @property
    def slots(self) -> list[tuple[str, int]]:
        return LAYOUTS[self.layout]


def oklab(rgb: list[int]) -> tuple[float, float, float]:
    """OKLab (Björn Ottosson, 2020) of an sRGB colour in 0..255."""
    linear = [v / 255 / 12.92 if v <= 0.04045 * 255 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
    r, g, b = linear
    l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    )


@lru_cache(maxsize=None)
def shows(colour: str, background: str) -> bool:
    """Whether an object of the colour stands out from every part of the background."""
    own = oklab(DOMAIN["colours"][colour])
    others = [oklab(rgb) for rgb in DOMAIN["backgrounds"][background].values()]
    return min(sum((a - b) ** 2 for a, b in zip(own, o)) ** 0.5 for o in others) >= DOMAIN["least_contrast"]


@lru_cache(maxsize=None)
def contrast(a: str, b: str) -> bool:
    """Whether an object of one colour stands out from one of the other colour that lies behind it."""
    pair = (oklab(DOMAIN["colours"][a]), oklab(DOMAIN["colours"][b]))
    return sum((x - y) ** 2 for x, y in zip(*pair)) ** 0.5 >= DOMAIN["least_contrast"] + 0.05


def default_background(things: tuple[Thing, ...]) -> str:
    """What a caption means that names no background: white, or a day's sky where something would vanish on white."""
    return "white" if all(shows(t.colour, "white") for t in things) else "day"


def _held_out(text: str, one_in: int = 10) -> bool:
    """True for about one text in `one_in`, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % one_in == 0


def pair_is_held_out(a: Thing, b: Thing) -> bool:
    """Whether the unordered pair of (colour, figure) never occurs together in a training scene."""
    return _held_out("pair " + " + ".join(sorted([a.look, b.look])))


def relation_is_held_out(layout: str, a: Thing, b: Thing) -> bool:
    """Whether training never sees these two figures in this arrangement, whatever their colours."""
    return _held_out(f"{layout}: {a.figure}, {b.figure}")


def scene_is_held_out(scene: Scene) -> bool:
    """Whether training must not see this scene: one thing whose combination of looks and background is held out, or two
    of its things are a held-out pair, or a held-out pair of figures for this layout."""
    things = scene.things
    if len(things) == 1:
        t = things[0]
        return _held_out(f"{scene.layout} {t.size} {t.texture} {t.look} on {scene.background}")
    pairs = [(a, b) for i, a in enumerate(things) for b in things[i + 1 :]]
    return any(pair_is_held_out(a, b) for a, b in pairs) or relation_is_held_out(scene.layout, things[0], things[1])


def _may_be_large(layout: str) -> bool:
    """Whether the layout's things are of any size; what stands inside another or in a crowd has the size that fits."""
    return COUNT_OF_LAYOUT[layout] <= 2 and layout != "inside" and not layout.startswith("group")


def _thing(rng: random.Random, scene_layout: str, role: str, background: str) -> Thing:
    figure = rng.choice(DOMAIN["containers"] if role == "outer" else FIGURES)
    colours = [c for c in DOMAIN["figures"][figure]["colours"] if role == "inner" or shows(c, background)]
    if not colours:
        return _thing(rng, scene_layout, role, background)
    natural = DOMAIN["figures"][figure].get("natural")
    colour = natural if natural in colours and rng.random() < 0.25 else rng.choice(colours)
    texture, size = "plain", "medium"
    if role == "outer":
        size, texture = "container", "outlined" if rng.random() < 0.25 else "plain"
    elif role == "inner":
        size = "inner"
    else:
        if _may_be_large(scene_layout):
            size = rng.choice(["medium", "medium", "small", "large"])
        if figure in DOMAIN["textured_figures"] and colour != "white" and size != "small" and rng.random() < 0.35:
            texture = rng.choice(TEXTURES[1:])
    return Thing(figure, colour, texture, size)


def random_scene(rng: random.Random, layout: str) -> Scene:
    """A scene of the given layout, held out or not. No two things share both colour and figure."""
    while True:
        background = "white" if rng.random() < 0.2 else rng.choice(BACKGROUNDS[1:])
        things = tuple(_thing(rng, layout, role, background) for role, _ in LAYOUTS[layout])
        if len({t.look for t in things}) < len(things):
            continue
        if layout == "inside":
            outer, inner = things
            behind_shows = shows(inner.colour, background) if outer.texture == "outlined" else contrast(inner.colour, outer.colour)
            if not behind_shows:
                continue
        if sum(t.size == "large" for t in things) > 1:
            continue  # two large ones leave no gap in the smallest pictures
        return Scene(background, layout, things)


def training_scene(rng: random.Random) -> Scene:
    """A scene that training may see."""
    weights = [WEIGHTS[name] * TRAINED_MORE.get(name, 1) for name in LAYOUT_NAMES]
    layout = rng.choices(LAYOUT_NAMES, weights)[0]
    while True:
        scene = random_scene(rng, layout)
        if _may_be_large(layout) and all(t.size != "large" for t in scene.things) and rng.random() < PUT_ASIDE:
            continue
        if not scene_is_held_out(scene):
            return scene
