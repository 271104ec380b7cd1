"""Draws that are the same on every machine and in every version: hashes of words."""

import hashlib


def number(*words: str) -> int:
    """A number from 0 to 2**64 - 1, uniform over words and unrelated to how they look."""
    return int.from_bytes(hashlib.blake2b("\x00".join(words).encode(), digest_size=8).digest(), "big")


def fraction(*words: str) -> float:
    """A number in [0, 1), uniform over words; the top 53 bits of `number`, so that it is exact."""
    return (number(*words) >> 11) / 2**53
