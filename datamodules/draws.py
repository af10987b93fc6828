"""Random draws that never change: pure functions of a seed and a purpose, from the raw bits of PCG64.

NumPy guarantees the bits of a bit generator for ever, but not the streams of the methods on top of it (NEP 19), and
torch guarantees neither; so uniform numbers, integers and permutations are made from the bits here.
"""

import os
import zlib

import numpy as np
from numpy.typing import NDArray


def raw_bits(seed: int, purpose: str, count: int) -> NDArray[np.uint64]:
    """`count` random 64-bit words of the stream named by (seed, purpose).

    Args:
        seed: Any integer from 0.
        purpose: Names the stream; streams of different purposes are independent.
        count: Number of words.
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return np.random.PCG64(sequence).random_raw(count)


def run_seed() -> int:
    """The seed of the run, as `seed_everything` left it for all processes; 0 before it was called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), from the upper 53 bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def single_uniform(bits: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1) of single precision, from the upper 24 bits."""
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def integers(bits: NDArray[np.uint64], below: int) -> NDArray[np.int64]:
    """Uniform integers in [0, below), from the upper 32 bits (their bias is below 2^-28 for up to 16 values)."""
    return (((bits >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def permutations(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A uniform permutation along the last axis: the order of the words (equal words keep their places)."""
    return np.argsort(bits, axis=-1, kind="stable")
