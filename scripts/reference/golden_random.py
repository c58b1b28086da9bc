"""The random numbers of docs/randomness.md in NumPy, written for the goldens alone and checked against Random123."""

from __future__ import annotations

import math

import numpy as np

INITIAL_NOISE, DRAW, RENOISE, PRIOR = 0, 1, 2, 5

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Philox 4x32-10: counter [..., 4] and key [..., 2] of 32-bit words -> [..., 4], all uint64 arrays."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k = [key[..., i].astype(np.uint64) for i in range(2)]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> _HALF) ^ c[1] ^ k[0], p1 & _LOW, (p0 >> _HALF) ^ c[3] ^ k[1], p0 & _LOW]
        k = [(k[0] + np.uint64(0x9E3779B9)) & _LOW, (k[1] + np.uint64(0xBB67AE85)) & _LOW]
    return np.stack(np.broadcast_arrays(*c), -1)


def _words(seed: int, purpose: int, step: int, positions: np.ndarray, block: np.ndarray | int) -> np.ndarray:
    positions, block = np.broadcast_arrays(positions, block)
    counter = np.stack([positions, block, np.full_like(positions, step), np.full_like(positions, purpose)], -1)
    return philox(counter, np.array([seed & 0xFFFFFFFF, seed >> 32]))


def initial_tokens(seed: int, positions: int, codes: int) -> np.ndarray:
    word = _words(seed, INITIAL_NOISE, 0, np.arange(positions), 0)[..., 0]
    return ((word * np.uint64(codes)) >> _HALF).astype(np.int64)


def gumbel_of_words(words: np.ndarray) -> np.ndarray:
    """v in fp32 as documented; the two logarithms in double precision."""
    v = words.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
    v = np.minimum(v, np.float32(1 - 2.0**-24)).astype(np.float64)
    return -np.log(-np.log1p(-v))


def gumbel(seed: int, step: int, positions: int, codes: int) -> np.ndarray:
    """float64 [positions, codes]."""
    blocks = (codes + 3) // 4
    words = _words(seed, DRAW, step, np.arange(positions)[:, None], np.arange(blocks)[None, :])
    return gumbel_of_words(words.reshape(positions, 4 * blocks)[:, :codes])


def renoise_uniform(seed: int, step: int, positions: int) -> np.ndarray:
    """Multiples of 2^-24 in [0, 1); exact in fp32 as in double precision."""
    word = _words(seed, RENOISE, step, np.arange(positions), 0)[..., 0]
    return (word >> np.uint64(8)).astype(np.float64) * 2.0**-24


def normal_of_pair(w0: int, w1: int) -> tuple[float, float]:
    """Two standard normal numbers before they are rounded to fp32; C's double functions."""
    radius = math.sqrt(-2 * math.log((w0 + 0.5) * 2.0**-32))
    angle = 2 * math.pi * ((w1 + 0.5) * 2.0**-32)
    return radius * math.cos(angle), radius * math.sin(angle)


def normal(seed: int, step: int, count: int) -> np.ndarray:
    """float32 [count]: element k is number k & 3 of block k >> 2.

    Raises if a number is so near to where fp32 rounds the other way that another mathematical library might do so:
    expected bits must be the same everywhere.
    """
    values: list[float] = []
    for words in _words(seed, PRIOR, step, np.zeros((count + 3) // 4, np.int64), np.arange((count + 3) // 4)):
        values += normal_of_pair(int(words[0]), int(words[1])) + normal_of_pair(int(words[2]), int(words[3]))
    return round_normals(np.array(values[:count]))


def round_normals(values: np.ndarray) -> np.ndarray:
    rounded = values.astype(np.float32)
    for nudged in (values * (1 - 2.0**-50), values * (1 + 2.0**-50)):  # 4 to 8 units in the last place
        if (nudged.astype(np.float32) != rounded).any():
            raise ValueError("a normal number is too near to a rounding boundary of fp32: choose another seed")
    return rounded


# counter, key and result from Random123's kat_vectors ("philox4x32 10").
KNOWN_ANSWERS = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def check_known_answers() -> None:
    for counter, key, expected in KNOWN_ANSWERS:
        found = tuple(int(word) for word in philox(np.array(counter), np.array(key)))
        if found != expected:
            raise AssertionError(f"philox{counter, key} gave {[hex(word) for word in found]}")
