"""What the name of a file or folder, or a cell, says it is for, by whole words: `latest.csv` is no test set."""

import re

import pandas as pd


def words_of(name: str) -> list[str]:
    """Lower case, without digits and endings' dots: train, labels of trainLabels_v2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def is_train(name: str) -> bool:
    return any(word.startswith("train") for word in words_of(name)) and not is_beside(name)


def is_validation(name: str) -> bool:
    return any(word in {"val", "valid", "validation", "dev"} for word in words_of(name)) and not is_beside(name)


def is_test(name: str) -> bool:
    return any(word in {"test", "tests", "testing", "testset"} for word in words_of(name)) and not is_beside(name)


def is_role(name: str) -> bool:
    return is_train(name) or is_validation(name) or is_test(name)


def is_sample(name: str) -> bool:
    return any(word in {"sample", "submission", "submissions", "benchmark", "benchmarks"} for word in words_of(name))


def is_beside(name: str) -> bool:
    """Of the pictures, but not the pictures: masks, thumbnails."""
    beside = {"mask", "thumbnail", "segmentation", "annotation", "depth"}
    return any(word.rstrip("s") in beside for word in words_of(name))


def plainest(name: str) -> tuple[bool, int, str]:
    """Sorts names: the pictures before their masks, short before long."""
    return is_beside(name), len(name), name


def split_column(rows: pd.DataFrame) -> tuple[str, list[str]] | None:
    """(the column that says train or test, its values that are not test)"""
    for column in rows:
        values = rows[column].unique()
        if 2 <= len(values) <= 4 and all(map(is_role, values)):
            return str(column), [value for value in values if not is_test(value)]
    return None
