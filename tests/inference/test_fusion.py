"""Folded batch norms and cast weights: the same function."""

import pytest
import torch
from kit.machine import Precision, Trial, measured
from torch import nn

from kit.config import TTA
from kit.errors import KitError
from kit.inference.fusion import fold_batch_norms
from kit.inference.predictor import predict, prepare
from kit.inference.probe import decide, probe
from kit.inference.views import expand
from kit.models import build_classifier

CPU = torch.device("cpu")
PIXELS = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).float()


def _trained(name: str, **options) -> nn.Module:
    """Batch norms with statistics of their own, as after a training."""
    torch.manual_seed(0)
    model = build_classifier(name, 3, options)
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
    ready = [prepare(model, model.activate, precision, CPU, PIXELS) for model in models]
    batches = iter([PIXELS[:4], PIXELS[4:]])  # could not be read again
    found = predict(ready, batches, expand(["identity", "hflip"]), 32, "probs", CPU)
    with torch.no_grad():
        expected = [(model(PIXELS).softmax(1) + model(PIXELS.flip(3)).softmax(1)) / 2 for model in models]
    assert torch.allclose(found, torch.stack(expected), atol=1e-5 if precision.name == "fp32" else 0.03)
    assert all(p.dtype == torch.float32 for model in models for p in model.parameters())  # copies were cast


def test_a_wrong_precision_is_not_taken(monkeypatch):
    model = _trained("resnet18", stem="small", width=0.25)
    options = [Precision("bf16", "channels_last"), Precision("fp32", "channels_last")]
    assert all(trial.images_per_second > 0 for trial in probe(model, model.activate, options, PIXELS, CPU))
    monkeypatch.setattr("kit.inference.predictor.cast_weights", lambda model, _: nn.Sequential(model, nn.Softmax(1)))
    wrong, right = probe(model, model.activate, options, PIXELS, CPU)
    assert (wrong.images_per_second, right.images_per_second > 0) == (0.0, True)


def test_a_speed_is_measured_once_and_what_is_given_is_not_measured(tmp_path):
    model = _trained("resnet18", stem="small", width=0.25)
    asked = (model, model.activate, TTA(compile=False), ("small",), PIXELS, 100, CPU, tmp_path / "speeds.json")
    assert decide(*asked) == decide(*asked)
    given = TTA(precision="fp32", memory_format="contiguous", compile=False)
    assert decide(None, None, given, (), PIXELS, 100, CPU, tmp_path / "none.json") is given
    assert not (tmp_path / "none.json").exists()


def test_a_measurement_is_kept_by_what_was_measured(tmp_path):
    calls = []

    def measure() -> list[Trial]:
        calls.append(1)
        return [Trial(Precision("bf16", "channels_last", True), 12.5)]

    memory = tmp_path / "speeds.json"
    first = measured(memory, ["a", 1], CPU, measure)
    assert measured(memory, ["a", 1], CPU, measure) == first == [Trial(Precision("bf16", "channels_last", True), 12.5)]
    measured(memory, ["a", 2], CPU, measure)
    assert len(calls) == 2


def test_a_precision_that_is_asked_for_and_wrong_is_refused(monkeypatch, tmp_path):
    model = _trained("resnet18", stem="small", width=0.25)
    monkeypatch.setattr("kit.inference.predictor.cast_weights", lambda model, _: nn.Sequential(model, nn.Softmax(1)))
    asked = TTA(precision="bf16", compile=False)
    with pytest.raises(KitError, match=r"tta\.precision: bf16 does not say what fp32 says"):
        decide(model, model.activate, asked, ("small",), PIXELS, 100, CPU, tmp_path / "speeds.json")
    free = decide(model, model.activate, TTA(compile=False), ("small",), PIXELS, 100, CPU, tmp_path / "speeds.json")
    assert free.precision == "fp32"
