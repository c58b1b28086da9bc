"""The model's domain.json: what it draws, and every word that it knows. python words.py FOLDER

The words are not listed by hand: they are those of many random captions, and so follow the vocabulary and the wordings.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

from captions import caption_of
from domain import FIGURES, LAYOUT_NAMES, random_scene

ABOUT = "small illustrated scenes of one to four simple things on a plain or simple background"
REMEDY = (
    "For other pictures take a large model: `paella pull`, `paella convert`, then --model <folder>; "
    "docs/checkpoints.md says how."
)
CAPTIONS = 60_000
SEED = 2025
# Words that ask for nothing that could be missing in the picture; "s" is what is left of "a house's".
HARMLESS = """a an and are at by for has have in is it its just of on one only other please s simple some that the their
there this to where which with""".split()


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def plural(figure: str) -> str:
    """Also of figures that the captions name in the singular only."""
    if figure == "fish":
        return "fish"
    return figure + ("es" if figure.endswith(("s", "x", "sh", "ch")) else "s")


def known_words(captions: int = CAPTIONS) -> list[str]:
    """Sorted. All layouts in turns; half of the wordings are of the unseen kind, which the model should follow too."""
    rng = random.Random(SEED)
    words = {*FIGURES, *map(plural, FIGURES), *HARMLESS}
    for i in range(captions):
        scene = random_scene(rng, LAYOUT_NAMES[i % len(LAYOUT_NAMES)])
        words.update(words_of(caption_of(rng, scene, unseen=rng.random() < 0.5).text))
    return sorted(words)


def write_domain(folder: Path) -> None:
    domain = {"about": ABOUT, "words": known_words(), "remedy": REMEDY}
    (folder / "domain.json").write_text(json.dumps(domain, indent=2) + "\n")


if __name__ == "__main__":
    write_domain(Path(sys.argv[1]))
