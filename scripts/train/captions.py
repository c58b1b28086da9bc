"""Captions in several wordings, with the byte span of every object's phrase.

The spans let the text encoder be trained with dense, byte-level targets (text_train.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from domain import Scene, Thing


@dataclass(frozen=True)
class Caption:
    """`order[k]` is the scene index of the k-th object mentioned; `spans[k]` its phrase's bytes as [start, end)."""

    text: str
    order: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    # (kind, a, b): mentioned object a is `kind` (above, below, left or right of) mentioned object b. Stated ones only.
    relations: tuple[tuple[str, int, int], ...]


_WORDS = {
    "above": ["above", "above", "above", "over"],
    "below": ["below", "below", "below", "under"],
    "left": ["to the left of", "to the left of", "left of"],
    "right": ["to the right of", "to the right of", "right of"],
}


def phrase(thing: Thing, article: bool) -> str:
    """"a small red circle"; a medium object's size is not named."""
    words = ([] if thing.size == "medium" else [thing.size]) + [thing.colour, thing.shape]
    if article:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    return " ".join(words)


def _arrangement(rng: random.Random, scene: Scene, plain: bool) -> tuple[list[str | int], list[int], list[tuple[str, int, int]]]:
    """Text pieces in which an int k stands for the k-th mentioned object, the mention order, and the relations."""
    row = scene.layout.startswith("row")
    forward, backward = ("left", "right") if row else ("above", "below")

    def word(kind: str) -> str:
        return _WORDS[kind][0] if plain else rng.choice(_WORDS[kind])

    if len(scene.things) == 1:
        return [0], [0], []
    if len(scene.things) == 2:
        if row and rng.random() < 0.3:
            # No relation is stated: such scenes are always drawn in reading order, which spares the sampler from
            # having to break a symmetry.
            return [0, rng.choice([" and ", " next to "]), 1], [0, 1], []
        if rng.random() < 0.5:
            return [0, f" {word(forward)} ", 1], [0, 1], [(forward, 0, 1)]
        return [0, f" {word(backward)} ", 1], [1, 0], [(backward, 0, 1)]
    # Three objects.
    in_order = [(forward, 0, 1), (forward, 1, 2)]
    direction = "from left to right" if row else "from top to bottom"
    kind = rng.randrange(4)
    if kind == 0:
        return [0, ", ", 1, " and ", 2, f" {direction}"], [0, 1, 2], in_order
    if kind == 1:
        return [f"{direction}: ", 0, ", ", 1, ", ", 2], [0, 1, 2], in_order
    if kind == 2:
        w = word(forward)
        return [0, f" {w} ", 1, f" {w} ", 2], [0, 1, 2], in_order
    w = word(backward)
    return [0, f" {w} ", 1, f" {w} ", 2], [2, 1, 0], [(backward, 0, 1), (backward, 1, 2)]


def caption_of(rng: random.Random, scene: Scene, plain: bool = False) -> Caption:
    """A random wording. `plain` leaves out the rarer words, capitals and full stops."""
    article = rng.random() < 0.7
    pieces, order, relations = _arrangement(rng, scene, plain)
    text = ""
    spans: list[tuple[int, int]] = []
    for piece in pieces:
        if isinstance(piece, int):
            words = phrase(scene.things[order[piece]], article)
            spans.append((len(text), len(text) + len(words)))
            text += words
        else:
            text += piece
    if scene.background != "white" or rng.random() < 0.25:
        name = scene.background
        if name == "gray" and not plain and rng.random() < 0.3:
            name = "grey"
        preposition = "on" if plain or rng.random() < 0.85 else "with"
        short = preposition == "on" and not plain and rng.random() < 0.25
        text += f" on {name}" if short else f" {preposition} {'a ' if article else ''}{name} background"
    if not plain and rng.random() < 0.08:
        text = text[0].upper() + text[1:]
    if not plain and rng.random() < 0.05:
        text += "."
    return Caption(text, tuple(order), tuple(spans), tuple(relations))
