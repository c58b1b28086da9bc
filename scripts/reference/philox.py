"""Philox 4x32-10 in NumPy and the draws of docs/randomness.md."""

from __future__ import annotations

import numpy as np

INITIAL_NOISE, DRAW, RENOISE, RANDOM_WEIGHTS, TRAINING, PRIOR = range(6)  # purposes

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(seed: int, position: np.ndarray, block: np.ndarray, step: int, purpose: int) -> np.ndarray:
    """Four 32-bit words per counter {position, block, step, purpose}: uint64 [4, ...], broadcast over the arrays."""
    position, block = np.broadcast_arrays(np.asarray(position, np.uint64), np.asarray(block, np.uint64))
    c0, c1 = position.copy(), block.copy()
    c2 = np.full_like(c0, step)
    c3 = np.full_like(c0, purpose)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def initial_noise(seed: int, positions: int, codes: int) -> np.ndarray:
    """Uniform tokens int64 [positions]."""
    word = philox(seed, np.arange(positions), 0, 0, INITIAL_NOISE)[0]
    return ((word * np.uint64(codes)) >> _32).astype(np.int64)


def gumbel(seed: int, positions: int, codes: int, step: int) -> np.ndarray:
    """Gumbel noise fp32 [positions, codes] of the draw at `step`."""
    blocks = (codes + 3) // 4
    words = philox(seed, np.arange(positions)[:, None], np.arange(blocks)[None, :], step, DRAW)
    words = np.moveaxis(words, 0, -1).reshape(positions, blocks * 4)[:, :codes]
    v = words.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    v = np.minimum(v, np.float32(1 - 2**-24))
    return -np.log(-np.log1p(-v))


def renoise_uniform(seed: int, positions: int, step: int) -> np.ndarray:
    """Uniform fp32 [positions] in [0, 1) for the renoising after `step`."""
    word = philox(seed, np.arange(positions), 0, step, RENOISE)[0]
    return (word >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)


def drawn_levels(seed: int, count: int, levels: int) -> np.ndarray:
    """Which level each number of an image embedding has that the seed draws: int64 [count]."""
    words = philox(seed, 0, np.arange((count + 3) // 4), 0, PRIOR).T.reshape(-1)[:count]
    return ((words * np.uint64(levels)) >> _32).astype(np.int64)


def normal_of_words(words: np.ndarray) -> np.ndarray:
    """Standard normal fp32 of words [..., 2n], pair by pair: Box and Muller (1958), in double precision.

    A pair (w, w') of words gives (r cos a, r sin a).
    """
    u = (words.astype(np.float64) + 0.5) * 2.0**-32  # exact, in (0, 1)
    radius = np.sqrt(-2 * np.log(u[..., 0::2]))
    angle = 2 * np.pi * u[..., 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(words.shape).astype(np.float32)


def normal(seed: int, count: int, step: int) -> np.ndarray:
    """Standard normal fp32 [count] of the prior: step 0 is where it begins, step i + 1 is added after its step i."""
    words = philox(seed, 0, np.arange((count + 3) // 4), step, PRIOR)  # [4, blocks]
    return normal_of_words(words.T).reshape(-1)[:count]


if __name__ == "__main__":
    # Known answers of the Random123 distribution for philox4x32-10.
    zeros = philox(0, np.array([0]), np.array([0]), 0, 0)[:, 0]
    assert [int(w) for w in zeros] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = philox(2**64 - 1, np.array([2**32 - 1]), np.array([2**32 - 1]), 2**32 - 1, 2**32 - 1)[:, 0]
    assert [int(w) for w in ones] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert drawn_levels(7, 9, 6).tolist() == [3, 4, 4, 3, 1, 3, 5, 5, 0]  # docs/randomness.md
    print("philox: known answers agree")
