"""A peer without a model: scripts/bench/peers/worker.py has to carry what it says."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/bench/peers"))
from worker import argument_parser, main  # noqa: E402


class FakePeer:
    def __init__(self, options):
        self.options = options

    def load(self):
        print("noise of a library")  # must not reach the driver

    def cases(self):
        return [
            {
                "subject": "fake", "version": "1", "model": "m", "weights": "random", "device": "d", "backend": "b",
                "precision": "bf16", "threads": self.options.threads, "width": size, "height": size, "batch": 1,
                "steps": self.options.steps, "measureSteps": self.options.measure_steps, "guidance": None,
                "scheduler": None, "compile": None,
                "counted": {"textEncoding": True, "decode": True, "encodeFile": False, "load": False},
            }
            for size in self.options.size
        ]  # fmt: skip

    def run(self, case, prompts, seed):
        if self.options.size[case] == 13:
            raise ValueError("thirteen")
        return {"ms": 100.0 + seed, "stepMs": [10.0, 20.0, 30.0], "stages": {"decode": float(len(prompts[0]))}}

    def runtimes(self):
        return {"fake": "1"}

    def gpus(self):
        return []

    def peak_bytes(self):
        return None


if __name__ == "__main__":
    parsed = argument_parser(__doc__).parse_args()
    sys.exit(main(FakePeer(parsed), parsed))
