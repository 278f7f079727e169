"""Augmentation: what the YAML says, independent per transform, the same for the same key."""

import numpy as np
import pytest

from kit.data.transforms import build_augment, check_augment
from kit.errors import ConfigError
from kit.randomness import key

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)


def test_flips_fire_independently_half_the_time_each():
    augment = build_augment([{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}], 24)
    outcomes = {
        IMAGE.tobytes(): 0,
        IMAGE[:, ::-1].tobytes(): 0,
        IMAGE[::-1].tobytes(): 0,
        IMAGE[::-1, ::-1].tobytes(): 0,
    }
    for number in range(2000):
        outcomes[augment(IMAGE, key("image", 0, 0, 0, number)).tobytes()] += 1
    assert sum(outcomes.values()) == 2000
    assert all(430 < count < 570 for count in outcomes.values()), outcomes


def test_the_key_decides_whatever_came_before():
    augment = build_augment([{"RandomResizedCrop": {"scale": [0.3, 1.0]}}, {"ColorJitter": {"p": 1.0}}], 16)
    first = augment(IMAGE, 7)
    augment(IMAGE, 8)
    assert np.array_equal(augment(IMAGE, 7), first)
    assert not np.array_equal(augment(IMAGE, 8), first)


def test_the_result_has_the_experiments_size():
    assert build_augment([{"RandomResizedCrop": {}}], 16)(IMAGE, 1).shape == (16, 16, 3)
    assert build_augment([{"RandomCrop": {"height": 20, "width": 20}}], 16)(IMAGE, 1).shape == (16, 16, 3)
    assert build_augment([{"HorizontalFlip": {}}], 16)(IMAGE, 1).shape == (16, 16, 3)
    assert build_augment([], 16) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"HorizontalFlop": {}}, r"no transform 'HorizontalFlop' \(did you mean 'HorizontalFlip'\?\)"),
        ({"HorizontalFlip": {"prob": 1}}, r"augment\.HorizontalFlip\.prob: no such parameter"),
        ({"HorizontalFlip": {"p": 7}}, r"augment\.HorizontalFlip"),
        ({"RandomResizedCrop": {"scale": "big"}}, r"augment\.RandomResizedCrop"),
    ],
)
def test_a_wrong_line_is_refused_by_name(line, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_augment([line], 16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"HorizontalFlip": {}}, {"Normalize": {}}], r"augment\.Normalize: should leave pixels at 0 to 255"),
        ([{"ToFloat": {"p": 0.5}}], r"augment\.ToFloat: should leave pixels at 0 to 255"),
        ([{"RandomCrop": {"height": 20, "width": 20}}], r"augment\.RandomCrop: does not run on 16 px"),
    ],
)
def test_what_makes_no_picture_is_refused_before_training(lines, message):
    with pytest.raises(ConfigError, match=message):
        check_augment(lines, 16, 16)
    padded = [{"PadIfNeeded": {"min_height": 24, "min_width": 24}}, {"RandomCrop": {"height": 20, "width": 20}}]
    check_augment(padded, 16, 16)
