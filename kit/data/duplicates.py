"""Near-identical pictures: close difference hash AND close pixels, no chaining, groups of bounded size.

By hash alone plain pictures (digits, logos) fall into one heap, so a pair must also look the same pixel by pixel.
"""

import numpy as np

MAX_HASH_DISTANCE = 10  # of 64 bits
MAX_PIXEL_DISTANCE = 0.035  # root mean square over a 16x16 RGB miniature, of the full range
MAX_GROUP = 50  # distinct pictures; byte-identical copies always stay together
MINIATURE = 16
_BLOCK = 512


def near_identical_groups(md5: list[str], hashes: np.ndarray, miniatures: np.ndarray) -> np.ndarray:
    """A group number per picture, int64 (N,): the row of the group's leader.

    `hashes`: uint64 (N,). `miniatures`: uint8 (N, 16, 16, 3). A leader takes every picture near to itself, the one
    with most neighbours first: members are near the leader, not merely near to a member.
    """
    first_row: dict[str, int] = {}
    original = np.array([first_row.setdefault(digest, row) for row, digest in enumerate(md5)], dtype=np.int64)
    distinct = np.flatnonzero(original == np.arange(len(md5)))
    neighbours = _neighbours(hashes[distinct], miniatures[distinct])
    leader = np.full(len(distinct), -1, dtype=np.int64)
    for row in sorted(neighbours, key=lambda r: (-len(neighbours[r]), r)):
        if leader[row] < 0:
            free = [other for other in neighbours[row] if leader[other] < 0]
            leader[[row, *free[: MAX_GROUP - 1]]] = row
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    groups = np.empty(len(md5), dtype=np.int64)
    groups[distinct] = distinct[leader]
    return groups[original]


def _neighbours(hashes: np.ndarray, miniatures: np.ndarray) -> dict[int, list[int]]:
    """Row -> rows that are near it, only for rows that have any. Compares all pairs: 25,000 take about a second."""
    pixels = miniatures.reshape(len(miniatures), -1).astype(np.float32) / 255
    near: dict[int, list[int]] = {}
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        close = np.bitwise_count(block[:, None] ^ hashes[None, start:]) <= MAX_HASH_DISTANCE
        left, right = np.nonzero(close)
        ordered = left < right
        left, right = left[ordered] + start, right[ordered] + start
        for part in range(0, len(left), 100_000):
            a, b = left[part : part + 100_000], right[part : part + 100_000]
            same = np.sqrt(np.mean((pixels[a] - pixels[b]) ** 2, axis=1)) <= MAX_PIXEL_DISTANCE
            for i, j in zip(a[same].tolist(), b[same].tolist(), strict=True):
                near.setdefault(i, []).append(j)
                near.setdefault(j, []).append(i)
    return near
