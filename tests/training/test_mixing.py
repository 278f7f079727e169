"""Mixing: shares that add up, pictures where they belong, the same bits every time."""

import numpy as np
import pytest
import torch

from kit.settings import Train
from kit.training.mixing import mix

PIXELS = (torch.arange(8, dtype=torch.uint8) * 30).view(8, 1, 1, 1).expand(8, 3, 20, 24).contiguous()


def test_without_a_wish_nothing_is_mixed():
    assert mix(PIXELS, Train(), 0, (0, 0)) is None
    assert mix(PIXELS, Train(epochs=10, mixup=0.4, unmixed_epochs=3), 7, (0, 0)) is None
    assert mix(PIXELS, Train(epochs=10, mixup=0.4, unmixed_epochs=3), 6, (0, 0)) is not None


@pytest.mark.parametrize("step", range(20))
def test_mixup_is_the_weighted_mean(step):
    mixed = mix(PIXELS, Train(mixup=0.4), 0, (0, step))
    expected = mixed.own * PIXELS.float() + (1 - mixed.own) * PIXELS[mixed.partner].float()
    assert torch.allclose(mixed.pixels, expected)
    assert sorted(mixed.partner.tolist()) == list(range(8))


@pytest.mark.parametrize("step", range(20))
def test_cutmix_counts_its_own_pixels(step):
    mixed = mix(PIXELS, Train(cutmix=1.0), 0, (0, step))
    for image in range(8):
        own = (mixed.pixels[image, 0] == PIXELS[image, 0]).float().mean().item()
        partner = int(mixed.partner[image])
        assert own == pytest.approx(mixed.own if partner != image else 1.0)
        assert set(mixed.pixels[image].unique().tolist()) <= {30 * image, 30 * partner}


def test_the_same_step_mixes_alike_and_another_does_not():
    train = Train(mixup=0.4, cutmix=1.0)
    one, same, other = (mix(PIXELS, train, 0, (0, "full", 3, step)) for step in (5, 5, 6))
    assert torch.equal(one.pixels, same.pixels)
    assert one.own == same.own != other.own


def test_both_kinds_take_turns_and_beta_is_beta():
    train = Train(mixup=0.4, cutmix=1.0)
    shares = [mix(PIXELS, train, 0, (0, step)) for step in range(300)]
    mixups = sum(one.pixels.dtype == torch.float32 for one in shares)
    assert 110 < mixups < 190
    own = [mix(PIXELS[:, :, :2, :2], Train(mixup=0.4), 0, (1, step)).own for step in range(600)]
    assert np.mean(own) == pytest.approx(0.5, abs=0.04)
    assert np.var(own) == pytest.approx(0.25 / 1.8, rel=0.1)  # Beta(a, a): 1 / (4 (2a + 1))
