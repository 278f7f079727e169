"""Losses against torch's own and hand-computed values; each fits its task only."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kit.errors import ConfigError
from kit.settings import Train
from kit.tasks import Outputs
from kit.training.losses import build_loss

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(8, 4, generator=GENERATOR)
CLASSES = torch.arange(8) % 4
LABELS = (torch.rand(8, 4, generator=GENERATOR) < 0.4).float()
NUMBERS = torch.tensor([[3.0], [5.0], [7.0], [5.0]])


def _loss(task, targets, **train):
    return build_loss(Outputs(4, task), Train(**train), targets.numpy())


def test_the_default_of_each_task():
    assert torch.equal(_loss("classes", CLASSES)(OUTPUTS, CLASSES), F.cross_entropy(OUTPUTS, CLASSES))
    assert torch.equal(_loss("ordinal", CLASSES)(OUTPUTS, CLASSES), F.cross_entropy(OUTPUTS, CLASSES))
    expected = F.binary_cross_entropy_with_logits(OUTPUTS, LABELS)
    assert torch.allclose(_loss("labels", LABELS)(OUTPUTS, LABELS), expected)


def test_a_number_is_learned_in_standard_deviations():
    loss = _loss("number", NUMBERS)
    assert loss(torch.zeros(4, 1), NUMBERS).item() == pytest.approx(1.0)  # the mean everywhere: the variance is left
    assert loss((NUMBERS - 5) / NUMBERS.std(correction=0), NUMBERS).item() == pytest.approx(0)


def test_focal_loss_by_hand():
    probs = OUTPUTS.softmax(1)[torch.arange(8), CLASSES]
    expected = (-((1 - probs) ** 2) * probs.log()).mean()
    assert torch.allclose(_loss("classes", CLASSES, loss="focal")(OUTPUTS, CLASSES), expected)
    right = torch.where(LABELS > 0, OUTPUTS.sigmoid(), 1 - OUTPUTS.sigmoid())
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(_loss("labels", LABELS, loss="focal")(OUTPUTS, LABELS), expected)
    plain = _loss("classes", CLASSES, loss="focal", focal_gamma=0.0)(OUTPUTS, CLASSES)
    assert torch.allclose(plain, F.cross_entropy(OUTPUTS, CLASSES))


def test_the_ordinal_loss_grows_with_the_distance():
    loss = _loss("ordinal", CLASSES, loss="ordinal")
    guess = torch.full((1, 4), -20.0)
    guess[0, 0] = 20.0
    near, far = (loss(guess, torch.tensor([k])) - F.cross_entropy(guess, torch.tensor([k])) for k in (1, 3))
    assert near.item() == pytest.approx(1, abs=1e-4)
    assert far.item() == pytest.approx(3, abs=1e-4)


def test_balanced_classes_weigh_alike():
    targets = torch.tensor([0, 0, 0, 1])
    loss = build_loss(Outputs(2), Train(class_weights="balanced"), targets.numpy())
    outputs = torch.zeros(4, 2, requires_grad=True)
    loss(outputs, targets).backward()
    assert outputs.grad[:3, 0].sum().item() == pytest.approx(-outputs.grad[3, 0].item())
    labels = np.array([[1.0], [0.0], [0.0], [0.0]], np.float32)
    outputs = torch.zeros(4, 1, requires_grad=True)
    build_loss(Outputs(1, "labels"), Train(class_weights="balanced"), labels)(
        outputs, torch.from_numpy(labels)
    ).backward()
    assert outputs.grad[0].item() == pytest.approx(-outputs.grad[1:].sum().item())


@pytest.mark.parametrize(("task", "loss"), [("classes", "bce"), ("labels", "cross_entropy"), ("number", "focal")])
def test_a_loss_of_another_task_is_refused(task, loss):
    targets = {"classes": CLASSES, "labels": LABELS, "number": NUMBERS}[task]
    with pytest.raises(ConfigError, match=rf"train\.loss: {loss} does not fit task {task}; expected auto, "):
        _loss(task, targets, loss=loss)
