"""Draws the training curves: python plot.py LOG.jsonl PICTURE.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def main(log: Path, picture: Path) -> None:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(1, 4, figsize=(18, 4))

    def curve(axis, stage: str, key: str, scale: str = "linear") -> None:
        own = [r for r in rows if r["stage"] == stage and key in r]
        axis.plot([r["step"] for r in own], [r[key] for r in own], label=key)
        axis.set_yscale(scale)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend()

    curve(axes[0], "vqgan", "l1", "log")
    axes[0].set_title("VQGAN: mean absolute pixel error")
    for head in ("colour", "shape", "size", "role", "background", "layout"):
        curve(axes[1], "text", head)
    axes[1].set_title("Text encoder: accuracy per byte")
    curve(axes[2], "unet", "loss")
    curve(axes[2], "unet", "weighted", "log")
    axes[2].set_title("U-Net: cross-entropy")
    checks = [r for r in rows if r["stage"] == "check"]
    for key in ("objects_1", "objects_2", "objects_3"):
        axes[3].plot([r["step"] for r in checks], [r[key] for r in checks], "o-", label=key.replace("_", " "))
    axes[3].set_title("Held-out captions wholly right (rough check)")
    axes[3].set_xlabel("step")
    axes[3].set_ylim(0, 1)
    axes[3].grid(alpha=0.3)
    axes[3].legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
