"""Draws the training curves: python plot.py LOG.jsonl PICTURE.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def points(rows: list[dict], stage: str, key: str) -> tuple[list[int], list[float]]:
    """Steps and values. After an interruption steps come twice; the later ones count."""
    values = {r["step"]: r[key] for r in rows if r["stage"] == stage and key in r}
    steps = sorted(values)
    return steps, [values[s] for s in steps]


def main(log: Path, picture: Path) -> None:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(1, 3, figsize=(15, 4))
    panels = [
        ("vqgan", ["l1"], "VQGAN: mean absolute pixel error on crops around objects", "log"),
        ("text", ["colour", "figure", "texture", "size", "role", "background", "layout"], "Text encoder: accuracy per byte", "linear"),
        ("unet", ["loss", "weighted"], "U-Net: cross-entropy", "log"),
    ]  # fmt: skip
    for axis, (stage, keys, title, scale) in zip(axes, panels):
        for key in keys:
            axis.plot(*points(rows, stage, key), label=key)
        axis.set_title(title)
        axis.set_yscale(scale)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
