"""Folds: a partition, stratified, grouped, reproducible; and never those of another index."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn

from kit.data.folds import assign_folds, read_folds, too_small
from kit.data.table import LISTED, SEEN, TARGET, strata, stratum_name
from kit.errors import KitError


def _labels_and_groups(num: int = 600) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.choice(["cat", "dog", "fox"], num, p=[0.5, 0.4, 0.1])
    groups = np.arange(num)
    for start in range(0, 60, 3):  # twenty groups of three near-identical images
        groups[start : start + 3] = start
        labels[start : start + 3] = labels[start]
    return labels, groups


def test_folds_are_a_stratified_partition():
    labels, groups = _labels_and_groups()
    share = 0.1 if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8) else 0.6  # earlier ones balance worse
    folds = assign_folds(labels, groups, 5, seed=0)
    assert set(folds) == set(range(5))
    for label in np.unique(labels):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= max(3, share * counts.mean())


def test_near_identical_images_share_a_fold():
    labels, groups = _labels_and_groups()
    folds = assign_folds(labels, groups, 5, seed=0)
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))


def test_the_seed_decides():
    labels, groups = _labels_and_groups()
    assert np.array_equal(assign_folds(labels, groups, 5, 1), assign_folds(labels, groups, 5, 1))
    assert not np.array_equal(assign_folds(labels, groups, 5, 1), assign_folds(labels, groups, 5, 2))


def test_a_class_that_is_too_small_is_spread_all_the_same():
    labels = np.array(["cat"] * 20 + ["dog"] * 3)
    assert too_small(labels, np.arange(23), 5) == {"dog": 3}
    folds = assign_folds(labels, np.arange(23), 5, 0)
    assert set(folds) == set(range(5))
    assert len(set(folds[20:])) == 3, "three dogs, three folds"
    assert too_small(np.array(["cat"] * 20 + ["dog"] * 10), np.r_[np.arange(20), np.full(10, 99)], 5) == {"dog": 1}


def test_fewer_groups_than_folds_is_said():
    with pytest.raises(KitError, match="3 independent groups of images, too few for 5 folds"):
        assign_folds(np.array(["cat"] * 20), np.arange(20) % 3, 5, 0)


@pytest.fixture
def index():
    table = pd.DataFrame({column: [""] * 12 for column in [*LISTED, *SEEN]})
    table["image_id"] = [f"i{k}" for k in range(12)]
    table["split"] = ["train"] * 10 + ["test"] * 2
    table[TARGET] = ["cat", "dog"] * 5 + ["", ""]
    table["width"] = 10
    table["group"] = range(12)
    table.loc[1, "width"] = 0  # unreadable
    return table


def _write(path, index, folds=None):
    ids = [f"i{k}" for k in range(10) if k != 1]
    table = pd.DataFrame({"image_id": ids, "fold": folds or [k % 2 for k in range(9)]})
    table.assign(group=range(9)).to_csv(path, index=False)
    return path


def test_unreadable_and_test_images_have_no_fold(tmp_path, index):
    folds = read_folds(_write(tmp_path / "folds.csv", index), index, 2)
    assert folds.tolist() == [0, -1, 1, 0, 1, 0, 1, 0, 1, 0, -1, -1]


def test_folds_of_another_index_are_refused(tmp_path, index):
    path = _write(tmp_path / "folds.csv", index)
    with pytest.raises(KitError, match=r"no longer matches the index \(1 image of difference: i3\)"):
        read_folds(path, index.drop(index=3).reset_index(drop=True), 2)


def test_folds_that_tear_a_group_apart_are_refused(tmp_path, index):
    path = _write(tmp_path / "folds.csv", index)
    index.loc[[2, 3], "group"] = 2
    with pytest.raises(KitError, match="images of one group are in several folds"):
        read_folds(path, index, 2)


def test_folds_out_of_range_and_missing(tmp_path, index):
    with pytest.raises(KitError, match=r"folds should be 0\.\.1"):
        read_folds(_write(tmp_path / "folds.csv", index, [0, 1, 2, 0, 1, 2, 0, 1, 2]), index, 2)
    with pytest.raises(KitError, match="type `kit split` first"):
        read_folds(tmp_path / "none.csv", index, 2)


def test_a_rare_combination_of_labels_is_called_by_its_rarest():
    """In the warning about classes with fewer images than folds."""
    competition = SimpleNamespace(task="labels", classes=("red", "blue"), targets=["target_red", "target_blue"])
    rows = [(1, 0)] * 10 + [(1, 1)] + [(0, 0)] * 10
    table = pd.DataFrame(rows, columns=competition.targets).astype(str)
    names = [stratum_name(one, competition) for one in strata(table, competition, 5)]
    assert names == ["red"] * 10 + ["blue"] + ["none"] * 10
