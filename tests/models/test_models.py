"""The networks: equal to the reference, every parameter alive, weights by name, errors that help."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from kit.errors import ConfigError, KitError
from kit.models import build_classifier, build_model
from kit.models.pretrained import load_weights


def _copy_by_order(source: torch.nn.Module, target: torch.nn.Module) -> None:
    theirs, ours = source.state_dict(), target.state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in ours.values()]
    target.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
@pytest.mark.parametrize("size", [64, 97])
def test_equals_torchvision(name, size):
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(num_classes=7)
    ours = build_model(name, 7)
    _copy_by_order(reference, ours)
    pixels = torch.randn(3, 3, size, size)
    for mode in (True, False):
        assert torch.allclose(ours.train(mode)(pixels), reference.train(mode)(pixels), atol=1e-4)


def test_small_stem_keeps_the_map():
    model = build_model("resnet18", 10, stem="small", width=0.25)
    assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 4, 4)
    assert build_model("resnet18", 10).forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


@pytest.mark.parametrize(("image_size", "kernel"), [(32, 3), (40, 3), (48, 7), (96, 7)])
def test_the_stem_follows_the_image_size(image_size, kernel):
    model = build_classifier("resnet18", 2, {"stem": "auto", "width": 0.125}, image_size=image_size)
    assert model.network.conv1.kernel_size == (kernel, kernel)


def test_no_classes_gives_features():
    model = build_model("resnet18", 0, width=0.5)
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, model.feature_dim) == (2, 256)


@pytest.mark.parametrize("options", [{}, {"stem": "small", "width": 0.25, "dropout": 0.5}, {"zero_init_last": False}])
def test_every_parameter_gets_a_gradient(options):
    torch.manual_seed(0)
    model = build_model("resnet18", 5, in_channels=1, **options)
    for _ in range(2):  # with zero_init_last a block's inside wakes up after the first step
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.randn(4, 1, 32, 32)), torch.arange(4)).backward()
        for parameter in model.parameters():
            parameter.data -= 0.1 * parameter.grad
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_channels_last_and_bf16_give_about_the_same():
    torch.manual_seed(0)
    model, pixels = build_model("resnet18", 5, width=0.25).eval(), torch.randn(4, 3, 64, 64)
    expected = model(pixels)
    last = model.to(memory_format=torch.channels_last)(pixels.to(memory_format=torch.channels_last))
    assert torch.allclose(last, expected, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(model(pixels).float(), expected, atol=0.1)


def test_normalisation_lives_in_the_model():
    torch.manual_seed(0)
    model = build_classifier("resnet18", 3, {"width": 0.125}, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    by_hand = (pixels / 255 - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.25, 0.3]).view(
        1, 3, 1, 1
    )
    assert torch.allclose(model(pixels), model.network(by_hand), atol=1e-4)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "checkpoint"])
def test_a_weights_file_gives_its_backbone_and_leaves_the_head_new(tmp_path, kind):
    source = build_model("timm:resnet10t", 1000)
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        save_file(source.state_dict(), path)
    else:
        state = {f"module.{name}": value for name, value in source.state_dict().items()}
        torch.save({"state_dict": state} if kind == "checkpoint" else source.state_dict(), path)
    model = build_model("timm:resnet10t", 2)
    assert set(load_weights(model, path)) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_a_pretrained_model_brings_its_own_normalisation(tmp_path):
    model = build_model("timm:tf_efficientnet_lite0", 2)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    classifier = build_classifier("timm:tf_efficientnet_lite0", 2, {}, str(tmp_path / "w.safetensors"))
    assert (classifier.mean.flatten() / 255).tolist() == pytest.approx([0.5] * 3)
    assert (classifier.std.flatten() / 255).tolist() == pytest.approx([0.5] * 3)


def test_the_shared_pretrained_weights_fit(photos):
    model = build_model("timm:tf_efficientnet_lite0", 2)
    new = load_weights(model, photos / "weights" / "tf_efficientnet_lite0.safetensors")
    assert set(new) == {"classifier.weight", "classifier.bias"}


def test_weights_of_another_model_are_refused(tmp_path):
    save_file(build_model("resnet18", 2, width=0.25).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(KitError, match=r"other\.safetensors: does not fit model\.name"):
        load_weights(build_model("resnet18", 2), tmp_path / "other.safetensors")
    (tmp_path / "no.pth").write_bytes(b"not weights")
    with pytest.raises(KitError, match=r"no\.pth: not a weights file"):
        load_weights(build_model("resnet18", 2), tmp_path / "no.pth")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(KitError, match="not a weights file"):
        load_weights(build_model("resnet18", 2), tmp_path / "evil.pth")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, r"no network 'resnet81' \(did you mean 'resnet18'\?\)"),
        ("timm:resnet18dd", {}, r"timm has no model 'resnet18dd' \(did you mean"),
        ("resnet18", {"stm": "small"}, r"model\.options\.stm: .*did you mean 'stem'"),
        ("resnet18", {"stem": "tiny"}, r"expected auto, imagenet or small, got 'tiny'"),
        ("timm:resnet18", {"nonsense": 1}, r"model\.options: timm:resnet18 does not take them"),
    ],
)
def test_a_wrong_model_is_one_helpful_line(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, 2, **options)
