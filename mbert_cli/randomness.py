"""Random numbers as a function of (seed, epoch, step, task), so that no generator state needs to be saved."""

import hashlib

import numpy as np


def derive(seed: int, *parts: int | str) -> int:
    """Return a 63-bit seed that is a pure function of `seed` and `parts`.

    Args:
        seed: the run's seed.
        parts: the purpose of the number, e.g. ``"dropout", step``.
    """
    text = "\0".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def permutation(size: int, seed: int, *parts: int | str) -> np.ndarray:
    """Return a permutation of ``range(size)`` that is a pure function of `seed` and `parts`.

    The order is the argsort of a hash of (key, index), with splitmix64 as the hash. It is the same on every machine.

    Args:
        size: number of rows.
        seed: the run's seed.
        parts: the purpose of the permutation, e.g. ``"rows", epoch, task``.
    """
    return np.argsort(_hashes(np.arange(size), seed, *parts), kind="stable")


def uniform(places: np.ndarray, seed: int, *parts: int | str) -> np.ndarray:
    """Return a number in [0, 1) for each place, a pure function of the place, `seed` and `parts`.

    Args:
        places: integers, e.g. the places of tokens in a batch.
        seed: the run's seed.
        parts: the purpose of the numbers.
    """
    return (_hashes(places, seed, *parts) >> np.uint64(11)) * 2.0**-53


def _hashes(places: np.ndarray, seed: int, *parts: int | str) -> np.ndarray:
    """Return splitmix64 of (key, place)."""
    key = np.uint64(derive(seed, *parts))
    with np.errstate(over="ignore"):
        z = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
