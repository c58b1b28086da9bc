"""Where the things of a scene stand: boxes on the 8 px grid of the U-Net's patches.

Centres are multiples of 8 px and half sizes multiples of 4, so that the same token patterns come back again and again;
a scene moves as one: every place of its own would be one more thing that tokens drawn at the same time have to agree on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from domain import COUNT_OF_LAYOUT, DOMAIN, Scene, Thing

GRID = DOMAIN["grid_px"]
UNBOUNDED = 10**6


@dataclass(frozen=True)
class Placed:
    thing: Thing
    x: int
    y: int
    half: int
    dx: int = 0  # how far the whole scene was moved
    dy: int = 0


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


def place(rng: random.Random, scene: Scene, width: int, height: int) -> list[Placed]:
    """Every object's box. `scene.things` must follow LAYOUTS[scene.layout]; outer things come before inner ones."""
    cells = _cells(scene, width, height)
    room = UNBOUNDED if scene.layout == "inside" else _room(cells, width, height)
    placed = [
        Placed(thing, x, y, min(half_size(thing.size, width, height), room))
        for thing, points in zip(scene.things, cells)
        for x, y in points
    ]
    assert len(placed) == COUNT_OF_LAYOUT[scene.layout]
    if len(placed) == 1 and scene.layout != "single":
        return placed  # a corner is where it is
    dx = _shift(rng, [(p.x, p.half) for p in placed], width)
    dy = _shift(rng, [(p.y, p.half) for p in placed], height)
    return [Placed(p.thing, p.x + dx, p.y + dy, p.half, dx, dy) for p in placed]


def _shift(rng: random.Random, spans: list[tuple[int, int]], extent: int) -> int:
    """A move of the whole scene by at most one grid step that leaves 4 px to the borders."""
    fits = [d for d in (-GRID, 0, GRID) if all(c + d - h >= 4 and c + d + h <= extent - 4 for c, h in spans)]
    return rng.choice([*fits, 0, 0]) if fits else 0
