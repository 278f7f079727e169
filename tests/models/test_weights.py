"""Weights files as people have them: what is around the tensors, and what the tensors are called."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kit.errors import KitError
from kit.models import build_classifier, build_model
from kit.models.pretrained import load_weights
from kit.models.weights import read_weights
from kit.settings import Model
from kit.tasks import Outputs
from kit.tools.models import models
from kit.training.checkpoint import save_model


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_model("resnet18", 1000, width=0.125).state_dict()


def _fits(path, tensors) -> bool:
    model = build_model("resnet18", 2, width=0.125)
    new, _ = load_weights(model, path)
    return set(new) == {"fc.weight", "fc.bias"} and torch.equal(model.conv1.weight, tensors["conv1.weight"])


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "backbone."])
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_prefixes_of_classes_around_the_network(tmp_path, tensors, prefix, kind):
    path = tmp_path / f"w.{kind}"
    named = {prefix + name: value for name, value in tensors.items()}
    save_file(named, path) if kind == "safetensors" else torch.save(named, path)
    assert _fits(path, tensors)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "weights", "ema", "something"])
def test_wrappers_and_what_stands_beside_the_tensors(tmp_path, tensors, key):
    beside = {"epoch": 3, "best_score": np.float64(0.93), "args": argparse.Namespace(lr=1e-3, size=(1, 2))}
    torch.save({**beside, key: tensors}, tmp_path / "w.pth")
    assert _fits(tmp_path / "w.pth", tensors)


def test_averaged_weights_come_first(tmp_path, tensors):
    raw = {name: torch.zeros_like(value) for name, value in tensors.items()}
    torch.save({"state_dict": raw, "state_dict_ema": tensors}, tmp_path / "w.pth")
    assert _fits(tmp_path / "w.pth", tensors)


def test_a_file_of_other_things_says_what_it_holds(tmp_path):
    torch.save({"optimizer": {"lr": 1}, "scheduler": {"step": 2}}, tmp_path / "w.pth")
    with pytest.raises(KitError, match=r"not a weights file: no table of tensors in it \(keys: optimizer, scheduler\)"):
        read_weights(tmp_path / "w.pth")


def test_a_table_that_holds_itself_ends(tmp_path):
    outer: dict = {}
    outer["model"] = {"ema": outer}
    torch.save(outer, tmp_path / "w.pth")
    with pytest.raises(KitError, match="not a weights file: no table of tensors in it"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("note", ["[]", '{"classes": 3}', '{"classes": ["a", "b"]}'])
def test_a_strangers_note_beside_the_tensors_breaks_nothing(tmp_path, tensors, note):
    odd = {"mean": torch.zeros(2), "std": torch.ones(1)}
    save_file(tensors, tmp_path / "w.safetensors", {"kit": note})
    assert _fits(tmp_path / "w.safetensors", tensors)
    save_file(tensors | odd, tmp_path / "odd.safetensors", {"kit": note})
    assert read_weights(tmp_path / "odd.safetensors").statistics is None


def test_a_position_table_of_another_size_is_resampled(tmp_path):
    source = build_model("timm:vit_tiny_patch16_224", 10, img_size=64)
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    model = build_model("timm:vit_tiny_patch16_224", 2, img_size=32)
    new, _ = load_weights(model, tmp_path / "vit.safetensors")
    assert set(new) == {"head.weight", "head.bias"}
    assert model.pos_embed.shape == (1, 1 + 4, 192)
    assert torch.equal(model.pos_embed[:, 0], source.pos_embed[:, 0]), "the class token's own stays"


def test_names_of_an_architectures_first_repository(tmp_path):
    """ConvNeXt as facebookresearch/ConvNeXt saves it: timm's own filter knows those names."""
    source = build_model("timm:convnext_atto", 10, conv_mlp=False)
    theirs = {"model": {}}
    for name, value in source.state_dict().items():
        new = name.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.").replace("head.fc.", "head.")
        for stage in range(4):
            new = new.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            new = new.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
        for ours, its in (("conv_dw", "dwconv"), ("mlp.fc1", "pwconv1"), ("mlp.fc2", "pwconv2")):
            new = new.replace(ours, its)
        theirs["model"][new] = value
    torch.save(theirs, tmp_path / "convnext.pth")
    model = build_model("timm:convnext_atto", 2, conv_mlp=False)
    new, _ = load_weights(model, tmp_path / "convnext.pth")
    assert set(new) == {"head.fc.weight", "head.fc.bias"}
    key = "stages.2.blocks.1.mlp.fc1.weight"
    assert torch.equal(model.state_dict()[key], source.state_dict()[key])


def test_the_kits_own_model_of_another_competition(tmp_path, capsys):
    trained = build_classifier(
        Model("resnet18", options={"width": 0.125}), Outputs(3), statistics=(None, ((0.2,) * 3, (0.1,) * 3))
    )
    save_model(tmp_path / "model.safetensors", trained.state_dict(), {"model": "resnet18", "classes": ["a", "b", "c"]})
    given = Model("resnet18", str(tmp_path / "model.safetensors"), options={"width": 0.125})
    model = build_classifier(given, Outputs(2))
    assert torch.equal(model.network.layer4[0].conv1.weight, trained.network.layer4[0].conv1.weight)
    assert (model.mean.flatten() / 255).tolist() == pytest.approx([0.2] * 3), "it sees colours as it learned them"
    build_classifier(given, Outputs(2))
    said = capsys.readouterr().out
    assert said.count("its head is of a, b, c and left out") == 1, "once, not for each fold"
    same = build_classifier(given, Outputs(3))
    assert torch.equal(same.network.fc.weight, trained.network.fc.weight)


def test_what_a_file_is_and_what_it_fits_is_told(tmp_path, tensors, capsys):
    torch.save({"state_dict": tensors}, tmp_path / "mine.pth")
    models("resnet18", options=["width=0.125"], weights=tmp_path / "mine.pth")
    assert "fits resnet18, its head too" in capsys.readouterr().out
    models("vgg11", weights=tmp_path / "mine.pth")
    assert "does not fit vgg11: " in capsys.readouterr().out
    save_file(build_model("timm:resnet10t", 7).state_dict(), tmp_path / "resnet10t.c3_in1k.safetensors")
    models(weights=tmp_path / "resnet10t.c3_in1k.safetensors")
    assert "fits timm:resnet10t; new: fc.weight, fc.bias" in capsys.readouterr().out
