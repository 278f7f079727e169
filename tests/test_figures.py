"""Figures stay of a size that can be looked at, however many classes there are."""

import numpy as np
import pytest
from PIL import Image

from kit import figures


@pytest.mark.parametrize("num_classes", [2, 20, 60, 3000])
def test_confusion_and_counts_of_any_number_of_classes(num_classes, tmp_path):
    generator = np.random.default_rng(0)
    targets = generator.integers(0, num_classes, 4000)
    guesses = np.where(generator.random(4000) < 0.7, targets, generator.integers(0, num_classes, 4000))
    names = [f"class {k}" for k in range(num_classes)]
    figures.confusion_matrix(targets, guesses, names, "title", tmp_path / "confusion.png")
    figures.class_counts({name: k + 1 for k, name in enumerate(names)}, 4000, tmp_path / "classes.png")
    figures.label_scores(
        {name: 0.5 + k / num_classes / 2 for k, name in enumerate(names)}, "t", tmp_path / "labels.png"
    )
    for name in ("confusion", "classes", "labels"):
        assert max(Image.open(tmp_path / f"{name}.png").size) < 3000


def test_dollars_in_a_name_are_no_formula(tmp_path):
    figures.contact_sheet([np.zeros((8, 8, 3), np.uint8)], ["a$b_$c"], "cost$_{$", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
