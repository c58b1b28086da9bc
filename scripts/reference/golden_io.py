"""Writes golden cases: a component as in a model folder, and beside it the named inputs and expected outputs."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model_folder import save_component

ROOT = Path(__file__).resolve().parents[2] / "test" / "golden"
REGENERATE = "python scripts/reference/make_goldens.py"


def write_io(folder: Path, tensors: dict[str, Tensor]) -> None:
    """What the names mean stands in test/golden/README.md.

    int64 is kept only where the values need it (seeds, 32-bit words); everything else is I32 or F32 or U8.
    The file's metadata has one key only: safetensors writes several in random order.
    """
    wide = {name for name in tensors if name.split("/")[-1] in ("seed", "seeds", "words", "key", "counter")}
    plain = {
        name: (t.to(torch.int32) if t.dtype == torch.int64 and name not in wide else t).detach().contiguous()
        for name, t in tensors.items()
    }
    for name, t in plain.items():
        if t.is_floating_point() and not bool(torch.isfinite(t).all()):
            raise ValueError(f"{folder}: {name} is not finite")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.clone() for name, t in plain.items()},
        folder / "io.safetensors",
        metadata={"regenerate": REGENERATE},
    )
    (folder / "io.safetensors").chmod(0o644)  # as in save_component


def write_case(case: str, component: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    save_component(ROOT / case, component, module)
    write_io(ROOT / case / component, tensors)


class Recorder:
    """Keeps what flows through chosen submodules during one forward pass."""

    def __init__(self, module: nn.Module, names: dict[str, list[str]]):
        """`names`: submodule -> names of its tensor arguments; the result is called "output"."""
        self.tensors: dict[str, Tensor] = {}
        parts = dict(module.named_modules())
        self._handles = [
            parts[name].register_forward_hook(self._hook(name, arguments)) for name, arguments in names.items()
        ]

    def _hook(self, name: str, arguments: list[str]):
        def record(_: nn.Module, given: tuple, output: Tensor) -> None:
            for argument, value in zip(arguments, given):
                if value is not None:
                    self.tensors[f"block/{name}/{argument}"] = value
            self.tensors[f"block/{name}/output"] = output

        return record

    def close(self) -> dict[str, Tensor]:
        for handle in self._handles:
            handle.remove()
        return self.tensors
