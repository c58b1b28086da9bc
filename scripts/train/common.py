"""What the training scripts share: paths, configs, the log."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))

CONFIG: dict = json.loads((HERE / "config.json").read_text())


class Log:
    """Appends one JSON object a line to <work>/log.jsonl and prints it. `seconds` counts from this process's start."""

    def __init__(self, work: Path, stage: str):
        self.path, self.stage, self.start = work / "log.jsonl", stage, time.time()

    def write(self, **values: object) -> None:
        line = json.dumps({"stage": self.stage, "seconds": round(time.time() - self.start, 1), **values})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")
