"""Folded batch norms and cast weights: the same function."""

from dataclasses import replace

import pytest
import torch
from batches import batch_of
from machine import DEVICE, ROUNDING
from torch import nn

from kit.device.measuring import Meter, speed
from kit.device.precision import Compute, Precision, Wanted
from kit.inference.fusion import fold_batch_norms
from kit.inference.predictor import predict, prepare
from kit.inference.views import ViewSet
from kit.inference.workload import PredictionBatches
from kit.models import build_classifier
from kit.settings import TTA, Model
from kit.tasks import Outputs

PIXELS = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).float()


def _trained(name: str, **options) -> nn.Module:
    """Batch norms with statistics of their own, as after a training."""
    torch.manual_seed(0)
    model = build_classifier(Model(name, options=options), Outputs(3))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "options", "left"),
    [
        ("resnet18", {"stem": "small", "width": 0.25}, 0),
        ("resnet50", {"stem": "deep", "shortcut": "average", "squeeze_excitation": True, "width": 0.25}, 0),
        ("resnet18", {"preact": True, "width": 0.25}, 9),  # a norm before each block's first convolution, and the last
        ("vgg11", {"width": 0.125}, 0),
        ("timm:tf_efficientnet_lite0", {}, 0),  # norm and activation in one
        ("timm:convnext_atto", {}, 0),  # no batch norm at all
    ],
)
def test_folding_changes_nothing_but_the_work(name, options, left):
    model = _trained(name, **options)
    folded = fold_batch_norms(model, PIXELS)
    with torch.no_grad():
        assert torch.allclose(folded(PIXELS), model(PIXELS), atol=1e-4, rtol=1e-3)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == left
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == ("convnext" not in name)


class _UsedTwice(nn.Module):
    """What the convolution says is also needed as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.running_mean, 3.0)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = self.conv(pixels / 255)
        return (seen + self.norm(seen)).mean(dim=(2, 3))


def test_what_cannot_be_folded_stays():
    model = _UsedTwice().eval()
    with torch.no_grad():
        assert torch.equal(fold_batch_norms(model, PIXELS)(PIXELS), model(PIXELS))


@pytest.mark.parametrize("precision", [Precision("bf16", "channels_last"), Precision("fp32", "channels_last")])
def test_several_models_share_one_reading(precision):
    models = [_trained("resnet18", stem="small", width=0.25), _trained("vgg11", width=0.125)]
    ready = [prepare(model, model.activate, Compute(DEVICE, precision), PIXELS) for model in models]
    batches = iter([batch_of(PIXELS[:4]), batch_of(PIXELS[4:])])  # could not be read again
    found = predict(ready, batches, ViewSet.of(TTA(views=("identity", "hflip")), 32))
    with torch.no_grad():
        expected = [(model(PIXELS).softmax(1) + model(PIXELS.flip(3)).softmax(1)) / 2 for model in models]
    assert torch.allclose(found, torch.stack(expected), atol=ROUNDING if precision.name == "fp32" else 0.03)
    assert all(p.dtype == torch.float32 for model in models for p in model.parameters())  # copies were cast


BF16, FP32 = Precision("bf16", "channels_last"), Precision("fp32", "channels_last")


@pytest.fixture
def batches() -> PredictionBatches:
    model = _trained("resnet18", stem="small", width=0.25)
    return PredictionBatches(model, model.activate, PIXELS, DEVICE)


def _never(_speed: float) -> bool:
    return False


def test_predictions_in_another_precision_are_held_against_fp32s(batches, monkeypatch):
    assert batches.is_right(BF16)
    monkeypatch.setattr("kit.inference.predictor.cast_weights", lambda model, _: nn.Sequential(model, nn.Softmax(1)))
    assert not batches.is_right(BF16)
    assert batches.is_right(FP32)


def test_a_wrong_precision_gives_way_to_fp32_unless_it_was_asked_for(batches, monkeypatch, tmp_path):
    monkeypatch.setattr("kit.inference.predictor.cast_weights", lambda model, _: nn.Sequential(model, nn.Softmax(1)))
    monkeypatch.setattr("kit.device.precision.has_bf16", lambda _: True)
    meter = Meter(DEVICE, tmp_path / "speeds.json")
    best = meter.settle(batches.workload(("small",)), Wanted(), _never)[0]
    assert best.precision.name == "fp32"
    assert best.images_per_second > 0
    assert meter.settle(batches.workload(("small",)), Wanted("bf16"), _never)[0].images_per_second == 0


def test_a_speed_is_measured_once_by_what_was_measured(batches, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("kit.device.measuring.speed", lambda work, option: calls.append(option) or speed(work, option))
    meter = Meter(DEVICE, tmp_path / "speeds.json")
    first = meter.settle(batches.workload(("small",)), Wanted("fp32"), _never)
    assert meter.settle(batches.workload(("small",)), Wanted("fp32"), _never) == first
    layouts = len(Wanted("fp32").candidates(DEVICE))
    assert len(calls) == layouts, "each memory layout once"
    meter.settle(batches.workload(("other",)), Wanted("fp32", "contiguous"), _never)
    assert len(calls) == layouts + 1


def test_what_has_no_speed_is_asked_for_again(batches, tmp_path):
    """Another job may hold the memory just now."""
    calls = []

    def start(_precision):
        calls.append(1)
        raise torch.OutOfMemoryError("no memory")

    work = replace(batches.workload(("small",)), start=start)
    meter = Meter(DEVICE, tmp_path / "speeds.json")
    assert [meter.measured(work, [BF16])[0].images_per_second for _ in range(2)] == [0, 0]
    assert len(calls) == 2
