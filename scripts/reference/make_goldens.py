"""Writes test/golden/ (see its README.md).

python scripts/reference/make_goldens.py
"""

from __future__ import annotations

import torch

from golden_conditions import condition_cases
from golden_networks import network_cases
from golden_random import check_known_answers
from golden_sampler import sampler_cases

if __name__ == "__main__":
    # One thread: sums are taken in one order, so that a second run on the same machine gives the same files.
    torch.set_num_threads(1)
    check_known_answers()
    network_cases()
    sampler_cases()
    condition_cases()
