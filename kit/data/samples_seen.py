"""What was seen of samples of several pictures, from what was seen of each picture: a row per sample."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kit.data.reading import SEPARATOR
from kit.data.table import MEANS, VARIANCES


def one_row_each(seen: pd.DataFrame, parts: Sequence[Sequence[str]]) -> tuple[pd.DataFrame, list[str]]:
    """(facts by sample, as `facts.look_at` has them of pictures; the samples' paths). `seen`: a row for each picture,
    sample after sample. Unreadable pictures are left out of a sample that has others, and are named as a problem.
    Sizes, format and hash are the first picture's, bytes those of all; channels by the law of total variance."""
    rows, paths, start = [], [], 0
    for each in parts:
        mine = seen.iloc[start : start + len(each)]
        start += len(each)
        good = mine[mine["width"] > 0] if (mine["width"] > 0).any() else mine
        row = good.iloc[0].to_dict() | {"bytes": int(mine["bytes"].sum())}
        if len(good) > 1:
            means, variances = good[MEANS].to_numpy(float), good[VARIANCES].to_numpy(float)
            row["md5"] = hashlib.md5(" ".join(good["md5"]).encode(), usedforsecurity=False).hexdigest()
            row |= dict(zip(MEANS, means.mean(axis=0).round(7), strict=True))
            row |= dict(zip(VARIANCES, (variances.mean(axis=0) + means.var(axis=0)).round(7), strict=True))
        named = [(path, str(why)) for path, why in zip(each, mine["problem"], strict=True) if why]
        row["problem"] = "; ".join(f"{path.rpartition('/')[2]}: {why}" if len(each) > 1 else why for path, why in named)
        rows.append(row)
        kept = [path for path, width in zip(each, mine["width"], strict=True) if width > 0]
        paths.append(SEPARATOR.join(kept or each))
    return pd.DataFrame(rows), paths


def linked(groups: np.ndarray, owners: np.ndarray, num_samples: int) -> np.ndarray:
    """int64 (samples,): samples that share a group of near-identical pictures are one group, named by its first sample.
    `groups` and `owners` int64 (P,): each picture's."""
    codes = np.unique(groups, return_inverse=True)[1]
    size = num_samples + codes.max(initial=-1) + 1
    edges = coo_array((np.ones(len(owners)), (owners, num_samples + codes)), shape=(size, size))
    found = connected_components(edges, directed=False)[1][:num_samples]
    first = np.unique(found, return_index=True)[1]
    return first[np.unique(found, return_inverse=True)[1]]
