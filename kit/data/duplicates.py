"""Near-identical pictures: close difference hash AND close pixels, no chaining, groups of bounded size.

By hash alone, plain pictures (digits, logos) fall into one group, so a pair must also look the same pixel by pixel."""

from collections.abc import Callable

import cv2
import numpy as np

from kit.data.images import difference_hash, halved

MAX_HASH_DISTANCE = 10  # of 64 bits
MAX_PIXEL_DISTANCE = 0.035  # root mean square over a 16x16 RGB miniature, of the full range
MAX_GROUP = 50  # distinct pictures; byte-identical copies always stay together
MINIATURE = 16
LEAST = 48  # pixels a side that hash and miniature are made from; the whole picture would cost as much as decoding
_BLOCK = 512


def likeness(rgb: np.ndarray) -> tuple[int, np.ndarray]:
    """What two pictures are compared by: (difference hash, miniature uint8 (16, 16, 3))."""
    height, width = rgb.shape[:2]
    if min(height, width) >= 4 * LEAST:  # every second row is enough where a cell has dozens
        rgb = rgb[::2]
    small = halved(rgb, LEAST)
    if min(small.shape[:2]) > 2 * MINIATURE:  # shared by both
        small = cv2.resize(small, (2 * MINIATURE, 2 * MINIATURE), interpolation=cv2.INTER_AREA)
    return difference_hash(small), cv2.resize(small, (MINIATURE, MINIATURE), interpolation=cv2.INTER_AREA)


def near_identical_groups(md5: list[str], hashes: np.ndarray, miniatures: np.ndarray) -> tuple[np.ndarray, int]:
    """(a group number per picture, int64 (N,): the row of the group's leader; how many near pairs no group holds).
    `hashes`: uint64 (N,). `miniatures`: uint8 (N, 16, 16, 3). A leader takes every picture near it, the one with most
    neighbours first: members are near the leader, not merely near another member."""
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
    apart = sum(leader[row] != leader[other] for row, others in neighbours.items() for other in others) // 2
    return groups[original], apart


def near_any(
    hashes: np.ndarray, miniatures: np.ndarray, other_hashes: np.ndarray, other_miniature: Callable[[int], np.ndarray]
) -> np.ndarray:
    """bool (N,): pictures that are near-identical to one of another set. `hashes`: uint64 (N,). `miniatures`: uint8 (N,
    16, 16, 3). The others' miniatures are asked for by row, only where a hash is close."""
    near, looked = np.zeros(len(hashes), dtype=bool), dict[int, np.ndarray]()
    for row, digest in enumerate(hashes):
        own = miniatures[row].astype(np.float32)
        for other in np.flatnonzero(np.bitwise_count(digest ^ other_hashes) <= MAX_HASH_DISTANCE).tolist():
            if other not in looked:
                looked[other] = other_miniature(other).astype(np.float32)
            if np.sqrt(np.mean((own - looked[other]) ** 2)) <= 255 * MAX_PIXEL_DISTANCE:
                near[row] = True
                break
    return near


def _neighbours(hashes: np.ndarray, miniatures: np.ndarray) -> dict[int, list[int]]:
    """Row -> rows that are near it, only for rows that have any. Compares all pairs: 25,000 take about a second. Where
    hashes tell little apart (small plain pictures) a hundred million pairs are left. Averaging can only bring two
    pictures closer, so pairs too far apart in brightness, or in 4x4 cells, need no comparison of all pixels."""
    pixels = miniatures.astype(np.float32) / 255
    side = MINIATURE // 4
    cells = pixels.reshape(len(pixels), side, 4, side, 4, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    brightness, pixels = cells.mean(axis=1), pixels.reshape(len(pixels), -1)
    far = MAX_PIXEL_DISTANCE + 1e-4  # float32 rounding
    near: dict[int, list[int]] = {}
    for start in range(0, len(hashes), _BLOCK):
        stop = start + _BLOCK
        close = np.bitwise_count(hashes[start:stop, None] ^ hashes[None, start:]) <= MAX_HASH_DISTANCE
        close &= np.abs(brightness[start:stop, None] - brightness[None, start:]) <= far
        left, right = np.nonzero(close)
        ordered = left < right
        left, right = left[ordered] + start, right[ordered] + start
        for part in range(0, len(left), 100_000):
            a, b = left[part : part + 100_000], right[part : part + 100_000]
            for level, limit in ((cells, far), (pixels, MAX_PIXEL_DISTANCE)):
                same = np.sqrt(np.mean((level[a] - level[b]) ** 2, axis=1)) <= limit
                a, b = a[same], b[same]
            for i, j in zip(a.tolist(), b.tolist(), strict=True):
                near.setdefault(i, []).append(j)
                near.setdefault(j, []).append(i)
    return near
