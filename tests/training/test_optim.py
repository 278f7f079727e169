"""Schedules against known answers and torch's own; EMA against its definition."""

import dataclasses

import pytest
import torch

from kit.models import build_classifier
from kit.settings import Model, Train
from kit.tasks import Outputs
from kit.training.checkpoint import load_model, require_savable, save_model
from kit.training.ema import EMA, running_mean
from kit.training.optim import build_optimizer, learning_rate, set_learning_rate, set_training


def test_cosine_with_warmup_at_known_points():
    train = Train(epochs=10, learning_rate=0.8, warmup_epochs=2, schedule="cosine")
    assert learning_rate(train, 0) == 0
    assert learning_rate(train, 1) == pytest.approx(0.4)
    assert learning_rate(train, 2) == pytest.approx(0.8)
    assert learning_rate(train, 6) == pytest.approx(0.4)
    assert learning_rate(train, 10) == pytest.approx(0)


def test_step_and_constant():
    train = Train(epochs=10, learning_rate=1.0, warmup_epochs=0, schedule="step", step_epochs=(4, 8))
    assert [learning_rate(train, epoch) for epoch in (0, 3.9, 4, 8)] == pytest.approx([1, 1, 0.1, 0.01])
    assert learning_rate(dataclasses.replace(train, schedule="constant", step_epochs=()), 9) == 1.0


def test_one_cycle_equals_torchs():
    train = Train(epochs=10, learning_rate=0.5, warmup_epochs=3, schedule="one_cycle")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    steps = 1000
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps=steps + 1, pct_start=0.3 + 1 / (steps + 1), div_factor=25, final_div_factor=400
    )
    for step in range(steps):
        assert learning_rate(train, step * 10 / steps) == pytest.approx(theirs.get_last_lr()[0], rel=0.02, abs=1e-3)
        optimizer.step()
        theirs.step()


def test_biases_and_norms_are_not_decayed():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    for name in ("adamw", "adam", "sgd"):
        groups = build_optimizer(model, Train(optimizer=name, weight_decay=0.1)).param_groups
        assert [len(group["params"]) for group in groups] == [1, 3]
        assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


def test_ema_follows_its_definition():
    model = torch.nn.BatchNorm1d(1)
    ema, expected = EMA(model, 0.9), 1.0
    for step in range(1, 200):
        model.weight.data.fill_(float(step))
        model.num_batches_tracked += 1
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert ema.model.weight.item() == pytest.approx(expected, rel=1e-4)
    assert ema.model.num_batches_tracked == 199


def test_deeper_layers_learn_more_slowly_and_the_head_by_its_own_rate():
    model = build_classifier(Model("resnet18", options={"width": 0.125}), Outputs(3))
    train = Train(learning_rate=0.01, layer_decay=0.5, head_learning_rate=0.04)
    optimizer = build_optimizer(model, train)
    set_learning_rate(optimizer, 0.01)
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {name_of[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert set(rates) == set(name_of.values())
    assert rates["network.fc.weight"] == rates["network.fc.bias"] == pytest.approx(0.04)
    assert rates["network.layer4.1.conv1.weight"] == pytest.approx(0.005)
    assert rates["network.layer4.0.bn1.bias"] == pytest.approx(0.0025)
    assert rates["network.conv1.weight"] == min(rates.values()) == pytest.approx(0.01 * 0.5**9)  # 8 blocks and itself


def test_while_frozen_only_the_head_moves():
    torch.manual_seed(0)
    model = build_classifier(Model("resnet18", options={"width": 0.125}), Outputs(3))
    optimizer = build_optimizer(model, Train(learning_rate=0.1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for frozen in (True, False):
        set_training(model, Train(freeze_epochs=1), 0 if frozen else 1)
        model(torch.rand(4, 3, 32, 32) * 255).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        if frozen:
            assert moved == {"network.fc.weight", "network.fc.bias"}, "batch-norm statistics stand still too"
    assert "network.conv1.weight" in moved
    assert "network.bn1.running_mean" in moved


def test_frozen_layers_never_move_and_cost_no_backward_pass():
    torch.manual_seed(0)
    model = build_classifier(Model("resnet18", options={"width": 0.125, "drop_path": 0.2}), Outputs(3))
    train = Train(learning_rate=0.1, freeze_layers=0.5)
    optimizer = build_optimizer(model, train)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    set_training(model, train, epoch=5)
    model(torch.rand(4, 3, 32, 32) * 255).sum().backward()
    assert model.network.conv1.weight.grad is None
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"network.fc.weight", "network.layer4.1.conv1.weight", "network.layer4.1.bn1.running_mean"} <= moved
    assert not {name for name in moved if name.startswith(("network.conv1", "network.bn1", "network.layer1"))}
    assert not model.network.layer1[0].training, "dropped paths would make a frozen layer's output noisy"


@pytest.mark.parametrize(
    ("name", "first"), [("resnet18", "network.conv1.weight"), ("timm:resnet10t", "network.conv1.0.weight")]
)
def test_frozen_norms_keep_their_statistics_while_all_weights_learn(name, first):
    torch.manual_seed(0)
    model = build_classifier(Model(name), Outputs(3))
    train = Train(optimizer="sgd", learning_rate=0.1, freeze_norms=True)
    optimizer = build_optimizer(model, train)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.rand(4, 3, 64, 64) * 255
    model.eval()
    expected = model(pixels)
    set_training(model, train, epoch=0)
    torch.testing.assert_close(model(pixels), expected, msg="the outputs that its head was fitted on")
    model(pixels)[:, 0].sum().backward()
    optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if "running" in name)
    assert not torch.equal(after[first], before[first])


def test_the_mean_of_the_last_states():
    states = [{"weight": torch.tensor([value]), "counter": torch.tensor(int(value))} for value in (1.0, 5.0, 6.0)]
    mean = None
    for count, state in enumerate(states, start=1):
        mean = running_mean(mean, state, count)
    assert mean["weight"].item() == pytest.approx(4.0)
    assert mean["counter"].item() == 6
    assert states[0]["weight"].item() == 1.0


def test_class_tokens_and_position_tables_do_not_decay():
    model = build_classifier(Model("timm:vit_tiny_patch16_224", options={"img_size": 32}), Outputs(2))
    optimizer = build_optimizer(model, Train(weight_decay=0.05))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert named["network.cls_token"] == named["network.pos_embed"] == named["network.norm.weight"] == 0
    assert named["network.blocks.0.attn.qkv.weight"] == 0.05


def test_a_tensor_of_two_names_is_averaged_once_and_saved(tmp_path):
    """timm's CoaT shares weights between parts."""
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 2, bias=False)})
    model["two"] = model["one"]
    ema = EMA(model, 0.5)
    before = ema.model["one"].weight.clone()
    with torch.no_grad():
        model["one"].weight.add_(1.0)
    ema.update(10_000)
    assert torch.allclose(ema.model["one"].weight, before + 0.5)
    assert ema.model["two"].weight is ema.model["one"].weight
    require_savable(model.state_dict())
    save_model(tmp_path / "m.safetensors", model.state_dict(), {})
    weights, _ = load_model(tmp_path / "m.safetensors")
    assert torch.equal(weights["one.weight"], weights["two.weight"])
