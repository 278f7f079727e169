"""Augmentation made weaker or stronger as a whole."""

import numpy as np
import pytest

from kit.data.strength import scaled
from kit.data.transforms import _defaults, build_augment

LINES = [
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomResizedCrop": {"scale": [0.5, 1.0], "ratio": [0.8, 1.25]}},
    {"Affine": {"scale": [0.8, 1.25], "rotate": [-12, 12], "translate_percent": 0.08}},
    {"ColorJitter": {"brightness": 0.2, "hue": 0.02, "p": 0.8}},
    {"RandomBrightnessContrast": {"brightness_limit": [-0.1, 0.3]}},
    {"CoarseDropout": {"num_holes_range": [1, 1], "p": 0.4}},
    {"GaussianBlur": {"blur_limit": [3, 7]}},
]


def test_limits_are_scaled_around_what_changes_nothing():
    flip, crop, affine, jitter, light, dropout, blur = scaled(LINES, 2.0, _defaults)
    assert flip == LINES[0]
    assert crop["RandomResizedCrop"]["scale"] == [0.05, 1.0]  # 0 would be no picture
    assert crop["RandomResizedCrop"]["ratio"] == pytest.approx([0.6, 1.5])
    assert affine["Affine"].pop("scale") == pytest.approx([0.6, 1.5])
    assert (affine["Affine"]["rotate"], affine["Affine"]["translate_percent"]) == ([-24, 24], 0.16)
    assert jitter["ColorJitter"]["brightness"] == 0.4
    assert jitter["ColorJitter"]["saturation"] == pytest.approx([0.6, 1.4])  # by default [0.8, 1.2]
    assert light["RandomBrightnessContrast"]["brightness_limit"] == [-0.2, 0.6]
    assert dropout["CoarseDropout"] == {"num_holes_range": [1, 1], "p": 0.8}
    assert blur["GaussianBlur"] == {"blur_limit": [3, 7], "p": 1.0}  # a kernel's size is odd: it comes more often


def test_strength_0_changes_no_pixel_except_by_flips():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8).astype(int)
    augment = build_augment(LINES, 32, strength=0)
    shown = [augment(picture.astype(np.uint8), key) for key in range(40)]
    apart = [[np.abs(one - side).max() for one in shown] for side in (picture, picture[:, ::-1])]
    assert np.min(apart, axis=0).max() <= 2  # by way of hue and back
    assert 10 < np.sum(np.argmin(apart, axis=0)) < 30


def test_strength_1_is_the_experiment_as_it_stands():
    assert scaled(LINES, 1.0, _defaults) is LINES


def test_every_strength_of_a_default_search_is_accepted():
    picture = np.full((32, 32, 3), 100, np.uint8)
    for strength in (0.1, 0.5, 1.5, 2.0):
        assert build_augment(LINES, 32, strength)(picture, 1).shape == (32, 32, 3)


def test_other_scales_are_scaled_by_their_own_measure():
    lines = [
        {"ShiftScaleRotate": {"shift_limit": 0.1, "scale_limit": 0.2, "rotate_limit": 10}},
        {"RandomGamma": {"gamma_limit": [80, 120]}},
        {"Affine": {"scale": 1.2}},
        {"ColorJitter": {"hue": 0.4}},
    ]
    shift, gamma, affine, jitter = scaled(lines, 0.5, _defaults)
    assert shift["ShiftScaleRotate"]["rotate_limit"] == 5
    assert gamma["RandomGamma"]["gamma_limit"] == [90, 110]
    assert affine["Affine"]["scale"] == pytest.approx(1.1)
    assert scaled([jitter], 4.0, _defaults)[0]["ColorJitter"]["hue"] == 0.5
