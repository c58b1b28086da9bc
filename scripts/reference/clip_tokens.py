"""Writes test/golden/clip-tokenizer/tokens.json: what open_clip's tokenizer gives for hundreds of awkward texts.

pip install --no-deps open_clip_torch ftfy regex wcwidth        (and torch, numpy, which its module imports)
python scripts/reference/clip_tokens.py
python scripts/reference/clip_tokens.py --random 20000 --seed 1 --out more.json      more of them, for
PAELLA_CLIP_TOKENS=more.json npx tap run test/api/clip-tokenizer.test.ts

The file has the merges that its texts use, with their ranks, not the 48,894 of the published list. Whoever reads it fills
the other ranks with merges of bytes that UTF-8 does not have, so that ids are those of the whole list. That the two lists
give the same ids is checked here, by open_clip, before anything is written.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import sys
import tempfile
import unicodedata
from pathlib import Path
from types import ModuleType

import ftfy.bad_codecs  # noqa: F401  names of encodings that clip_texts uses

from clip_texts import awkward_texts, random_texts

MERGES = 48_894
GOLDEN = Path(__file__).parents[2] / "test/golden/clip-tokenizer/tokens.json"
NOT_IN_UTF8 = "".join(chr(byte) for byte in [0xC0, 0xC1, *range(0xF5, 0x100)])


def open_clip_tokenizer() -> ModuleType:
    """open_clip/tokenizer.py alone: the package's __init__ would need torchvision and timm."""
    package = importlib.util.find_spec("open_clip")
    assert package is not None and package.origin is not None, "pip install open_clip_torch"
    path = Path(package.origin).with_name("tokenizer.py")
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ids_of(tokenizer, text: str) -> list[int]:
    """Start, words, end; cut to 77. What open_clip gives, without the padding."""
    row = tokenizer(text)[0].tolist()
    return row[: len(tokenizer.encode(text)) + 2]


def used_merges(tokenizer, texts: list[str]) -> list[tuple[int, str]]:
    """(rank, "left right") of every merge that is applied to the texts."""
    rank_of_result = {"".join(pair): (rank, pair) for pair, rank in tokenizer.bpe_ranks.items()}
    used: dict[int, str] = {}

    def add(symbol: str) -> None:
        if symbol in rank_of_result:
            rank, pair = rank_of_result[symbol]
            if rank not in used:
                used[rank] = " ".join(pair)
                for part in pair:
                    add(part)

    for text in texts:
        for token in tokenizer.encode(text):
            add(tokenizer.decoder[token])
    return sorted(used.items())


def whole_list(used: list[tuple[int, str]]) -> list[str]:
    """48,894 merges: those used, and in between words of bytes that UTF-8 does not have, shortest first."""
    words = ("".join(word) for length in itertools.count(2) for word in itertools.product(NOT_IN_UTF8, repeat=length))
    merges = dict(used)
    for rank in range(MERGES):
        if rank not in merges:
            word = next(words)
            merges[rank] = f"{word[:-1]} {word[-1]}"
    return [merges[rank] for rank in range(MERGES)]


def check_same_ids(module: ModuleType, merges: list[str], cases: list[tuple[str, list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "merges.txt.gz"
        path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *merges, ""]).encode()))
        reduced = module.SimpleTokenizer(bpe_path=str(path))
    for text, ids in cases:
        assert ids_of(reduced, text) == ids, f"the reduced list of merges gives other ids for {text!r}"


def as_javascript(text: str) -> str:
    """Halves of surrogate pairs that stand side by side are one character in JavaScript."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def is_assigned(text: str) -> bool:
    """Python's Unicode, regex's and Node.js's are of different age: what one knows is a letter is nothing to another."""
    newer = [character for character in text if unicodedata.category(character) == "Cn"]
    return all(ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF for character in newer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, help="so many random texts instead of the list")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    options = parser.parse_args()

    module = open_clip_tokenizer()
    tokenizer = module.SimpleTokenizer()
    assert len(tokenizer.bpe_ranks) == MERGES
    if options.random:
        texts = random_texts(options.random, options.seed)
    else:
        texts = awkward_texts() + random_texts(200, seed=7)
    texts = list(dict.fromkeys(as_javascript(text) for text in texts))
    texts = [text for text in texts if is_assigned(tokenizer.clean_fn(text))]
    cases = [(text, ids_of(tokenizer, text)) for text in texts]
    used = used_merges(tokenizer, texts)
    merges = whole_list(used)
    check_same_ids(module, merges, cases)

    versions = {name: importlib.metadata.version(name) for name in ["open_clip_torch", "ftfy", "regex"]}
    versions["unicode"] = unicodedata.unidata_version
    lines = [
        '{"regenerate": "python scripts/reference/clip_tokens.py",',
        f'"made_with": {json.dumps(versions)},',
        f'"merges_sha256": "{hashlib.sha256(chr(10).join(merges).encode()).hexdigest()}",',
        '"merges": [\n' + ",\n".join(json.dumps(merge) for merge in used) + "\n],",
        '"cases": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n",
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines))
    print(f"{options.out}: {len(cases)} texts, {len(used)} merges", file=sys.stderr)


if __name__ == "__main__":
    main()
