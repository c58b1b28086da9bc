"""Captions in many wordings, with the byte span of every thing's phrase.

The spans let the text encoder be trained with dense, byte-level targets (text_train.py). A caption is put together from
independent choices: an opening, the order of its parts, how the things are put in relation, how each is named, how the
background is named and where. Some choices and some combinations of choices are kept for `unseen` wordings, which
training never sees.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from domain import COLOURS, DOMAIN, Scene, Thing, default_background


@dataclass(frozen=True)
class Caption:
    """`spans[k]` is the phrase of slot `order[k]` of the scene, as bytes [start, end). `related`: the caption says how
    the things stand to each other; a mere list does not."""

    text: str
    order: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    related: bool
    invented: bool = False


Pieces = list["str | int"]  # an int stands for the phrase of that slot

_BACKGROUNDS: dict[str, list[str]] = {
    "day": ["by day", "on a sunny day", "in the sky", "in a blue sky", "during the day", "in front of a blue sky"],
    "night": ["at night", "at night", "in the night sky", "by night", "in front of a night sky"],
    "sea": ["at sea", "on the sea", "on the water", "by the sea", "over the sea"],
    "grass": ["on the grass", "on grass", "in a meadow", "on a green meadow", "in a field"],
    "sunset": ["at sunset", "at sunset", "in front of a sunset", "on a gradient background", "in the evening"],
}
_BARE = {"day": ["day", "blue sky"], "night": ["night"], "sea": ["sea"], "grass": ["grass", "meadow"], "sunset": ["sunset"]}
_OPENINGS = ["a picture of ", "an image of ", "a drawing of ", "draw ", "there is ", "picture of ", "a scene with ", "show me "]
_UNSEEN_OPENINGS = ["please draw ", "an illustration of ", "i want to see ", "a small painting of ", "make a picture with "]
_SYLLABLES = "ba bel cho da dru fen fi go ha im jo ka ket lo lun ma mi nor nu op pa pli qua ra ri sa shi sto ta ter un va ve wi yo ze".split()
_COUNTS = {2: "two", 3: "three", 4: "four"}
_PLURALS = {"fish": "fish", "cross": "crosses"}
_TEXTURES = {"striped": ["striped", "striped", "stripy"], "dotted": ["dotted", "dotted", "spotted"], "outlined": ["outlined", "hollow"]}
_BEHIND = {"striped": ["with stripes"], "dotted": ["with dots"], "outlined": []}
_SIZES = {"small": ["small", "small", "tiny", "little"], "large": ["large", "large", "big", "huge"]}
_ABOVE = ["above", "above", "over", "on top of"]
_BELOW = ["below", "below", "under", "beneath", "underneath"]
_LEFT = ["to the left of", "left of", "on the left of"]
_RIGHT = ["to the right of", "right of", "on the right of"]


def phrase(rng: random.Random, thing: Thing, count: int, article: bool, plain: bool) -> str:
    """"a small red striped circle", "three blue fish". Natural colours may be left out where nothing hides the thing."""

    def pick(words: list[str]) -> str:
        return words[0] if plain else rng.choice(words)

    figure = DOMAIN["figures"][thing.figure]
    adjectives = []
    natural = thing.colour == figure.get("natural")
    bare = natural and rng.random() < 0.5 and not plain
    # Containers and what they hold may be called large and small; medium is never named.
    size = {"container": "large", "inner": "small"}.get(thing.size, thing.size)
    if size in _SIZES and (thing.size in _SIZES or rng.random() < 0.4):
        adjectives.append(pick(_SIZES[size]))
    if not bare:
        adjectives.append("grey" if thing.colour == "gray" and not plain and rng.random() < 0.3 else thing.colour)
    behind = ""
    if thing.texture != "plain":
        if _BEHIND[thing.texture] and not plain and rng.random() < 0.25:
            behind = " " + rng.choice(_BEHIND[thing.texture])
        else:
            adjectives.insert(rng.randrange(len(adjectives) + 1) if not plain else len(adjectives), pick(_TEXTURES[thing.texture]))
    noun = thing.figure if count == 1 else _PLURALS.get(thing.figure, thing.figure + "s")
    words = [*adjectives, noun]
    if count > 1:
        words.insert(0, _COUNTS[count] if plain or rng.random() < 0.9 else str(count))
    elif article:
        definite = thing.figure in ("sun", "moon") and not adjectives and rng.random() < 0.5
        words.insert(0, "the" if definite else "an" if words[0][0] in "aeiou" else "a")
    return " ".join(words) + behind


def _invented_opening(rng: random.Random) -> str:
    """Words that mean nothing: what a training meets in their place is not the words that it knows. Some have an adjective
    that captions know, which belongs to what it stands before."""
    words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.35:
        words.insert(len(words) - 1, rng.choice([*_SIZES["small"], *_SIZES["large"], *COLOURS, *_TEXTURES]))
    if rng.random() < 0.5:
        words.insert(rng.randrange(len(words)), rng.choice(["a", "a", "to", "the", "of", "with", "in"]))
    if rng.random() < 0.5:
        words.append(rng.choice(["of", "of", "with"]))
    return " ".join([*words, ""])


def _corner(layout: str, rng: random.Random, plain: bool) -> str:
    name = layout if plain or rng.random() < 0.6 else {"top": "upper", "bottom": "lower"}[layout.split()[0]] + " " + layout.split()[1]
    return f"in the {name} corner" if plain or rng.random() < 0.8 else f"at the {name}"


def _arrangement(rng: random.Random, scene: Scene, plain: bool, comma: bool) -> Pieces:
    """How the things are named and put in relation. `comma`: as a list of words, without grammar."""

    def pick(words: list[str]) -> str:
        return words[0] if plain else rng.choice(words)

    layout = scene.layout
    joint = ", " if comma else " "
    if layout in ("single", "group2", "group3", "group4"):
        return [0]
    if layout.split()[0] in ("top", "bottom"):
        return [0, joint, _corner(layout, rng, plain)]
    if layout == "inside":
        kind = rng.randrange(3) if not plain else 0
        if kind == 2:
            if rng.random() >= 0.5:
                return [0, " around ", 1]
            return [0, pick([" with ", " around "]), 1, " inside" if rng.random() < 0.5 else " in it"]
        return [1, " inside " if kind == 0 else " in ", 0]
    if layout == "between":
        return [0, " between ", 1] if rng.random() < 0.8 or plain else [1, " with ", 0, " between them"]
    if layout in ("row2", "column2") or layout.startswith("group"):
        row = layout == "row2"
        if row and rng.random() < 0.35:
            # No relation is stated: such scenes are always drawn in reading order, which spares the sampler from
            # having to break a symmetry.
            return [0, ", " if comma else pick([" and ", " and ", " next to ", " beside "]), 1]
        if rng.random() < 0.5:
            return [0, joint, pick(_LEFT if row else _ABOVE), " ", 1]
        return [1, joint, pick(_RIGHT if row else _BELOW), " ", 0]
    if layout == "square4":
        kind = rng.randrange(3) if not plain else rng.randrange(2)
        if comma or kind == 0:
            return [0, ", ", 1, ", ", 2, ", " if comma else " and ", 3]
        if kind == 1:
            return [0, " and ", 1, f" {pick(_ABOVE)} ", 2, " and ", 3]
        return [2, " and ", 3, f" {pick(_BELOW)} ", 0, " and ", 1]
    # Three different things in a row or a column.
    row = layout == "row3"
    direction = "from left to right" if row else "from top to bottom"
    kind = rng.randrange(4)
    if row and (comma or kind == 0):
        return [0, ", ", 1, ", " if comma else " and ", 2]
    if kind <= 1:
        return [0, ", ", 1, " and ", 2, f" {direction}"] if rng.random() < 0.6 or plain else [f"{direction}: ", 0, ", ", 1, ", ", 2]
    if kind == 2:
        word = pick(_LEFT if row else _ABOVE)
        return [0, f" {word} ", 1, f" {word} ", 2]
    word = pick(_RIGHT if row else _BELOW)
    return [2, f" {word} ", 1, f" {word} ", 0]


def _background(rng: random.Random, name: str, article: bool, plain: bool, comma: bool) -> str:
    """A phrase for the background, without a space before it."""
    if name in _BACKGROUNDS:
        if comma and rng.random() < 0.5:
            return rng.choice(_BARE[name])
        return _BACKGROUNDS[name][0] if plain else rng.choice(_BACKGROUNDS[name])
    colour = "grey" if name == "gray" and not plain and rng.random() < 0.3 else name
    if comma and rng.random() < 0.5:
        return f"{colour} background"
    if not plain and rng.random() < 0.25:
        return f"on {colour}"
    preposition = "on" if plain or rng.random() < 0.8 else rng.choice(["with", "in front of"])
    return f"{preposition} {'a ' if article else ''}{colour} background"


def caption_of(
    rng: random.Random, scene: Scene, plain: bool = False, unseen: bool = False, invented: bool = False
) -> Caption:
    """A random wording. `plain` keeps to the commonest words; `unseen` is one of the wordings that training never has:
    an opening of its own, or the background first together with an opening. `invented` opens with words that mean
    nothing, for training: unknown words are to be passed over."""
    article = plain or rng.random() < 0.7
    comma = not plain and not unseen and rng.random() < 0.12
    parts = _arrangement(rng, scene, plain, comma)
    things = scene.things
    named = scene.background != default_background(things) or rng.random() < 0.3
    pieces: Pieces = list(parts)
    opening = ""
    if unseen:
        opening = rng.choice(_UNSEEN_OPENINGS)
    elif invented:
        opening = _invented_opening(rng)
    elif not plain and not comma and rng.random() < 0.2:
        opening = rng.choice(_OPENINGS)
    if named:
        words = _background(rng, scene.background, article, plain, comma)
        first = (unseen and rng.random() < 0.3) or (not plain and not opening and not comma and rng.random() < 0.12)
        if first:
            pieces = [words, ": " if rng.random() < 0.2 else ", ", opening, *pieces]
        else:
            pieces = [opening, *pieces, ", " if comma or (not plain and rng.random() < 0.1) else " ", words]
    else:
        pieces = [opening, *pieces]
    text, order, spans = "", [], []
    for piece in pieces:
        if isinstance(piece, int):
            words = phrase(rng, things[piece], scene.slots[piece][1], article or unseen, plain)
            order.append(piece)
            spans.append((len(text), len(text) + len(words)))
            text += words
        else:
            text += piece
    if not plain and rng.random() < 0.08:
        text = text[0].upper() + text[1:]
    if not plain and rng.random() < 0.05:
        text += "."
    listed = {" and ", " next to ", " beside ", ", "}
    related = len(order) > 1 and not all(p in listed for p in parts if not isinstance(p, int))
    return Caption(text, tuple(order), tuple(spans), related, invented)


INVENTED = 0.1  # share of the captions in training that open with invented words


def training_caption(rng: random.Random, scene: Scene) -> Caption:
    return caption_of(rng, scene, invented=rng.random() < INVENTED)
