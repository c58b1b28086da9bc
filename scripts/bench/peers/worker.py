"""What the peers have in common: their side of the conversation with scripts/bench/peers/run.ts, which measures.

A peer is a process. It loads what it has to load, says on its standard output which cases it can run, and runs one each
time it is asked to, so that peers can take turns (A B A B) with everything loaded. One JSON document a line:

    peer   {"cases": [{...}], "loadMs": 1234, "runtimes": {"torch": "2.15.0"}}
    run.ts {"run": 0, "prompts": ["red foxes in the snow"], "seed": 7}
    peer   {"ms": 812.5, "stepMs": [96.1, ...], "stages": {"encode_text": 11.0, "decode": 35.1}}
    run.ts {"end": true}
    peer   {"rssBytes": 123456, "peakBytes": null}

Started by hand, without --worker, a peer starts run.ts with itself as the only subject.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol, TextIO

ROOT = Path(__file__).resolve().parents[3]


class Peer(Protocol):
    def load(self) -> None: ...

    def cases(self) -> list[dict[str, Any]]:
        """Fields of lib/cli/bench/schema.json; but `steps` is a list, and `measureSteps` says how many a run does."""

    def run(self, case: int, prompts: list[str], seed: int) -> dict[str, Any]: ...

    def runtimes(self) -> dict[str, str]: ...

    def gpus(self) -> list[dict[str, Any]]: ...

    def peak_bytes(self) -> int | None: ...


def numbers(text: str) -> list[int]:
    """'1,4,8' -> [1, 4, 8]"""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected integers with commas between them, got {text!r}") from None
    if any(value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"expected integers from 1 on, got {text!r}")
    return values


def one_of(*allowed: str):
    def words(text: str) -> list[str]:
        for word in text.split(","):
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"expected some of {', '.join(allowed)}, got {word!r}")
        return text.split(",")

    return words


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=numbers, default=[512], metavar="PX", help="pixels of a side, a list (512)")
    parser.add_argument("--steps", type=numbers, default=[20], help="a list (20)")
    parser.add_argument("--batch", type=numbers, default=[1], help="images of one call, a list (1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (all)")
    parser.add_argument(
        "--measure-steps", type=int, metavar="N",
        help="run N steps only, and compose a row for each of --steps: that many times their median, and what the run "
        "took beyond its steps. Such rows are marked as composed",
    )  # fmt: skip
    alone = parser.add_argument_group("without other subjects")
    alone.add_argument("--output", metavar="FILE", help="the JSON document (standard output)")
    alone.add_argument("--rounds", type=int, default=3, help="measured runs of each case (3)")
    alone.add_argument("--warmup", type=int, default=1, help="runs of each case before (1)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(peer: Peer, options: argparse.Namespace) -> int:
    return serve(peer) if options.worker else alone(options)


def alone(options: argparse.Namespace) -> int:
    """Starts run.ts with this very command as its subject."""
    own, rest = [], sys.argv[1:]
    while rest:
        word = rest.pop(0)
        if word in ("--output", "--rounds", "--warmup"):
            rest.pop(0)
        elif not word.startswith(("--output=", "--rounds=", "--warmup=")):
            own.append(word)
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    command = ["node", "--import", "tsx", "scripts/bench/peers/run.ts"]
    command += ["--rounds", str(options.rounds), "--warmup", str(options.warmup)]
    command += ["--output", str(Path(options.output).resolve())] if options.output else []
    command += ["--subject", shlex.join(["python", str(script), *own])]
    # `python` has to be this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.call(command, cwd=ROOT, env={**os.environ, "PATH": path})


def serve(peer: Peer) -> int:
    answers = claim_standard_output()

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        begin = time.perf_counter()
        peer.load()
        load_ms = (time.perf_counter() - begin) * 1e3
        runtimes = {"python": platform.python_version(), **peer.runtimes()}
        say({"cases": peer.cases(), "loadMs": load_ms, "runtimes": runtimes, "gpus": peer.gpus()})
        for line in sys.stdin:
            request = json.loads(line)
            if "end" in request:
                break
            say(peer.run(request["run"], request["prompts"], request["seed"]))
        say({"rssBytes": resident_bytes(), "peakBytes": peer.peak_bytes()})
    except Exception as error:  # whatever it is, run.ts has to hear of it
        say({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def claim_standard_output() -> TextIO:
    """Libraries that print, in Python or below it, print to standard error from now on."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def repository_commit() -> str | None:
    """Of this repository, for subjects whose code it is; '+' if it had changes (docs/, where results go, does not count)."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_name() -> str:
    """As cpuName() of lib/cli/bench/environment.ts: with family and model where the name has no number."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        first = ""
    values = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in first.splitlines()) if colon}
    name = values.get("model name") or platform.processor() or platform.machine()
    if any(c.isdigit() for c in name) or not {"cpu family", "model"} <= values.keys():
        return name
    return f"{name} (family {values['cpu family']}, model {values['model']})"
