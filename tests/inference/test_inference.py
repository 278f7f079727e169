"""TTA equals the views done by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batches import batch_of
from machine import DEVICE, ROUNDING
from torchvision.transforms import functional as TF

from kit.data.transforms import resized
from kit.device.precision import Compute, Precision
from kit.errors import KitError
from kit.inference.predictor import Predictor, predict, prepare
from kit.inference.views import Shown, ViewSet, expand
from kit.run import predicting
from kit.settings import View
from kit.tasks import Outputs

PIXELS = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class _Model(torch.nn.Module):
    """Sees positions, not only means, so that a flip or a crop changes its answer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across, down = (torch.linspace(0, k, side, device=x.device) for k, side in ((1, x.shape[-1]), (2, x.shape[-2])))
        ramp = across + down[:, None]
        return self.head((self.conv(x / 255) * ramp[1:-1, 1:-1]).mean(dim=(2, 3))) * 5


def _predict(views, average="probs"):
    batches = [batch_of(PIXELS[:3]), batch_of(PIXELS[3:])]
    model = Predictor(_Model().eval().to(DEVICE), lambda logits: logits.softmax(1), DEVICE)
    return predict([model], batches, ViewSet(tuple(views), 32, average))[0]


def test_the_mean_over_explicit_views():
    model = _Model().eval()
    with torch.no_grad():
        logits = [model(PIXELS.float()), model(PIXELS.flip(3).float()), model(PIXELS.flip(2).float())]
    views = expand(["identity", "hflip", "vflip"])
    probs = torch.stack([one.softmax(1) for one in logits]).mean(0)
    assert torch.allclose(_predict(views), probs, atol=ROUNDING)
    assert torch.allclose(_predict(views, "logits"), torch.stack(logits).mean(0).softmax(1), atol=ROUNDING)
    assert not torch.allclose(_predict(views), _predict(expand(["identity"])), atol=1e-3)


def test_five_crop_equals_torchvisions():
    big = TF.resize(PIXELS.float(), [37, 37], antialias=True)
    expected = TF.five_crop(big, [32, 32])
    shown = [Shown(PIXELS, 32).through(view) for view in expand(["five_crop"])]
    for ours, theirs in zip(shown[:4], expected[:4], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    assert torch.allclose(shown[4], big[:, :, 2:34, 2:34], atol=1e-3)
    assert len(expand(["ten_crop"])) == 10


@pytest.mark.parametrize("size", [32, 31, 24, 20, 16, 9])
def test_the_plain_view_is_what_validation_sees(size):
    squares = PIXELS.permute(0, 2, 3, 1).numpy()
    expected = np.stack([resized(square, size) for square in squares])
    shown = Shown(PIXELS, size).through(View()).permute(0, 2, 3, 1).numpy()
    assert np.abs(shown - expected).max() <= 1
    assert np.abs(shown - expected).mean() < 0.2  # rounding of ties; a softer filter differs by several levels


def test_scale_draws_on_the_finer_picture():
    assert Shown(PIXELS, 16).through(View(scale=1.5)).shape == (4, 3, 24, 24)
    assert torch.equal(Shown(PIXELS, 16).through(View(scale=2.0)), PIXELS.float())
    assert Shown(PIXELS, 16).through(View()).shape == (4, 3, 16, 16)


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_rows_sum_to_one(average):
    assert torch.allclose(_predict(expand(["ten_crop"]), average).sum(1), torch.ones(4), atol=ROUNDING)


class _Small(_Model):
    """A device whose memory holds two pictures."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    compute = Compute(DEVICE, Precision("fp32", "contiguous"))
    ready = prepare(_Small(), lambda logits: logits.softmax(1), compute, PIXELS[:2])
    views = ViewSet(tuple(expand(["identity", "hflip"])), 32)
    made = predict([ready], [batch_of(PIXELS)], views)[0]
    assert torch.allclose(made, _predict(expand(["identity", "hflip"])), atol=ROUNDING)


@pytest.mark.parametrize("most", [3, 2], ids=["it fits", "a whole batch does not"])
def test_a_compiled_model_meets_one_batch_size(monkeypatch, most):
    """Each size would be compiled anew; what fills the last batch up is not among the predictions."""
    met = []

    def compiled(model, dynamic):
        def run(images):
            met.append(len(images))
            if len(images) > most:
                raise torch.OutOfMemoryError("out of memory")
            return model(images)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    ready = prepare(
        _Model().eval(), lambda logits: logits.softmax(1),
        Compute(DEVICE, Precision("fp32", "contiguous", True)), PIXELS[:3],
    )  # fmt: skip
    views = ViewSet(tuple(expand(["identity"])), 32)
    made = predict([ready], [batch_of(PIXELS[:3]), batch_of(PIXELS[3:])], views)[0]
    assert torch.allclose(made, _predict(expand(["identity"])), atol=ROUNDING)
    assert met == ([3, 3] if most == 3 else [3, 2, 1, 1])


def test_predictions_that_are_nan_in_fp16_are_made_in_fp32(monkeypatch):
    """A network whose activations pass 65,504."""
    monkeypatch.setattr(predicting, "stream", lambda *_: [batch_of(PIXELS)])
    monkeypatch.setattr(predicting, "sample", lambda *_: PIXELS.float())
    monkeypatch.setattr(predicting, "view_set", lambda _: ViewSet(tuple(expand(["identity"])), 32))
    machine = SimpleNamespace(predict_precision="fp16", predict_memory_format="contiguous", predict_compile=False)
    model = _Model().eval()
    with torch.no_grad():
        model.conv.weight.mul_(1e5)
    model.activate = lambda logits: (logits / 1e5).softmax(1)
    run = SimpleNamespace(
        experiment=SimpleNamespace(machine=machine, train=SimpleNamespace(mode="network")),
        device=DEVICE, samples=SimpleNamespace(pixels=PIXELS, columns=None),
        competition=SimpleNamespace(outputs=Outputs(3)),
        fold=lambda number: SimpleNamespace(files=SimpleNamespace(model="fold_0/model.safetensors")),
    )  # fmt: skip
    fold = SimpleNamespace(number=0, model=lambda: model)
    made = predicting.FoldPredictors(run, [fold]).predict([0], np.arange(4))
    expected = model.activate(model(PIXELS.float())).detach().numpy()
    assert np.allclose(made[0], expected, atol=ROUNDING)
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(KitError, match=r"its predictions are nan in fp32, too; type `kit train --fold 0 --force`"):
        predicting.FoldPredictors(run, [fold]).predict([0], np.arange(4))
