"""What the name of a file or folder, or a cell, says it is for, by whole words: `latest.csv` is no test set."""

import re

import pandas as pd

_DENIED = {"with", "without", "no", "non"}
_SPELLED = {
    "validation": {"val", "valid", "validation", "dev"}, "test": {"test", "tests", "testing", "testset"},
}  # fmt: skip


def words_of(name: str) -> list[str]:
    """Lower case, without digits and endings' dots: train, labels of trainLabels_v2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def is_train(name: str) -> bool:
    return "train" in roles_of(name) and not is_beside(name)


def is_validation(name: str) -> bool:
    return "validation" in roles_of(name) and not is_beside(name)


def is_test(name: str) -> bool:
    """`train_test_files` is of both, and no test set."""
    return "test" in (said := roles_of(name)) and "train" not in said and not is_beside(name)


def roles_of(name: str) -> set[str]:
    """What the name of a file says: train, validation, test; where it says nothing, its folders'."""
    *_, own = parts = name.split("/")
    return next((said for words in (own, "/".join(parts)) if (said := _said(words))), set())


def _said(name: str) -> set[str]:
    words = words_of(name)
    train = {"train"} if any(word.startswith("train") for word in words) else set()
    return train | {role for role, spelled in _SPELLED.items() if not spelled.isdisjoint(words)}


def is_role(name: str) -> bool:
    return is_train(name) or is_validation(name) or is_test(name)


def is_sample(name: str) -> bool:
    return any(
        word in {"sample", "submission", "submissions", "submit", "benchmark", "benchmarks"} for word in words_of(name)
    )


def is_beside(name: str) -> bool:
    """Of the pictures, but not the pictures: masks, thumbnails. `with_mask` is a class."""
    words, beside = words_of(name), {"mask", "thumbnail", "segmentation", "annotation", "depth"}
    return any(word.rstrip("s") in beside for word in words) and _DENIED.isdisjoint(words)


def plainest(name: str) -> tuple[bool, int, str]:
    """Sorts names: the pictures before their masks, short before long."""
    return is_beside(name), len(name), name


def parts_by_role(pictures: list[str]) -> dict[str, list[str]]:
    """One folder, or its subfolders where these are train and test, which may lie below folders that all share."""
    if not pictures:
        return {}
    above = [picture.split("/")[:-1] for picture in pictures]
    levels = enumerate(zip(*above, strict=False))
    shared = next((number for number, names in levels if len(set(names)) > 1), min(map(len, above)))
    parts: dict[str, list[str]] = {}
    for picture, folders in zip(pictures, above, strict=True):
        sub = "/".join(folders[: shared + 1]) if len(folders) > shared else ""
        parts.setdefault(sub, []).append(picture.removeprefix(f"{sub}/"))
    last = [sub.rpartition("/")[2] for sub in parts]
    parted = any(map(is_train, last)) and any(is_test(one) or is_validation(one) for one in last)
    return {sub: inside for sub, inside in parts.items() if sub} if parted else {"": pictures}


def split_column(rows: pd.DataFrame) -> tuple[str, list[str]] | None:
    """(the column that says train or test, its values that are not test)"""
    for column in rows:
        values = rows[column].unique()
        if 2 <= len(values) <= 4 and all(map(is_role, values)):
            return str(column), [value for value in values if not is_test(value)]
    return None
