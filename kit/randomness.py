"""Randomness is counter-based, not a stream: a key says what it is for, so interruption and worker count change no bit.

What happens to an image derives from (seed, fold, epoch, image), what happens to a batch from (seed, fold, epoch,
step), and initial weights from (seed, fold)."""

import hashlib


def key(purpose: str, *counters: int | str) -> int:
    """A 63-bit integer for `purpose` (`weights`, `order`, `image`, `step`) and its counters; fits any seed."""
    text = "/".join([purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
