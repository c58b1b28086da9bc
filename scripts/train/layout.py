"""Where the things of a scene stand: boxes on the 8 px grid of the U-Net's patches.

Centres are multiples of 8 px and half sizes multiples of 4, so that the same token patterns come back again and again.
What a caption leaves open is a few choices for the whole scene (CHOICES), each among those that fit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from domain import COUNT_OF_LAYOUT, DOMAIN, Scene, Thing

GRID = DOMAIN["grid_px"]
UNBOUNDED = 10**6
BORDER = 4  # px that stay free
FARTHEST = 16  # px that a scene moves at most
# The scene moves across and down; how far some things step out of their row or column. Figures face left in scenes that
# moved to the left, and show their second variant in scenes that moved up.
CHOICES = ("across", "down", "stagger")
# Layout -> whether its things step out of line across or down, and which of them.
_STAGGERED: dict[str, tuple[str, tuple[int, ...]]] = {
    "row2": ("down", (1,)), "row3": ("down", (1,)), "between": ("down", (0,)), "group2": ("down", (1,)),
    "group3": ("down", (1,)), "column2": ("across", (1,)), "column3": ("across", (1,)), "group4": ("across", (2, 3)),
    "square4": ("across", (2, 3)), "group2 top": ("across", (2,)), "group3 top": ("across", (3,)),
    "group2 bottom": ("across", (0,)), "group3 bottom": ("across", (0,)),
}  # fmt: skip


@dataclass(frozen=True)
class Placed:
    thing: Thing
    x: int
    y: int
    half: int
    variant: int = 0
    mirrored: bool = False


class Arrangement(NamedTuple):
    placed: list[Placed]
    choices: list[tuple[int, int]]  # for each of CHOICES: which one, out of how many


def half_size(size: str, width: int, height: int) -> int:
    """Half of the bounding box's side in px."""
    rows = [row for row in DOMAIN["sizes"] if row["side"] <= min(width, height)] or DOMAIN["sizes"][:1]
    return rows[-1][size]


def _spread(count: int, extent: int) -> list[int]:
    """Centres of `count` things along `extent` px."""
    return [GRID * int((2 * k + 1) * extent / (2 * count) / GRID + 0.5) for k in range(count)]


def _cells(scene: Scene, width: int, height: int) -> list[list[tuple[int, int]]]:
    """Centres for every slot."""
    (cx,), (cy,) = _spread(1, width), _spread(1, height)
    x2, y2, x3, y3 = _spread(2, width), _spread(2, height), _spread(3, width), _spread(3, height)
    match scene.layout:
        case "single":
            return [[(cx, cy)]]
        case "top left" | "top right" | "bottom left" | "bottom right":
            margin = -(-(half_size(scene.things[0].size, width, height) + 4) // GRID) * GRID
            vertical, horizontal = scene.layout.split()
            return [[(margin if horizontal == "left" else width - margin, margin if vertical == "top" else height - margin)]]
        case "inside":
            return [[(cx, cy)], [(cx, cy)]]
        case "row2":
            return [[(x, cy)] for x in x2]
        case "column2":
            return [[(cx, y)] for y in y2]
        case "row3":
            return [[(x, cy)] for x in x3]
        case "column3":
            return [[(cx, y)] for y in y3]
        case "between":
            return [[(x3[1], cy)], [(x3[0], cy), (x3[2], cy)]]
        case "group2":
            return [[(x, cy) for x in x2]]
        case "group3":
            return [[(x, cy) for x in x3]]
        case "group4":
            return [[(x, y) for y in y2 for x in x2]]
        case "square4":
            return [[(x, y)] for y in y2 for x in x2]
        case _:  # a group above or below one thing
            several = [x2, x3][scene.layout.startswith("group3")]
            top = scene.layout.endswith("top")
            group, one = [(x, y2[0 if top else 1]) for x in several], [(cx, y2[1 if top else 0])]
            return [group, one] if top else [one, group]


def _room(cells: list[list[tuple[int, int]]], width: int, height: int) -> int:
    """The largest half size at which no two boxes come closer than 8 px (4 px in small pictures)."""
    points = [p for cell in cells for p in cell]
    gap = 4 if min(width, height) <= 64 else 8
    apart = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for i, a in enumerate(points) for b in points[i + 1 :]]
    return (min(apart) - gap) // 2 // 4 * 4 if apart else UNBOUNDED


def _fitting(spans: list[tuple[int, int]], extent: int, farthest: int) -> list[int]:
    """Moves by at most `farthest` px that keep all (centre, half) away from the borders."""
    return [
        d
        for d in range(-farthest, farthest + 1, GRID)
        if all(c + d - h >= BORDER and c + d + h <= extent - BORDER for c, h in spans)
    ] or [0]


def _inwards(centre: int, extent: int) -> list[int]:
    """Moves of a thing in a corner: towards the middle, and still in the outer third."""
    sign = 1 if centre < extent / 2 else -1
    edge = centre if sign > 0 else extent - centre
    return [sign * d for d in range(0, FARTHEST + 1, GRID) if d == 0 or edge + d < extent / 3]


def place(rng: random.Random, scene: Scene, width: int, height: int) -> Arrangement:
    """Every object's box. `scene.things` must follow LAYOUTS[scene.layout]; outer things come before inner ones."""
    cells = _cells(scene, width, height)
    room = UNBOUNDED if scene.layout == "inside" else _room(cells, width, height)
    things = [thing for thing, points in zip(scene.things, cells) for _ in points]
    assert len(things) == COUNT_OF_LAYOUT[scene.layout]
    halves = [min(half_size(thing.size, width, height), room) for thing in things]
    xs, ys = ([p[axis] for points in cells for p in points] for axis in (0, 1))

    choices: dict[str, tuple[int, int]] = {}

    def choose(name: str, options: list[int]) -> int:
        index = rng.randrange(len(options))
        choices[name] = (index, len(options))
        return options[index]

    direction, which = _STAGGERED.get(scene.layout, ("down", ()))
    along, extent = (xs, width) if direction == "across" else (ys, height)
    out_of_line = choose("stagger", _fitting([(along[i], halves[i]) for i in which], extent, GRID) if which else [0])
    for i in which:
        along[i] += out_of_line
    if len(things) == 1 and scene.layout != "single":
        across, down = choose("across", _inwards(xs[0], width)), choose("down", _inwards(ys[0], height))
    else:
        across = choose("across", _fitting(list(zip(xs, halves)), width, FARTHEST))
        down = choose("down", _fitting(list(zip(ys, halves)), height, FARTHEST))
    placed = [
        Placed(thing, x + across, y + down, half, int(down < 0), across < 0)
        for thing, x, y, half in zip(things, xs, ys, halves)
    ]
    return Arrangement(placed, [choices[name] for name in CHOICES])
